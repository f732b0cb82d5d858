"""Gradients that are watched in training: right by hand, kept in the folder, and of no influence on the run."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import Tensor

import gatewright as gw
from gatewright.errors import DataError, OptionError
from gatewright.nn.records import direction_parameters
from gatewright.tasks.recipes import get
from gatewright.tasks.training.gradient_records import WatchedGradients, gradient_troubles, read_gradients
from gatewright.tasks.training.gradient_sweep import LayerNorms, StepNorms, SweptLayerCall, step_norms
from gatewright.tasks.training.gradient_watch import watch_interval
from gatewright.tasks.training.run_folder import RunFolder
from gatewright.tasks.training.session import resume, train
from tests.tasks.own_data import small_tags
from tests.tasks.small import ITERATIONS, QUIET, killed_before, small_recipe, small_text, timeless, weights


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    return small_text(tmp_path_factory.mktemp("text"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, source: str) -> RunFolder:
    """A run that nobody watched."""
    folder = RunFolder(tmp_path_factory.mktemp("plain"))
    train(small_recipe(), out=folder.path, source=source, console=QUIET)
    return folder


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory, source: str) -> RunFolder:
    folder = RunFolder(tmp_path_factory.mktemp("watched"))
    train(small_recipe(), out=folder.path, source=source, console=QUIET, watch=2)
    return folder


def by_hand(layer: gw.nn.Recurrent, x: Tensor, first: Tensor) -> tuple[dict[str, list[Tensor]], Tensor]:
    """Two levels of a GRU as a loop of torch: states and gates of every step, whose gradients are kept."""
    p = {name: tensor.detach() for name, tensor in layer.gate_parameters().items()}
    kept: dict[str, list[Tensor]] = {}
    states, outputs = list(first), []
    for step in x:
        read = step
        for level in (0, 1):
            h = states[level]

            def gate(name: str, state: Tensor, read: Tensor = read, level: int = level) -> Tensor:
                own = [p[f"l{level}.{space}.{name}"] for space in "WUb"]
                return read @ own[0].T + state @ own[1].T + own[2]

            r, z = torch.sigmoid(gate("r", h)), torch.sigmoid(gate("z", h))
            n = torch.tanh(gate("n", r * h))
            read = states[level] = z * h + (1 - z) * n
            for name, value in (("r", r), ("z", z), ("n", n), ("h", read)):
                value.retain_grad()
                kept.setdefault(f"l{level}.{name}", []).append(value)
        outputs.append(read)
    return kept, torch.stack(outputs)


def root_mean_square(gradients: Tensor) -> np.ndarray:
    """Of the lengths over the rows: (steps, rows, units) -> (steps,)."""
    return gradients.pow(2).sum(-1).mean(-1).sqrt().numpy()


def test_norms_are_those_of_autograd() -> None:
    torch.manual_seed(0)
    steps, rows = 6, 3
    layer = gw.nn.Recurrent("gru", 2, 4, 2, dtype=torch.float64)
    x, first = torch.randn(steps, rows, 2).double(), torch.randn(2, rows, 4).double().requires_grad_()
    seeds, at_end = torch.randn(steps, rows, 4).double(), torch.randn(2, rows, 4).double()
    call = SweptLayerCall(
        layer=layer,
        inputs=x.numpy(),
        states=[{"h": first.detach().numpy()[level]} for level in (0, 1)],
        lengths=np.full(rows, steps),
        d_output=seeds.numpy(),
        d_finals=[{"h": at_end.numpy()[level]} for level in (0, 1)],
        params=[direction_parameters(layer, level) for level in (0, 1)],
    )
    norms = step_norms(call)
    kept, output = by_hand(layer, x, first)
    finals = torch.stack([kept["l0.h"][-1], kept["l1.h"][-1]])
    ((output * seeds).sum() + (finals * at_end).sum()).backward()
    for name, values in kept.items():
        level, own = name.split(".")
        found = {**norms[level].states, **norms[level].gates}[own].by_step
        np.testing.assert_allclose(found, root_mean_square(torch.stack([v.grad for v in values])), rtol=1e-10)
    kept, output = by_hand(layer, x, first)
    ((output[-1] * seeds[-1]).sum() + (kept["l1.h"][-1] * at_end[1]).sum()).backward()
    for own in "rznh":
        found = {**norms["l1"].states, **norms["l1"].gates}[own].by_lag
        expected = root_mean_square(torch.stack([value.grad for value in kept[f"l1.{own}"]]))[::-1]
        np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_a_backward_direction_is_a_forward_one_on_turned_rows() -> None:
    torch.manual_seed(0)
    lengths, sizes = np.array([5, 2]), (5, 2)
    both = gw.nn.Recurrent("lstm", 3, 4, bidirectional=True, dtype=torch.float64)
    single = gw.nn.Recurrent("lstm", 3, 4, dtype=torch.float64)
    rng = np.random.default_rng(0)
    x, seeds = rng.normal(size=(*sizes, 3)), rng.normal(size=(*sizes, 8))
    seeds[np.arange(5)[:, None] >= lengths] = 0
    params = [direction_parameters(both, index) for index in (0, 1)]
    none: list[dict[str, Any]] = [{}, {}]
    norms = step_norms(SweptLayerCall(both, x, none, lengths, seeds, none, params))

    def turned(values: np.ndarray) -> np.ndarray:
        result = values.copy()
        for row, length in enumerate(lengths):
            result[:length, row] = values[:length, row][::-1]
        return result

    for suffix, index, turn in (("", 0, np.copy), ("_reverse", 1, turned)):
        part = turn(seeds[..., 4 * index :][..., :4])
        alone = step_norms(SweptLayerCall(single, turn(x), [{}], lengths, part, [{}], [params[index]]))["l0"]
        for kind in ("states", "gates"):
            for name, expected in getattr(alone, kind).items():
                found = getattr(norms[f"l0{suffix}"], kind)[name]
                np.testing.assert_allclose(found.by_lag, expected.by_lag, rtol=1e-10, atol=1e-15)


def test_a_watched_run_has_the_same_bits(plain: RunFolder, watched: RunFolder) -> None:
    assert weights(watched) == weights(plain)
    assert timeless(watched.metrics) == timeless(plain.metrics)
    assert watched.read(watched.result)["metrics"] == plain.read(plain.result)["metrics"]
    assert not plain.gradients.exists()
    assert "watch" not in plain.description()


def test_what_is_kept(watched: RunFolder) -> None:
    measurements = gw.inspect.watched_gradients(watched.path)
    assert [measurement.iteration for measurement in measurements] == list(range(0, ITERATIONS, 2))
    assert set(measurements[0].layers) == {"recurrent.l0", "recurrent.l1"}
    norms = measurements[0].layers["recurrent.l1"]
    assert (set(norms.states), set(norms.gates)) == ({"h"}, {"r", "z", "n"})
    assert norms.states["h"].by_step.shape == (8,)
    assert (norms.states["h"].by_step > 0).all()
    assert norms.states["h"].by_lag[0] == pytest.approx(norms.states["h"].by_step[-1])
    assert watched.gradient_picture.read_bytes().startswith(b"\x89PNG")
    run = gw.tasks.open(watched.path)
    assert len(gw.inspect.watched_gradients(run)) == len(measurements)


@pytest.mark.parametrize("iteration", [3, 8])
def test_a_resumed_run_is_watched_on(
    iteration: int, tmp_path: Path, source: str, watched: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder(tmp_path / "run")
    with killed_before(iteration, monkeypatch):
        train(small_recipe(), out=folder.path, source=source, console=QUIET, watch=2)
    folder.gradients.write_bytes(folder.gradients.read_bytes() + b'{"iteration": 1')  # a line that was cut short
    resume(folder.path, console=QUIET)
    assert weights(folder) == weights(watched)
    assert folder.gradients.read_bytes() == watched.gradients.read_bytes()


def test_ragged_and_pooled_rows_are_watched(tmp_path: Path) -> None:
    console = Console(file=(tmp_path / "said").open("w"), width=200)
    made = get("longlag").configured(["cell=elman", "hidden=8", "lag=40", "epochs=1", "iterations=4", "batch=5"])
    train(made, out=tmp_path / "run", console=console, watch=True)
    console.file.close()
    said = (tmp_path / "said").read_text()
    last = gw.inspect.watched_gradients(tmp_path / "run")[-1]
    (trouble,) = gw.inspect.gradient_troubles(gw.inspect.watched_gradients(tmp_path / "run"))
    assert str(trouble) in said
    state = last.layers["recurrent.l0"].states["h"].by_lag
    assert last.lags[-1] == 39
    assert state[list(last.lags).index(trouble.lag)] < 1e-3 * state[0]
    assert state[list(last.lags).index(trouble.lag) - 1] >= 1e-3 * state[0]


def test_steps_that_no_measured_row_has_are_no_lags(tmp_path: Path) -> None:
    """A batch of tagging has 32 rows, and the first 16 of them are measured: the longest row may be another one."""
    made = get("tagging").configured(["hidden=8", "epochs=2"], quick=True)
    train(made, out=tmp_path / "run", source=small_tags(tmp_path), console=QUIET, watch=1)
    measurements = gw.inspect.watched_gradients(tmp_path / "run")
    assert {len(measurement.lags) for measurement in measurements} == {4, 6}
    for measurement in measurements:
        for layer in measurement.layers.values():
            assert (layer.states["h"].by_lag > 0).all()
    assert gw.inspect.gradient_troubles(measurements) == []


def of_lags(state: list[float], gate: list[float], iteration: int = 0) -> WatchedGradients:
    steps = np.arange(len(state))
    norms = LayerNorms(
        {"h": StepNorms(np.array(state), np.array(state))}, {"z": StepNorms(np.array(gate), np.array(gate))}
    )
    return WatchedGradients(iteration, steps, steps, {"rnn.l0": norms})


def test_vanishing_and_exploding_are_named() -> None:
    fading, early = [1.0, 0.1, 1e-4, 0.5, 1e-4, 1e-5], [2.0, 1e-5, 1e-5, 1e-5, 1e-5, 0.0]
    (trouble,) = gradient_troubles([of_lags([1.0] * 6, [1.0] * 6), *(of_lags(fading, early, at) for at in (10, 20))])
    assert (trouble.lag, trouble.gate, trouble.gate_lag, trouble.first, trouble.last) == (4, "z", 1, 10, 20)
    assert str(trouble) == (
        "rnn.l0: gradients vanish from lag 4, where that of state h is below 1/1000 of lag 0; of its gates z is first, "
        "from lag 1 (iterations 10 to 20)"
    )
    (trouble,) = gradient_troubles([of_lags([1.0, 20.0, 300.0, np.nan], [1.0, 1.0, 1.0, 0.0])])
    assert str(trouble) == (
        "rnn.l0: gradients explode from lag 2, where that of state h is above 100 times of lag 0 (iteration 0)"
    )
    assert gradient_troubles([of_lags([0.0, 0.0], [0.0, 0.0])]) == []


def test_what_one_state_still_carries_has_not_vanished() -> None:
    measurement = of_lags([1.0, 1e-4, 1e-5, 1e-6], [1.0, 1.0, 1.0, 1.0])
    h, lags = measurement.layers["rnn.l0"].states["h"], measurement.lags
    for c, expected in (([1.0, 0.9, 0.8, 0.7], []), ([1.0, 0.9, 1e-4, 1e-5], [("c", 2)])):
        norms = LayerNorms({"h": h, "c": StepNorms(np.array(c), np.array(c))}, {})
        troubles = gradient_troubles([WatchedGradients(0, lags, lags, {"rnn.l0": norms})])
        assert [(trouble.state, trouble.lag) for trouble in troubles] == expected
    c = np.array([1.0, 10.0, 1000.0, 1e4])
    norms = LayerNorms({"h": StepNorms(c * 1e-5, np.array([1.0, 1.0, 1.0, 1e3])), "c": StepNorms(c, c)}, {})
    (trouble,) = gradient_troubles([WatchedGradients(0, lags, lags, {"rnn.l0": norms})])
    assert (trouble.is_vanishing, trouble.state, trouble.lag) == (False, "c", 2)


def test_a_measurement_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "gradients.jsonl"
    path.write_bytes(of_lags([1.5, np.inf], [2.0, 0.0], 7).line())
    (measurement,) = read_gradients(path)
    norms = measurement.layers["rnn.l0"]
    assert measurement.iteration == 7
    assert norms.states["h"].by_lag[0] == 1.5
    assert np.isnan(norms.states["h"].by_lag[1])  # what was not finite
    assert norms.gates["z"].by_step.tolist() == [2.0, 0.0]
    assert read_gradients(path, before=7) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.pop("steps"),
        lambda content: content["lags"].append(2),
        lambda content: content["layers"]["rnn.l0"].pop("gates"),
        lambda content: content["layers"]["rnn.l0"]["states"]["h"].pop("by_lag"),
        lambda content: content["layers"]["rnn.l0"]["states"]["h"].update(by_step="no"),
    ],
)
def test_a_damaged_file_is_refused(change: Any, tmp_path: Path) -> None:
    content = json.loads(of_lags([1.0, 1.0], [1.0, 1.0]).line())
    change(content)
    path = tmp_path / "gradients.jsonl"
    path.write_bytes(of_lags([1.0, 1.0], [1.0, 1.0]).line() + json.dumps(content).encode() + b"\n")
    with pytest.raises(DataError, match=r"gradients\.jsonl is damaged in line 2"):
        read_gradients(path)


def test_a_run_without_measurements(plain: RunFolder) -> None:
    with pytest.raises(DataError, match="no gradients were measured in"):
        gw.inspect.watched_gradients(plain.path)


def test_intervals() -> None:
    assert [watch_interval(watch, 1000) for watch in (False, 0, True, 7)] == [0, 0, 10, 7]
    assert watch_interval(True, 12) == 1
    with pytest.raises(OptionError, match="watch is no number of iterations"):
        watch_interval(-1, 10)
