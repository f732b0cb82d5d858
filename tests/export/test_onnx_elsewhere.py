"""Exported files in runtimes that do less than ONNX Runtime: OpenVINO ignores the lengths of an operator of one
direction, and loads no Scan whose body reads what is outside of it."""

from pathlib import Path

import numpy as np
import pytest

from gatewright import cells
from gatewright.export import onnx
from gatewright.lang import Cell
from tests.export.running import model_of, onnxruntime
from tests.export.running import onnx as package

CELLS: dict[str, Cell] = {
    "rnn": cells.elman,
    "gru": cells.gru(reset="after"),
    "gru before": cells.gru,
    "lstm": cells.lstm,
    "peepholes": cells.lstm_peephole,
    "projected": cells.lstm_projected,
}
LENGTHS = np.array([6, 4, 1, 0])


def run(model: package.ModelProto, states: bool, rng: np.random.Generator) -> list[np.ndarray]:
    """What ONNX Runtime gives for random numbers; padding is no number at all."""
    x = rng.normal(size=(6, len(LENGTHS), 3)).astype(np.float32)
    x[np.arange(6)[:, None] >= LENGTHS] = 1e4
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    feed = {"input": x, "lengths": LENGTHS}
    for one in session.get_inputs():
        if one.name.startswith("state"):
            assert states
            size = [len(LENGTHS) if isinstance(size, str) else size for size in one.shape]
            feed[one.name] = rng.normal(size=size).astype(np.float32)
    return [np.asarray(one) for one in session.run(None, feed)]


@pytest.mark.parametrize("states", [False, True])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("case", CELLS)
def test_lengths_are_right_where_those_of_an_operator_are_ignored(
    case: str, layers: int, states: bool, rng: np.random.Generator, tmp_path: Path
) -> None:
    sizes = {"input": 3, "hidden": 5, "projection": 5 if layers > 1 else 2}
    model = model_of(CELLS[case], rng, num_layers=layers, sizes=sizes if case == "projected" else None)
    onnx(model, tmp_path / "model.onnx", lengths=True, states=states)
    exported = package.load(tmp_path / "model.onnx")
    seed = int(rng.integers(2**31))
    wanted = run(exported, states, np.random.default_rng(seed))
    for node in exported.graph.node:
        if node.op_type in ("GRU", "LSTM", "RNN"):
            both = any(one.s == b"bidirectional" for one in node.attribute if one.name == "direction")
            assert both == (states and node.op_type == "LSTM")
            node.input[4] = node.input[4] if both else ""
    for got, want in zip(run(exported, states, np.random.default_rng(seed)), wanted, strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize("case", [*CELLS, "sru", "mingru"])
def test_the_body_of_a_scan_reads_what_is_in_it(
    case: str, lengths: bool, rng: np.random.Generator, tmp_path: Path
) -> None:
    cell = CELLS[case] if case in CELLS else getattr(cells, case)
    onnx(model_of(cell, rng), tmp_path / "model.onnx", lengths=lengths, operators=False)
    graph = package.load(tmp_path / "model.onnx").graph
    held = {one.name for one in graph.initializer}
    for body in (one.g for node in graph.node for one in node.attribute if one.name == "body"):
        known = {one.name for one in (*body.input, *body.initializer)}
        for node in body.node:
            assert known.issuperset(one for one in node.input if one)
            known |= set(node.output)
        assert held.isdisjoint(one.name for one in body.initializer)
