"""Whole training steps: every peer starts with the same numbers, and is timed only where its losses are right."""

import math
from typing import Any

import pytest

pytest.importorskip("torch")

from benchmarks import goals
from benchmarks.names import JAX, OURS, TORCH, TORCH_COMPILE
from benchmarks.network_step import contest, tables
from benchmarks.network_step.cases import CASES, QUICK, NetworkCase
from benchmarks.network_step.job import CHECKED
from benchmarks.network_step.torch_networks import Network, reference_losses
from benchmarks.network_step.worker import PEAK, PRODUCT, Worker
from tests.benchmarks.tiny import METHOD


@pytest.mark.parametrize("case", QUICK, ids=lambda case: case.title)
@pytest.mark.parametrize("peer", [OURS, TORCH])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_peer_has_the_losses_of_the_reference(case: NetworkCase, peer: str, dtype: str) -> None:
    answer = Worker(peer).answer({"prepare": case.title, "dtype": dtype})
    assert len(answer["losses"]) == CHECKED
    assert "difference" in contest.checked(answer, reference_losses(case), dtype)
    assert answer["ran"].startswith("llvm (" if peer == OURS and dtype == "float32" else ("torch", "layer in ", "llvm"))


def test_losses_fall_so_that_wrong_gradients_would_be_seen() -> None:
    for case in QUICK:
        losses = reference_losses(case)
        assert losses[0] - losses[-1] > 1e-3 * losses[0]


@pytest.mark.parametrize("losses", [[1.0, 1.0, 1.0, 1.0002], [1.0, 1.0, 1.0, math.nan]])
def test_another_loss_is_seen(losses: list[float]) -> None:
    record = contest.checked({"losses": losses, "ran": "float32"}, [1.0] * 4, "float32")
    assert record["status"] == "differs"
    assert record["reason"].startswith("losses [1.0, ")


def test_a_peer_that_fails_is_a_result(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Network, case: NetworkCase) -> None:
        raise RuntimeError("no memory\nand more")

    monkeypatch.setattr(Network, "__init__", fail)
    answer = Worker(TORCH).answer({"prepare": QUICK[0].title, "dtype": "float32"})
    assert answer == {"status": "fails", "reason": "RuntimeError: no memory"}
    assert contest.checked(answer, [1.0] * 4, "float32") == answer


def test_processes_are_asked_and_timed() -> None:
    with contest.processes((TORCH, PRODUCT, PEAK), (1,)) as workers:
        record = contest.contest(QUICK[0], "float32", workers, reference_losses(QUICK[0]), METHOD)
    assert {name: run["status"] for name, run in record["runs"].items()} == {
        "torch.nn 1": "timed",
        "product 1": "timed",
        "FMA 1": "timed",
    }
    assert record["operations"] == QUICK[0].operations
    assert record["peak"] > 1e8
    assert record["runs"]["torch.nn 1"]["ran"] == "layer in float32"


def test_a_process_that_has_ended_fails() -> None:
    with contest.processes((TORCH,), (1,)) as (worker,):
        worker.process.kill()
        worker.process.wait()
        answer = worker.prepare(QUICK[0], "float32")
    assert answer["status"] == "fails"


def test_the_cases_are_those_of_the_goals() -> None:
    assert goals.TIMES_TORCH.keys() <= {case.title for case in CASES}
    assert len({case.title for case in (*CASES, *QUICK)}) == len(CASES) + len(QUICK)


def run(median: float, ran: str = "") -> dict[str, Any]:
    return {"status": "timed", "median": median, "ran": ran}


@pytest.fixture
def records() -> list[dict[str, Any]]:
    exact = {f"{OURS} 1": run(0.010), f"{OURS} 2": run(0.005), f"{TORCH} 1": run(0.030), f"{TORCH} 2": run(0.020)}
    exact |= {f"{JAX} {threads}": {"status": "absent", "reason": "No module named 'optax'"} for threads in (1, 2)}
    exact |= {f"{TORCH_COMPILE} 1": run(0.020), f"{TORCH_COMPILE} 2": run(0.015)}
    exact |= {f"{PRODUCT} 1": run(0.0019), f"{PRODUCT} 2": run(0.001)}
    half = {**exact, f"{OURS} 1": run(0.005, "llvm"), f"{OURS} 2": run(0.004, "llvm")}
    common = {"title": "The Time Machine", "layer": "GRU", "shape": "35,32,28,28,256"}
    return [{**common, "dtype": "float32", "runs": exact}, {**common, "dtype": "bfloat16", "runs": half}]


