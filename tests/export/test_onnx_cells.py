"""Every cell as an ONNX file: ONNX Runtime gives what the float64 reference gives."""

from pathlib import Path

import numpy as np
import pytest

import gatewright as gw
from gatewright import cells
from gatewright.export import onnx
from gatewright.export.network import read_network
from gatewright.lang import Op
from gatewright.network.network import outcome as read
from gatewright.trace import trace_cell
from tests.backends.odd_cells import ODD
from tests.cells import cases
from tests.export.running import Session, inputs_of, model_of, network_of, operators, states_of, wanted
from tests.export.running import onnx as package
from tests.parity.assertions import assert_parity
from tests.parity.matrix import CELLS, SLICED

EXTENTS = {(1, 1): (1,), (1, 3): (1, 0, 1), (7, 1): (4,), (7, 3): (3, 0, 7)}
NATIVE = ("GRU", "LSTM", "RNN")
ALL = {**CELLS, **ODD}
UNVARIED = [*(case.cell.label for case in cases.ALL), *ODD]
WIDE = [name for name in UNVARIED if name != "no_parameters"]  # which have a type of their own


def width_of(name: str) -> int:
    """A normalisation enlarges what was rounded before it."""
    return 256 if any(equation.op is Op.MEAN for equation in trace_cell(ALL[name]).equations) else 64


