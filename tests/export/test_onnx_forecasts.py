"""Models that forecast: the file gives what the recipe's own network gives, in the units of the series."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from gatewright.backends.onnx.serialise import NEWEST_OPSET
from gatewright.errors import ModelFileError, OptionError
from gatewright.export import onnx, onnx_check
from gatewright.export.network import read_network
from gatewright.model_file import ModelFile
from gatewright.network.network import outcome as read
from gatewright.tasks.cell_spec import read_cell
from gatewright.tasks.data.scaling import Scaling
from gatewright.tasks.model import Model, load_model
from gatewright.tasks.recipes.series import Series
from gatewright.tasks.run_data import Sizes
from gatewright.tasks.training.session import train
from tests.export.running import Session
from tests.export.running import onnx as package
from tests.export.running import onnxruntime as runtime
from tests.parity.assertions import assert_parity
from tests.tasks.own_data import small_table
from tests.tasks.small import QUIET

HISTORY, HORIZON, SEASON = 9, 5, 4
SIDES = {"gaussian": 1, "student": 1, "quantiles": 2}


def model_of(
    kind: str, variables: int = 2, *, known: int = 0, cell: str = "gru", dtype: str = "float32", layers: int = 1
) -> Model:
    """A network in which nothing is neutral, for series of means from 100 up and deviations from 1/2 up."""
    settings = (f"history={HISTORY}", f"horizon={HORIZON}", f"kind={kind}", "hidden=6", f"layers={layers}")
    made, sizes = Series.configured(settings), Sizes(variables + known, variables * (1 + SIDES[kind]))
    network = made.network(sizes, read_cell(cell))
    network.scaling.take(Scaling(100 + 7 * np.arange(variables), 0.5 + np.arange(variables)))
    network.inner.take(Scaling(np.log(100 + 7 * np.arange(variables)), 0.01 + 0.01 * np.arange(variables)))
    network.known_scaling.take(Scaling(3.0 + np.arange(known), 0.2 + np.arange(known)))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for buffer in (network.weight, network.rest, network.effect, network.output.weight, network.output.bias):
            buffer.copy_(0.3 * torch.randn(buffer.shape, generator=generator))
        for buffer in (network.residual, network.widening):
            buffer.copy_(0.5 + torch.rand(buffer.shape, generator=generator))
    network.season.fill_(SEASON)
    network.share.fill_(0.7)
    network.trust.fill_(0.4)
    network.logarithm.copy_(torch.arange(variables) % 2 == 1)
    network.least.fill_(90)
    network.lowest[0] = -1.0
    return Model(made, sizes, network.to(getattr(torch, dtype)).eval())


def windows(batch: int, variables: int, rng: np.random.Generator, dtype: str = "float32") -> np.ndarray:
    return (100 + 3 * rng.normal(size=(HISTORY, batch, variables)).cumsum(0)).astype(dtype)


def knowns(batch: int, known: int, rng: np.random.Generator, dtype: str = "float32") -> dict[str, np.ndarray]:
    return {"known": rng.normal(3, 1, (HISTORY + HORIZON, batch, known)).astype(dtype)} if known else {}


def of_torch(model: Model, window: np.ndarray, known: np.ndarray | None = None) -> torch.Tensor:
    with torch.no_grad():
        return model.network.forecast(torch.from_numpy(window), None if known is None else torch.from_numpy(known))


@pytest.mark.parametrize(("variables", "known"), [(1, 0), (3, 2)])
@pytest.mark.parametrize("kind", ["student", "quantiles"])
@pytest.mark.parametrize(
    ("cell", "layers", "operator"),
    [("gru", 1, "GRU"), ("lstm", 2, "LSTM"), ("layer_norm(gru)", 1, "Scan"), ("mingru", 2, "Scan")],
)
def test_the_forecast_of_the_recipe(
    cell: str,
    layers: int,
    operator: str,
    kind: str,
    variables: int,
    known: int,
    tmp_path: Path,
    rng: np.random.Generator,
) -> None:
    model = model_of(kind, variables, known=known, cell=cell, layers=layers)
    written = onnx(model, tmp_path / "m.onnx")
    assert written.operator == operator
    package.checker.check_model(package.load(written.path), full_check=True)
    session, network = Session(written.path), read_network(model.kept())
    for batch in (1, 2, 7):
        window, beside = windows(batch, variables, rng), knowns(batch, known, rng)
        want = of_torch(model, window, **beside)
        assert want.shape == (HORIZON, batch, variables, 3)
        assert_parity(session.run(window, **beside)["output"], want, dtype="float32", steps=HISTORY)
        assert_parity(read(network, window, **beside)[0], want, dtype="float32", steps=HISTORY)
    assert all(one.fits for one in onnx_check.differences(model, written.path))


@pytest.mark.parametrize("kind", ["student", "quantiles"])
def test_in_double_precision(kind: str, tmp_path: Path, rng: np.random.Generator) -> None:
    model = model_of(kind, known=1, dtype="float64")
    window, known = windows(3, 2, rng, "float64"), knowns(3, 1, rng, "float64")
    got = Session(onnx(model, tmp_path / "m.onnx").path).run(window, **known)["output"]
    assert_parity(got, of_torch(model, window, **known), dtype="float64", steps=HISTORY)


@pytest.mark.parametrize("kind", ["student", "quantiles"])
def test_the_newest_operators(kind: str, tmp_path: Path, rng: np.random.Generator) -> None:
    model = model_of(kind)
    written = onnx(model, tmp_path / "m.onnx", opset=min(NEWEST_OPSET, 21))
    window = windows(2, 2, rng)
    assert_parity(Session(written.path).run(window)["output"], of_torch(model, window), dtype="float32", steps=HISTORY)


def test_a_network_that_says_nothing_gives_the_linear_forecast(tmp_path: Path, rng: np.random.Generator) -> None:
    model = model_of("gaussian", 1)
    network = model.network
    network.output.weight.data.zero_()
    network.output.bias.data.zero_()
    network.lowest.fill_(-torch.inf)
    window = windows(3, 1, rng)
    window[:, 0] = 101.0  # it does not move, so that its spread is the least one
    low, middle, high = np.moveaxis(Session(onnx(model, tmp_path / "m.onnx").path).run(window)["output"], -1, 0)
    scaled = (window - 100) / 0.5
    level, spread = scaled.mean(0), np.maximum(scaled.std(0), 0.05)
    weight, rest = (one[0].numpy() for one in (network.weight, network.rest))
    features = np.concatenate([scaled - level, [spread, level, np.ones_like(level)]])
    want = level + np.einsum("tbv,th->hbv", features, np.concatenate([weight, rest]))
    half = network.residual.numpy()[0, :, None, None] * spread
    ends = (want - half * network.widening[0].item(), want, want + half * network.widening[1].item())
    for got, end in zip((low, middle, high), ends, strict=True):
        assert_parity(got, (100 + 0.5 * end).astype(np.float32), dtype="float32", steps=HISTORY)


def test_a_file_says_how_it_is_used(tmp_path: Path) -> None:
    written = onnx(model_of("quantiles", 3, known=2), tmp_path / "m.onnx")
    assert written.inputs == {
        "input": "the last 9 steps as they were measured (9, batch, 3)",
        "known": "what is known of these steps and of those to come (14, batch, 2)",
    }
    assert written.outputs == {
        "output": "quantile 0.1, quantile 0.5, quantile 0.9 of every variable in each step to come (5, batch, 3, 3)"
    }
    said = {one.key: one.value for one in package.load(written.path).metadata_props}
    assert (said["task"], said["history"], said["horizon"], said["season"]) == ("series", "9", "5", "4")
    assert json.loads(said["values"]) == ["quantile 0.1", "quantile 0.5", "quantile 0.9"]
    (output,) = package.shape_inference.infer_shapes(package.load(written.path), strict_mode=True).graph.output
    assert [one.dim_param or one.dim_value for one in output.type.tensor_type.shape.dim] == [5, "batch", 3, 3]


def test_a_window_of_another_length_is_refused_by_the_runtime(tmp_path: Path, rng: np.random.Generator) -> None:
    session = Session(onnx(model_of("gaussian"), tmp_path / "m.onnx").path)
    with pytest.raises(runtime.capi.onnxruntime_pybind11_state.InvalidArgument, match="Expected: 9"):
        session.run(windows(2, 2, rng)[1:])


def test_a_difference_is_seen_however_small_the_unit(tmp_path: Path) -> None:
    """Beside the deviations of the series, and not beside 1."""
    model, other = model_of("quantiles"), model_of("quantiles")
    for one in (model, other):
        one.network.scaling.take(Scaling(np.zeros(2), np.full(2, 1e-8)))
    path = onnx(model, tmp_path / "m.onnx").path
    assert all(found.fits for found in onnx_check.differences(model, path))
    assert not any(found.fits for found in onnx_check.differences(other, path))


def test_a_run_forecasts_what_comes_after_its_series(tmp_path: Path) -> None:
    made = Series.configured(["history=24", "horizon=6", "hidden=4", "epochs=1"])
    train(made, out=tmp_path / "run", source=small_table(tmp_path), console=QUIET)
    session = Session(onnx(tmp_path / "run", tmp_path / "m.onnx").path)
    model, series = load_model(tmp_path / "run"), np.loadtxt(tmp_path / "data.csv", skiprows=1, dtype=np.float32)
    assert_parity(model.network.scaling.mean, series[:105].mean(keepdims=True), dtype="float32", steps=1)
    assert model.network.season == 12
    forecast = session.run(series[-24:, None, None])["output"][:, 0, 0]
    answers = made.predictor(model).predict(None)
    want = answers[["low", "median", "high"]].to_numpy().astype(np.float32)
    assert_parity(forecast, want, dtype="float32", steps=24)


@pytest.mark.parametrize("option", ["states", "lengths"])
def test_a_window_has_no_states_and_no_lengths(option: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError) as caught:
        onnx(model_of("gaussian"), tmp_path / "m.onnx", **{option: True})
    assert str(caught.value) == (
        f"a model that forecasts has no {option}: it reads a window of 9 steps at once\n"
        "  do: leave it out, or export the layer alone with name='recurrent'"
    )
    assert onnx(model_of("gaussian"), tmp_path / "m.onnx", name="recurrent", **{option: True}).operator == "GRU"


def test_a_file_that_does_not_know_its_scaling(tmp_path: Path) -> None:
    kept = model_of("gaussian").kept()
    tensors = {name: one for name, one in kept.tensors.items() if name != "scaling.mean"}
    with pytest.raises(ModelFileError, match=r"the model of the recipe 'series' lacks 'scaling.mean'"):
        onnx(ModelFile(tensors, kept.layers, kept.task, kept.settings), tmp_path / "m.onnx")


def test_a_forecast_of_an_earlier_version_is_refused(tmp_path: Path) -> None:
    kept = model_of("gaussian").kept()
    tensors = {name: one for name, one in kept.tensors.items() if name not in ("weight", "rest", "residual")}
    with pytest.raises(ModelFileError) as caught:
        onnx(ModelFile(tensors, kept.layers, kept.task, kept.settings), tmp_path / "m.onnx")
    assert str(caught.value) == (
        "the model forecasts as an earlier version did, by changes of the seasonal naive forecast\n"
        "  expected: a model that corrects a linear forecast\n  do: train it again"
    )