def test_tables_have_times_ratios_what_threads_gain_and_what_ran(records: list[dict[str, Any]]) -> None:
    one, two, gains, ran = (table.text().splitlines() for table in tables.tables(records, [1, 2]))
    assert one == [
        "Whole training steps on 1 thread, milliseconds",
        "                           ours torch compile    JAX x torch x best",
        "The Time Machine, float32  10.0  30.0    20.0 absent    3.00   2.00",
        "The Time Machine, bfloat16  5.0  30.0    20.0 absent    6.00   4.00",
        "JAX absent: No module named 'optax'",
    ]
    assert two[2] == "The Time Machine, float32   5.0  20.0    15.0 absent    4.00   3.00"
    assert gains[2] == "The Time Machine, float32  2.00  1.50    1.33   -    1.90"
    assert ran[2:] == ["Gatewright llvm"]


def test_goals_are_held_to_whole_steps(records: list[dict[str, Any]]) -> None:
    table = goals.table({"sections": {"training_steps": records}})
    rows = {row[0]: tuple(row[1:4]) for row in table.rows}
    assert rows["The Time Machine, 1 thread, times torch.nn"] == (">= 2.5", "3", "yes")
    assert rows["whole steps, 2 threads, times the fastest peer, worst"] == (">= 1", "3", "yes")
    assert rows["a plain parallel product, two threads, times one"] == (">= 1.7", "1.9", "yes")
    assert rows["whole steps, two threads, times one, worst"] == (">= 1.7", "2", "yes")
    assert rows["whole steps, bfloat16, H>=256, times float32, worst"] == (">= 1.6", "2", "yes")
    assert rows["runs of Gatewright that differ or fail"] == ("<= 0", "0", "yes")
    records[0]["runs"][f"{OURS} 2"] = {"status": "differs", "reason": "losses"}
    rows = {row[0]: tuple(row[1:4]) for row in goals.table({"sections": {"training_steps": records}}).rows}
    assert rows["runs of Gatewright that differ or fail"] == ("<= 0", "1", "no")


def test_operations_are_those_of_the_products() -> None:
    words = NetworkCase("words", "GRU", steps=7, batch=4, vocabulary=30, inputs=12, hidden=32, outputs=30)
    assert words.operations == 3 * 2 * 28 * (12 * 96 + 32 * 96 + 32 * 30)
    letters = NetworkCase("letters", "GRU", steps=7, batch=4, vocabulary=5, inputs=12, hidden=32, outputs=30)
    assert words.operations - letters.operations == 3 * 2 * (28 - 5) * 12 * 96
    numbers = NetworkCase(
        "numbers", "LSTM", steps=6, batch=4, vocabulary=0, inputs=5, hidden=8, outputs=3, every_step=False
    )
    assert numbers.operations == 2 * 24 * (2 * 5 * 32 + 3 * 8 * 32) + 3 * 2 * 4 * 8 * 3


def test_the_bound_is_the_arithmetic_at_the_peak(records: list[dict[str, Any]]) -> None:
    for record in records:
        record |= {"operations": 2 * 10**8, "peak": 1e11}
    rows = {row[0]: row[4] for row in goals.table({"sections": {"training_steps": records}}).rows}
    assert rows["The Time Machine, 1 thread, times torch.nn"] == "15"
    assert rows["The Time Machine, 2 threads, times torch.nn"] == "20"
    assert rows["whole steps, bfloat16, H>=256, times torch.nn, worst"] == "30"


def test_what_threads_gain_is_held_to_what_the_machine_gains(records: list[dict[str, Any]]) -> None:
    for record in records:
        record["runs"][f"{PRODUCT} 2"] = run(0.0019 / 1.2)
    rows = {row[0]: tuple(row[1:4]) for row in goals.table({"sections": {"training_steps": records}}).rows}
    assert rows["whole steps, two threads, times one, worst"][0] == ">= 1.2"
