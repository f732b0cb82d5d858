"""The sections that measure one thing each, at sizes that take no time; their tables and goals."""

from typing import Any

import pytest

pytest.importorskip("torch")

from benchmarks import goals, long_sequences, narrow_weights, recurrent_part, single_cells, single_row, two_threads
from benchmarks.names import BFLOAT16, FLOAT32, FORWARD, GRADIENT, INT8, OURS, PLAIN, TORCH, TORCH_INT8, TRAINING
from benchmarks.summary import tables
from tests.benchmarks import tiny


def shown(name: str, records: list[dict[str, Any]]) -> tuple[list[list[str]], dict[str, tuple[str, ...]]]:
    """The rows of a section's first table, and the goals by what they are about."""
    result = {"threads": 1, "machine": {"copy": {"1": 1e10}}, "sections": {name: records}}
    table = tables(result)[name][0]
    assert all(len(row) == len(table.head) for row in table.rows)
    return [list(row) for row in table.rows], {row[0]: tuple(row[1:4]) for row in goals.table(result).rows}


def test_one_row_is_held_to_a_plain_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(single_row, "SIZES", (128,))
    (record,) = single_row.single_row(tiny.setup())
    assert record["runs"].keys() == {PLAIN, FORWARD, TRAINING}
    assert record["bytes"] == 3 * 128 * 128 * 4
    for name, seconds in ((PLAIN, 1e-6), (FORWARD, 2e-6), (TRAINING, 4.5e-6)):
        record["runs"][name]["median"] = seconds
    rows, found = shown("single_row", [record])
    assert rows == [["128", "197", "98", "50%", "40%"]]
    assert found["one row, forward: share of a plain loop, worst"] == (">= 0.9", "0.5", "no")
    assert found["one row, backward: share of a plain loop, worst"] == (">= 0.9", "0.4", "no")


def test_the_plain_loop_multiplies() -> None:
    product = single_row.StreamedProduct(256, 40)
    product()
    assert (product.result == 40).all()


def test_cells_are_measured_beside_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(single_cells, "SIZES", ((4, 2),))
    records = single_cells.single_cells(tiny.setup())
    assert [record["cell"] for record in records] == ["RNNCell", "GRUCell", "LSTMCell"]
    for record in records:
        record["runs"][OURS]["median"], record["runs"][TORCH]["median"] = 2e-6, 3e-6
    rows, found = shown("single_cells", records)
    assert rows[1] == ["GRUCell, 4 units", "2", "2", "3", "1.50"]
    assert found["cells at T=1, times torch.nn's, worst"] == (">= 1", "1.5", "yes")


def test_weights_in_fewer_bits_are_held_to_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(narrow_weights, "SIZES", (32,))
    (record,) = narrow_weights.narrow_weights(tiny.setup())
    assert [record["runs"][name]["status"] for name in (FLOAT32, BFLOAT16, INT8)] == ["timed"] * 3
    assert record["runs"][TORCH_INT8]["status"] in ("timed", "fails")
    assert (
        record["runs"][FLOAT32]["difference"]
        < record["runs"][BFLOAT16]["difference"]
        < record["runs"][INT8]["difference"]
    )
    record["hidden"] = 512
    for name, seconds in ((FLOAT32, 9e-6), (BFLOAT16, 5e-6), (INT8, 3e-6), (TORCH_INT8, 6e-6)):
        record["runs"][name]["median"] = seconds
    rows, found = shown("narrow_weights", [record])
    assert rows[0][:7] == ["512", "9", "5", "3", "6", "1.80", "3.00"]
    assert found["one row, int8, H>=512, times float32, worst"] == (">= 3", "3", "yes")
    assert found["one row, bfloat16, H>=256, times float32, worst"] == (">= 1.7", "1.8", "yes")
    assert found["one row, int8, H>=512, times torch.ao, worst"] == (">= 1", "2", "yes")


def test_weights_that_are_too_far_off_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(narrow_weights, "SIZES", (32,))
    monkeypatch.setitem(narrow_weights.TOLERANCES, INT8, 1e-9)
    (record,) = narrow_weights.narrow_weights(tiny.setup())
    assert record["runs"][INT8]["status"] == "differs"
    assert "median" not in record["runs"][INT8]


