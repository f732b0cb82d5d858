"""Layers as records: a model is saved with its equations, and comes back without anybody's code."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import gatewright as gw
from gatewright import cells, model_file
from gatewright.lang import Cell
from gatewright.model_file import ModelFile
from gatewright.nn import Recurrent, from_record, layer_records
from tests.parity.assertions import assert_parity

INPUT, HIDDEN, STEPS, BATCH = 3, 5, 7, 4
AXES = {"projection": 2, "context": 4, "input_rank": 2, "hidden_rank": 3}


def layer(cell: Cell | str, **options: object) -> Recurrent:
    named = cells.get(cell) if isinstance(cell, str) else cell
    sizes = {axis: AXES[axis] for axis in gw.trace.trace_cell(named).axes() if axis in AXES}
    return Recurrent(cell, INPUT, HIDDEN, sizes=sizes, backend="torch", **options)


def arrays(model: nn.Module) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in model.state_dict().items()}


def restored(model: nn.Module, path: Path) -> tuple[list[Recurrent], ModelFile]:
    """The recurrent layers of a model, out of a file, with the file's weights."""
    model_file.save(path, ModelFile(arrays(model), layer_records(model), "test"))
    kept = model_file.load(path)
    layers = [from_record(one) for one in kept.layers]
    for record, made in zip(kept.layers, layers, strict=True):
        prefix = f"{record.name}." if record.name else ""
        own = {name.removeprefix(prefix): kept.tensors[name] for name in record.tensor_shapes()}
        made.load_state_dict({name: torch.from_numpy(array) for name, array in own.items()})
    return layers, kept


@pytest.mark.parametrize("name", cells.CATALOGUE)
def test_every_cell_comes_back_from_a_file(name: str, tmp_path: Path) -> None:
    module = layer(name, num_layers=2, bidirectional=True, batch_first=True, dropout=0.5, dropout_per="sequence").eval()
    (again,), _ = restored(module, tmp_path / "model")
    again.backend = "torch"  # so that nothing is compiled for each cell of the catalogue
    values = torch.randn(BATCH, STEPS, INPUT)
    want = module(values, lengths=[2, 0, 7, 5], return_gates=True)
    got = again.eval()(values, lengths=[2, 0, 7, 5], return_gates=True)
    assert_parity(got, want, dtype="float32", steps=STEPS, cell=name, backend="file")
    assert (again.dropout, again.dropout_per, again.batch_first) == (0.5, "sequence", True)


def test_a_cell_of_one_s_own_is_run_from_its_equations_in_the_file(tmp_path: Path) -> None:
    @gw.cell(spaces={"a": ()}, initial={"a.s": 0.7})
    def of_my_own(x, h, c, W, U, a):
        c = a.s * c + gw.sigmoid(W.c @ x)
        return gw.tanh(W.h @ x + U.h @ h) + c, c

    model = nn.ModuleDict({"rnn": Recurrent(gw.masked(of_my_own), INPUT, HIDDEN)})
    values, mask = torch.randn(STEPS, BATCH, INPUT), torch.randint(2, (STEPS, BATCH))
    want = model["rnn"](values, mask=mask)
    (again,), kept = restored(model, tmp_path / "model")
    assert kept.layers[0].trace.name == "masked(of_my_own)"
    assert isinstance(again.cell, gw.trace.Trace)
    assert_parity(again(values, mask=mask), want, dtype="float32", steps=STEPS, cell="of_my_own", backend="file")


def test_every_recurrent_layer_of_a_model_is_found_under_its_name(tmp_path: Path) -> None:
    model = nn.Sequential(
        nn.Linear(INPUT, INPUT), nn.ModuleDict({"a": layer("gru"), "b": gw.nn.LSTM(INPUT, HIDDEN, 2)})
    )
    records = layer_records(model)
    assert [record.name for record in records] == ["1.a", "1.b"]
    assert set(records[0].tensor_shapes()) == {"1.a.W_l0", "1.a.U_l0", "1.a.b_l0"}
    assert set(records[1].tensor_shapes()) == {name for name in model.state_dict() if name.startswith("1.b.")}
    layers, kept = restored(model, tmp_path / "model")
    assert set(kept.tensors) == set(model.state_dict())
    values = torch.randn(STEPS, BATCH, INPUT)
    for again, module in zip(layers, (model[1]["a"], model[1]["b"]), strict=True):
        assert_parity(again(values), module(values), dtype="float32", steps=STEPS, backend="file")


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize("bias", [True, False], ids=["biases", "no biases"])
def test_a_drop_in_keeps_torch_s_packing(kind: str, bias: bool, tmp_path: Path) -> None:
    options = {"proj_size": 2} if kind == "LSTM" else {}
    module = getattr(gw.nn, kind)(INPUT, HIDDEN, 2, bias=bias, bidirectional=True, **options)
    (again,), _ = restored(module, tmp_path / "model")
    assert list(again.state_dict()) == list(module.state_dict())
    values = torch.randn(STEPS, BATCH, INPUT)
    assert_parity(again(values), module(values), dtype="float32", steps=STEPS, cell=kind, backend="file")


def test_a_restored_layer_can_be_saved_again_and_trained(tmp_path: Path) -> None:
    module = layer(gw.zoneout(0.2)(cells.gru), num_layers=2)
    (again,), first = restored(module, tmp_path / "model")
    _, second = restored(again, tmp_path / "again")
    assert second.layers == first.layers
    again.train()(torch.randn(STEPS, BATCH, INPUT))[0].sum().backward()
    assert all(parameter.grad is not None for parameter in again.parameters())


def test_a_restored_layer_is_drawn_anew_as_its_cell_says(tmp_path: Path) -> None:
    module = layer(gw.layer_norm(cells.gru(reset="after")))
    assert set(module.starts.values()) == {1.0}
    (again,), kept = restored(module, tmp_path / "model")
    assert kept.layers[0].starts == module.starts
    for made in (from_record(kept.layers[0]), again):
        made.reset_parameters()
        found = made.gate_parameters()
        for name, start in module.starts.items():
            assert set(found[f"l0.{name}"].flatten().tolist()) == {start}


def test_a_file_without_starts_is_that_of_a_cell_without(tmp_path: Path) -> None:
    (again,), kept = restored(layer("gru"), tmp_path / "model")
    assert again.starts == kept.layers[0].starts == {}
    assert b"starts" not in (tmp_path / "model").read_bytes()
