"""Files with matrices in eight bits: of a quarter of the size, and they compute with the rounded numbers exactly."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import gatewright as gw
from gatewright import cells
from gatewright.errors import OptionError
from gatewright.export import onnx, safetensors
from gatewright.export.network import read_network
from gatewright.export.onnx_check import differences
from gatewright.export.sources import as_model_file
from gatewright.model_file import ModelFile, load, save
from gatewright.network.narrow import narrowed
from gatewright.network.network import outcome
from tests.cells import cases
from tests.export.running import Session, inputs_of, model_of, network_of, states_of, wanted
from tests.export.running import onnx as package
from tests.parity.assertions import assert_parity
from tests.parity.matrix import CELLS, sizes_for

WIDTHS = {"input": 9, "hidden": 18, "projection": 10, "context": 11, "input_rank": 8, "hidden_rank": 9}
NAMES = [case.cell.label for case in cases.ALL]


def model_named(name: str, rng: np.random.Generator) -> ModelFile:
    """A layer whose matrices have enough columns to be kept in eight bits."""
    trace = gw.trace.trace_cell(CELLS[name])
    sizes = {**WIDTHS, **{axis: WIDTHS["hidden"] for axis in sizes_for(trace) if axis not in WIDTHS}}
    if any(equation.op == "relabel" for equation in trace.equations):
        sizes["input"] = sizes["hidden"]
    return model_of(trace, rng, sizes=sizes)


@pytest.mark.parametrize("name", NAMES)
def test_every_cell_in_onnx_computes_with_the_rounded_matrices(
    name: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    model = model_named(name, rng)
    rounded = narrowed(model, "int8")
    network, session = network_of(rounded), Session(onnx(model, tmp_path / "m.onnx", states=True, weights="int8").path)
    x, states = inputs_of(network, 7, 3, rng), states_of(network, 3, rng)
    want = wanted(network, x, states)
    assert_parity(session.run(x, states), want, dtype="float32", steps=7, width=256, cell=name, backend="onnxruntime")
    assert np.abs(want["output"] - wanted(network_of(model), x, states)["output"]).max() > 1e-6


@pytest.mark.parametrize("cell", [cells.gru, cells.lstm, gw.layer_norm(cells.gru)], ids=["GRU", "LSTM", "Scan"])
def test_onnx_files_have_a_quarter_of_the_size(cell: gw.Cell, tmp_path: Path) -> None:
    torch.manual_seed(0)
    layer = gw.nn.Recurrent(cell, 64, 256, bidirectional=True)
    full, small = onnx(layer, tmp_path / "full.onnx"), onnx(layer, tmp_path / "small.onnx", weights="int8")
    assert small.operator == full.operator
    assert small.size < 0.28 * full.size
    assert full.loss is None
    assert small.loss is not None
    assert 1e-5 < small.loss.rms < 1e-2
    floats = [len(value.raw_data) for value in package.load(small.path).graph.initializer if value.data_type == 1]
    assert sum(floats) < 0.03 * full.size
    assert all(run.fits for run in differences(layer, small.path, weights="int8"))
    assert not all(run.fits for run in differences(layer, small.path))


def test_a_converted_model_with_an_embedding_and_a_dense_layer(tmp_path: Path, rng: np.random.Generator) -> None:
    torch.save(nn.GRU(16, 24).state_dict(), tmp_path / "gru.pt")
    parts = (
        gw.convert.Embedding(rng.normal(size=(40, 16)).astype("float32")),
        *gw.convert.read(tmp_path / "gru.pt").parts,
        gw.convert.Dense(rng.normal(size=(10, 24)).astype("float32"), rng.normal(size=10).astype("float32"), "tanh"),
    )
    path, symbols = tmp_path / "model.safetensors", rng.integers(0, 40, (12, 3))
    gw.convert.write(gw.convert.Network(parts, "gatewright"), path, "gatewright")
    written = onnx(path, tmp_path / "m.onnx", weights="int8")
    want, _ = outcome(read_network(narrowed(load(path), "int8")), symbols)
    got = Session(written.path).run(symbols)["output"]
    np.testing.assert_allclose(got, want, atol=2e-6)
    held = {value.name: value.data_type for value in package.load(written.path).graph.initializer}
    assert sorted(name for name, kind in held.items() if kind == package.TensorProto.INT8) == [
        "dense2.weight.int8", "embedding0.weight.int8", "recurrent.l0.R.int8", "recurrent.l0.W.int8",
    ]  # fmt: skip
    small = safetensors(path, tmp_path / "small.safetensors", weights="int8")
    assert small.matrices == ("recurrent.W_l0", "recurrent.U_l0", "part0.weight", "part2.weight")
    assert str(small.loss) == str(written.loss)
    read = gw.convert.run(gw.convert.read(small.path), symbols)
    np.testing.assert_allclose(read, want, atol=2e-6)


@pytest.mark.parametrize(("weights", "share"), [("int8", 0.27), ("bfloat16", 0.51)])
def test_model_files_keep_everything_else(weights: str, share: float, tmp_path: Path) -> None:
    torch.manual_seed(0)
    layer = gw.nn.LSTM(64, 256)
    written = safetensors(layer, tmp_path / "small.safetensors", weights=weights)
    assert written.size < share * written.full_size
    assert written.size == written.path.stat().st_size
    assert written.matrices == ("weight_ih_l0", "weight_hh_l0")
    model = load(written.path)
    for name, tensor in layer.state_dict().items():
        exact = tensor.numpy()
        assert model.tensors[name].dtype == np.float32
        if name in written.matrices:
            off = np.abs(model.tensors[name] - exact) / np.abs(exact).max(axis=1, keepdims=True)
            assert 1e-5 < off.max() < 0.51 / 127
        else:
            np.testing.assert_array_equal(model.tensors[name], exact)
    again = save(tmp_path / "again.safetensors", model)
    assert again.read_bytes() == written.path.read_bytes()


@pytest.mark.parametrize("weights", ["int8", "bfloat16"])
def test_a_stream_of_the_file_computes_with_the_numbers_of_the_file(weights: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    layer, x = gw.nn.GRU(16, 40), np.random.default_rng(0).normal(size=(30, 16)).astype("float32")
    full, small = as_model_file(layer), safetensors(layer, tmp_path / "small.safetensors", weights=weights).path
    got = gw.stream.open(small, weights=weights).run(x)
    np.testing.assert_array_equal(got, gw.stream.open(narrowed(full, weights), weights=weights).run(x))
    np.testing.assert_allclose(got, gw.stream.open(full, weights=weights).run(x), atol=3e-3)
    assert np.abs(gw.stream.open(small).run(x) - got).max() > 1e-6


def test_a_recipe_s_model_still_predicts(tmp_path: Path) -> None:
    run = gw.tasks.train("digits", out=tmp_path / "run", hidden=16, epochs=1)
    small = safetensors(run.folder, tmp_path / "small.safetensors", weights="int8")
    again = gw.tasks.open(small.path)
    assert again.model.recipe == gw.tasks.open(run.folder).model.recipe
    want, got = run.evaluate()["test"]["loss"], again.evaluate()["test"]["loss"]
    assert got != want
    assert got == pytest.approx(want, rel=0.002)


def test_a_model_whose_layers_are_connected_somewhere_else_is_not_measured(tmp_path: Path) -> None:
    model = nn.ModuleDict({"a": gw.nn.GRU(8, 16), "b": gw.nn.GRU(8, 16)})
    tensors = {name: value.detach().numpy() for name, value in model.state_dict().items()}
    written = safetensors(
        ModelFile(tensors, gw.nn.layer_records(model), ""), tmp_path / "m.safetensors", weights="int8"
    )
    assert written.loss is None
    assert written.unmeasured == "the model file has several recurrent layers"
    assert len(written.matrices) == 4


def test_what_cannot_be_kept_is_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    wide, target = model_of(cells.gru, rng, "float64", sizes={"input": 9, "hidden": 9}), tmp_path / "m.safetensors"
    refusals = {
        "a model file cannot be written with these weights\n  expected: int8 or bfloat16\n  got: 'int4'": (
            lambda: safetensors(wide, target, weights="int4")
        ),
        "the path is that of no model file\n  expected: NAME.safetensors\n  got: m.onnx": (
            lambda: safetensors(wide, "m.onnx", weights="int8")
        ),
        "weights in int8 stand for float32 numbers\n  expected: a model in float32\n  got: 'recurrent.W_l0' in float64"
        "\n  do: convert the model to float32 first: gw.convert.convert(..., dtype='float32')": (
            lambda: safetensors(wide, target, weights="int8")
        ),
        "the model has no matrix that could be kept in int8\n"
        "  expected: recurrent layers, embeddings or linear layers with 8 columns or more\n  do: leave weights out": (
            lambda: safetensors(model_of(cells.gru, rng), target, weights="int8")
        ),
        "an ONNX file cannot have these weights\n  expected: float32 or int8\n  got: 'bfloat16'": (
            lambda: onnx(wide, target, weights="bfloat16")
        ),
        "weights in int8 stand for float32 numbers\n  got: a file in float64\n  do: leave one of them out": (
            lambda: onnx(wide, target, weights="int8", dtype="float64")
        ),
        "weights that are not finite cannot be kept in int8\n  got: 'recurrent.W_l0' has such a number\n"
        "  do: train the model again, with a lower rate or with clip": (
            lambda: safetensors(_with_nan(rng), target, weights="int8")
        ),
    }
    for text, call in refusals.items():
        with pytest.raises(OptionError) as caught:
            call()
        assert str(caught.value) == text
    assert not target.exists()


def _with_nan(rng: np.random.Generator) -> ModelFile:
    model = model_of(cells.gru, rng, sizes={"input": 9, "hidden": 9})
    model.tensors["recurrent.W_l0"][1, 2] = np.nan
    return model
