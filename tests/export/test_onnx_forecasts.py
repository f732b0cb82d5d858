"""Models that forecast: the file gives what the recipe's own network gives, in the units of the series."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from gatewright.backends.onnx.serialise import NEWEST_OPSET
from gatewright.errors import ModelFileError, OptionError
from gatewright.export import onnx, onnx_check
from gatewright.export.network import read_network
from gatewright.export.reading import run as read
from gatewright.model_file import ModelFile
from gatewright.tasks.cell_spec import read_cell
from gatewright.tasks.data import Scaling
from gatewright.tasks.model import Model, load_model
from gatewright.tasks.recipe import Data, Sizes
from gatewright.tasks.recipes.series import Series
from gatewright.tasks.training import train
from tests.export.running import Session
from tests.export.running import onnx as package
from tests.export.running import onnxruntime as runtime
from tests.parity.assertions import assert_parity
from tests.tasks.own_data import small_table
from tests.tasks.small import QUIET

HISTORY, HORIZON, SEASON = 9, 5, 4
VALUES = {"gaussian": 2, "quantiles": 3}


def model_of(kind: str, variables: int = 2, *, cell: str = "gru", dtype: str = "float32", layers: int = 1) -> Model:
    """A network as it begins, for series of means from 100 up and deviations from 1/2 up."""
    settings = (f"history={HISTORY}", f"horizon={HORIZON}", f"kind={kind}", "hidden=6", f"layers={layers}")
    made, sizes = Series.configured(settings), Sizes(variables, variables * VALUES[kind])
    network = made.network(sizes, read_cell(cell)).to(getattr(torch, dtype)).eval()
    scaling = Scaling(100 + 7 * np.arange(variables), 0.5 + np.arange(variables))
    made.prepare(network, Data({}, sizes, (), {"season": SEASON}, scaling))
    return Model(made, sizes, network)


def windows(batch: int, variables: int, rng: np.random.Generator, dtype: str = "float32") -> np.ndarray:
    return (100 + 3 * rng.normal(size=(HISTORY, batch, variables)).cumsum(0)).astype(dtype)


def of_torch(model: Model, window: np.ndarray) -> torch.Tensor:
    with torch.no_grad():
        return model.network.forecast(torch.from_numpy(window))


@pytest.mark.parametrize("variables", [1, 3])
@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize(
    ("cell", "layers", "operator"),
    [("gru", 1, "GRU"), ("lstm", 2, "LSTM"), ("layer_norm(gru)", 1, "Scan"), ("mingru", 2, "Scan")],
)
def test_the_forecast_of_the_recipe(
    cell: str, layers: int, operator: str, kind: str, variables: int, tmp_path: Path, rng: np.random.Generator
) -> None:
    model = model_of(kind, variables, cell=cell, layers=layers)
    written = onnx(model, tmp_path / "m.onnx")
    assert written.operator == operator
    package.checker.check_model(package.load(written.path), full_check=True)
    session, network = Session(written.path), read_network(model.kept())
    for batch in (1, 2, 7):
        window = windows(batch, variables, rng)
        want = of_torch(model, window)
        assert want.shape == (HORIZON, batch, variables, VALUES[kind])
        assert_parity(session.run(window)["output"], want, dtype="float32", steps=HISTORY)
        assert_parity(read(network, window)[0], want, dtype="float32", steps=HISTORY)
    assert all(one.fits for one in onnx_check.differences(model, written.path))


@pytest.mark.parametrize("kind", VALUES)
def test_in_double_precision(kind: str, tmp_path: Path, rng: np.random.Generator) -> None:
    model = model_of(kind, dtype="float64")
    window = windows(3, 2, rng, "float64")
    got = Session(onnx(model, tmp_path / "m.onnx").path).run(window)["output"]
    assert_parity(got, of_torch(model, window), dtype="float64", steps=HISTORY)


@pytest.mark.parametrize("kind", VALUES)
def test_the_newest_operators(kind: str, tmp_path: Path, rng: np.random.Generator) -> None:
    model = model_of(kind)
    written = onnx(model, tmp_path / "m.onnx", opset=min(NEWEST_OPSET, 21))
    window = windows(2, 2, rng)
    assert_parity(Session(written.path).run(window)["output"], of_torch(model, window), dtype="float32", steps=HISTORY)


def test_a_network_that_says_nothing_repeats_the_season(tmp_path: Path, rng: np.random.Generator) -> None:
    model = model_of("gaussian")
    model.network.output.weight.data.zero_()
    model.network.output.bias.data.zero_()
    window = windows(3, 2, rng)
    window[:, 0, 1] = 42.0  # it does not move, so that its spread is the least one
    mean, deviation = np.moveaxis(Session(onnx(model, tmp_path / "m.onnx").path).run(window)["output"], -1, 0)
    np.testing.assert_array_equal(mean, window[[5, 6, 7, 8, 5]])
    unit = np.array([0.5, 1.5])
    spread = np.maximum(window.std(0), 0.05 * unit)
    assert_parity(deviation, np.tile(spread * math.log(2) + 1e-3 * unit, (HORIZON, 1, 1)), dtype="float32", steps=1)


def test_a_file_says_how_it_is_used(tmp_path: Path) -> None:
    written = onnx(model_of("quantiles", 3), tmp_path / "m.onnx")
    assert written.inputs == {
        "input": "the last 9 steps as they were measured, of which the naive forecast repeats the last 4 (9, batch, 3)"
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
    said = train(made, out=tmp_path / "run", source=small_table(tmp_path), console=QUIET).samples
    session = Session(onnx(tmp_path / "run", tmp_path / "m.onnx").path)
    model, series = load_model(tmp_path / "run"), np.loadtxt(tmp_path / "data.csv", skiprows=1, dtype=np.float32)
    assert_parity(model.network.scaling.mean, series[:105].mean(keepdims=True), dtype="float32", steps=1)
    assert model.network.season == 12
    forecast = torch.from_numpy(session.run(series[-24:, None, None])["output"])
    ends = zip(*(one.flatten().tolist() for one in made.objective().quantiles(forecast)), strict=True)
    assert said["value after the end"].splitlines() == [
        f"+{step}: {middle:.4g} ({low:.4g} to {high:.4g})" for step, (low, middle, high) in enumerate(ends, 1)
    ]


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