@pytest.mark.parametrize(
    ("name", "dtype"),
    [*((name, "float32") for name in ALL if name not in SLICED), *((name, "float64") for name in WIDE)],
)
def test_states_lengths_and_any_number_of_steps_and_rows(
    name: str, dtype: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    model = model_of(ALL[name], rng, dtype)
    network, session = network_of(model), Session(onnx(model, tmp_path / "m.onnx", states=True, lengths=True).path)
    for (steps, batch), lengths in EXTENTS.items():
        x, states = inputs_of(network, steps, batch, rng), states_of(network, batch, rng)
        got, want = session.run(x, states, lengths), wanted(network, x, states, lengths)
        assert_parity(got, want, dtype=dtype, steps=steps, width=width_of(name), cell=name, backend="onnxruntime")


@pytest.mark.parametrize("name", UNVARIED)
def test_without_states_and_lengths_every_sequence_begins_at_zero(
    name: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    model = model_of(ALL[name], rng)
    network, written = network_of(model), onnx(model, tmp_path / "m.onnx")
    session = Session(written.path)
    assert (session.inputs, session.outputs) == (["input"], ["output"])
    for steps, batch in ((1, 1), (7, 3)):
        x = inputs_of(network, steps, batch, rng)
        want = {"output": wanted(network, x, {})["output"], "finals": {}}
        assert_parity(session.run(x), want, dtype="float32", steps=steps, width=width_of(name), cell=name)
    assert written.operator == next((op for op in operators(written.path) if op in (*NATIVE, "Scan")), "")


OPERATORS = {
    "RNN": {"elman", "elman(activation=relu)", "irnn"},
    "GRU": {
        "gru", 'gru(reset="after")', 'gru(reset="after", recurrent_bias=False)', 'gru(update="replaces")',
        "gru(gate=hard_sigmoid_theano)", 'gru(gate=hard_sigmoid_keras3, activation=relu, reset="after")',
        "mgu", "mut2",  # a GRU whose two gates are one; a GRU by another name
    },
    "LSTM": {
        "lstm", "lstm(forget_bias=1.0)", "lstm(coupled=True)",
        "lstm(gate=hard_sigmoid_theano, candidate=relu, output=sigmoid)",
        "lstm_peephole", "lstm_peephole(forget_bias=1.0)", "lstm_peephole(coupled=True)",
        "lstm_peephole(candidate=identity)", "lstm_peephole(output=identity)",
    },
}  # fmt: skip
PLAIN = {"elman", "gru", "irnn", "lstm", "lstm_peephole", "mgu", "mut2"}


def expected(name: str) -> str:
    """The operator that a row of the matrix should be exported as."""
    named = name if name in CELLS else ""
    for variation in ("masked", "recurrent_dropout"):  # which leave nothing of themselves in evaluation
        inner = named.removeprefix(f"{variation}(").removesuffix(")").removesuffix(", per=step")
        named = inner if inner in PLAIN else named
    return next((op for op, members in OPERATORS.items() if named in members), "Scan")


@pytest.mark.parametrize("name", CELLS)
def test_an_operator_of_its_own_is_used_where_there_is_one(name: str, tmp_path: Path, rng: np.random.Generator) -> None:
    assert onnx(model_of(CELLS[name], rng), tmp_path / "m.onnx").operator == expected(name)


@pytest.mark.parametrize("name", ["gru", "lstm", "sru", "scrn", "layer_norm(lstm)"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_chunks_with_carried_states_are_the_whole(
    name: str, dtype: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    model = model_of(CELLS[name], rng, dtype)
    network, session = network_of(model), Session(onnx(model, tmp_path / "m.onnx", states=True).path)
    x, states = inputs_of(network, 9, 2, rng), states_of(network, 2, rng)
    whole, parts, carried = session.run(x, states), [], states
    for chunk in (x[:1], x[1:4], x[4:]):
        given = session.run(chunk, carried)
        parts.append(given["output"])
        carried = given["finals"]
    got = {"output": np.concatenate(parts), "finals": carried}
    assert_parity(got, whole, dtype=dtype, steps=9, width=width_of(name), cell=name)


@pytest.mark.parametrize("name", ["gru", 'gru(update="replaces")', "lstm", "elman", "gru_update_only", "sru", "scrn"])
@pytest.mark.parametrize("batch_first", [False, True])
def test_both_directions_and_several_levels(
    name: str, batch_first: bool, tmp_path: Path, rng: np.random.Generator
) -> None:
    cell = CELLS[name]
    model = model_of(cell, rng, num_layers=2, bidirectional=True, batch_first=batch_first)
    network = network_of(model)
    written = onnx(model, tmp_path / "m.onnx", states=True, lengths=True)
    plain, session = Session(onnx(model, tmp_path / "plain.onnx").path), Session(written.path)
    for (steps, batch), lengths in EXTENTS.items():
        x, states = inputs_of(network, steps, batch, rng), states_of(network, batch, rng)
        read_x = x.swapaxes(0, 1) if batch_first else x
        output, finals = read(network, x, states, np.asarray(lengths))
        want = {"output": output.swapaxes(0, 1) if batch_first else output, "finals": finals}
        assert_parity(session.run(read_x, states, lengths), want, dtype="float32", steps=2 * steps, cell=name)
        output, _ = read(network, x)
        want = {"output": output.swapaxes(0, 1) if batch_first else output, "finals": {}}
        assert_parity(plain.run(read_x), want, dtype="float32", steps=2 * steps, cell=name)
    assert sum(op in NATIVE for op in operators(written.path)) == (2 if expected(name) in NATIVE else 0)


@pytest.mark.parametrize("name", ["gru", "lstm", "elman"])
def test_no_step_leaves_the_states_as_they_were(name: str, tmp_path: Path, rng: np.random.Generator) -> None:
    """By ONNX's operators: a Scan of no step is refused by ONNX Runtime."""
    model = model_of(CELLS[name], rng)
    network = network_of(model)
    x, states = inputs_of(network, 0, 2, rng), states_of(network, 2, rng)
    for lengths in (None, (0, 0)):
        path = onnx(model, tmp_path / "m.onnx", states=True, lengths=lengths is not None).path
        got = Session(path).run(x, states, lengths)
        assert got["output"].shape == (0, 2, 5)
        assert {state: one.tolist() for state, one in got["finals"].items()} == {
            state: one.tolist() for state, one in states.items()
        }


@pytest.mark.parametrize("name", ["gru", "lstm_peephole", "lstm(coupled=True)"])
def test_the_equations_can_be_asked_for_where_there_is_an_operator(
    name: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    model = model_of(CELLS[name], rng)
    network, written = network_of(model), onnx(model, tmp_path / "m.onnx", operators=False)
    assert written.operator == "Scan"
    assert not {"GRU", "LSTM"} & set(operators(written.path))
    x = inputs_of(network, 7, 3, rng)
    want = wanted(network, x, {})["output"]
    assert_parity(Session(written.path).run(x)["output"], want, dtype="float32", steps=7, cell=name)


@pytest.mark.parametrize("opset", [13, 17, 18, 21])
@pytest.mark.parametrize("name", ["gru", "layer_norm(lstm)", "all_functions"])
def test_later_versions_of_the_operators(name: str, opset: int, tmp_path: Path, rng: np.random.Generator) -> None:
    model = model_of(ALL[name], rng)
    network = network_of(model)
    written = onnx(model, tmp_path / "m.onnx", opset=opset, states=True, lengths=True)
    x, states = inputs_of(network, 7, 3, rng), states_of(network, 3, rng)
    got, want = Session(written.path).run(x, states, (7, 2, 0)), wanted(network, x, states, (7, 2, 0))
    assert_parity(got, want, dtype="float32", steps=7, width=width_of(name), cell=name)


def test_what_is_the_same_in_all_steps_is_computed_once(tmp_path: Path, rng: np.random.Generator) -> None:
    """Only what depends on the state is in the loop: no product with the input, no transpose, no bias."""
    graph = package.load(onnx(model_of(gw.zoneout(0.1)(cells.gru), rng), tmp_path / "m.onnx").path).graph
    (scan,) = (node for node in graph.node if node.op_type == "Scan")
    body = package.helper.get_attribute_value(scan.attribute[0])
    inside = [node.op_type for node in body.node]
    assert inside.count("MatMul") == 3
    assert "Transpose" not in inside
    assert [name for node in body.node for name in node.input if ".b." in name] == []


def test_the_reading_in_numpy_is_that_of_the_layer(rng: np.random.Generator) -> None:
    model = model_of(cells.lstm, rng, "float64")
    network = read_network(model)
    x, states = inputs_of(network, 5, 3, rng), states_of(network, 3, rng)
    output, finals = read(network, x, states, np.array([5, 0, 2]))
    got = {"output": output, "finals": finals}
    assert_parity(got, wanted(network, x, states, (5, 0, 2)), dtype="float64", steps=5)