def test_long_sequences_are_held_to_the_shortest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_sequences, "SERIAL_STEPS", (2, 4))
    monkeypatch.setattr(long_sequences, "SERIAL", {"gru": 3})
    monkeypatch.setattr(long_sequences, "CHECKED", 2)
    monkeypatch.setattr(long_sequences, "HIDDEN", 8)
    monkeypatch.setattr(long_sequences, "QUICK_STEPS", (2, 4))
    (record,) = long_sequences.serial(tiny.setup())
    assert record["status"] == "timed"
    record["runs"]["2"]["median"], record["runs"]["4"]["median"] = 2e-6, 10e-6
    _, found = shown("serial", [record])
    assert found["a step beyond 2,048 steps of 16 rows, times as long"] == ("<= 2", "2.5", "no")


def test_the_loop_of_linear_cells_is_held_to_a_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recurrent_part, "QUICK", ((3, 5), (2,), (16,)))
    monkeypatch.setattr(recurrent_part, "COPY_SECONDS", 1e-3)
    short, long = recurrent_part.recurrent_part(tiny.setup())
    assert (short["cell"], short["steps"], long["steps"]) == ("mingru", 3, 5)
    # Forward two coefficients are read and a state is written. The gradient reads h, dh, z and n, and writes its state
    # and the gradients of two products.
    assert long["bytes"] == {FORWARD: 2 * 3 * 16 * 4, GRADIENT: 2 * 7 * 16 * 4}
    assert long["flops"] == 2 * 2 * 2 * 32 * 16
    seconds = {FORWARD: 2e-6, TRAINING: 8e-6, f"{FORWARD} loop": 1e-6, f"{GRADIENT} loop": 4e-6}
    for name, value in seconds.items():
        long["runs"][name]["median"] = value
    long["copy"], long["peak"] = 2.4e9, 1e11
    rows, found = shown("recurrent_part", [long])
    assert rows == [["5,2,32,16", "0.40", "50%", "1.60", "41%", "1.9", "80%", "1.1", "47%"]]
    assert found["the loop of linear cells, forward, share of a copy, worst"] == (">= 0.4", "0.8", "yes")
    assert found["the loop of linear cells, gradient, share of a copy, worst"] == (">= 0.4", "0.467", "yes")


def test_passes_that_are_timed_compute_what_a_layer_computes() -> None:
    """Their loop would otherwise be timed over memory that no pass has written."""
    engine = recurrent_part.gw.nn.Recurrent("mingru", 32, 16, backend="llvm").plan().engine()
    passes = recurrent_part.TimedPasses(engine, 3, 2, 1)
    passes.run_of("loop")
    z = 1 / (1 + recurrent_part.np.exp(-recurrent_part.np.float32(32 * 0.01 + 0.1)))
    state = 0.1
    for _ in range(3):
        state = (1 - z) * state + z * (32 * 0.01 + 0.1)
    assert passes.array("h")[-1] == pytest.approx(state, rel=1e-5)


def test_two_threads_have_goals_of_their_own() -> None:
    def record(mode: str, shape: str, ours: float, **theirs: float) -> dict[str, Any]:
        runs = {OURS: {"status": "timed", "median": ours}} | {
            name.replace("_", " "): {"status": "timed", "median": value} for name, value in theirs.items()
        }
        return {"cell": "gru", "mode": mode, "shape": shape, "flops": 1, "peak": 1.0, "runs": runs}

    records = [record(FORWARD, "100,1,512,512", 2.0, ONNX_Runtime=3.0), record(TRAINING, "100,1,512,512", 2.0, JAX=1.0)]
    _, found = shown("two_threads", records)
    assert found["GRU forward, 2 threads, times the fastest peer, worst"] == (">= 1", "1.5", "yes")
    assert found["GRU training, 2 threads, times the fastest peer, worst"] == (">= 1", "0.5", "no")
    assert found["GRU forward, B=1, H>=256, 2 threads, times ONNX Runtime"] == (">= 1.4", "1.5", "yes")


def test_two_threads_are_measured_by_the_same_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(two_threads.limits, "limit", lambda threads: None)
    monkeypatch.setattr(two_threads.limits, "PROCESSORS", 2)
    asked: list[list[str]] = []

    def run(command: list[str], **options: Any) -> None:
        asked.append(command)
        folder = command[command.index("--out") + 1]
        two_threads.files.save(
            two_threads.Path(folder) / "benchmarks.json", {"sections": {FORWARD: [1], TRAINING: [2]}}
        )

    monkeypatch.setattr(two_threads.subprocess, "run", run)
    assert two_threads.two_threads(tiny.setup()) == [1, 2]
    assert asked[0][1:7] == ["-m", "benchmarks.cpu", "--quick", "--threads", "2", "--only"]
    assert asked[0][-2:] == ["--shapes", str(tiny.SHAPE)]
