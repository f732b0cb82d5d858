"""Only equal peers are timed, all of them in turn."""

import sys
import types
from typing import Any

import pytest

pytest.importorskip("torch")

from benchmarks import peers, races
from benchmarks.names import FORWARD, MACHINE, OURS, TORCH
from benchmarks.peers import Peer
from benchmarks.problem import Job, Problem
from benchmarks.timing import Method, race, race_runs
from tests.benchmarks import tiny


def off_by_a_little(problem: Problem, threads: int) -> Job:
    return Job(lambda: problem.reference(FORWARD), lambda results: {"output": results["output"] * 1.001})


@pytest.fixture
def wrong(monkeypatch: pytest.MonkeyPatch) -> str:
    module: Any = types.ModuleType("benchmarks.peers.wrong")
    module.forward = off_by_a_little
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(peers.PEERS, "wrong", Peer("wrong"))
    return "wrong"


def test_a_peer_that_differs_is_told_of_and_not_timed(wrong: str) -> None:
    runs = races.contest(tiny.setup(), tiny.problem(), FORWARD, (TORCH, wrong))["runs"]
    assert runs[wrong].keys() == {"status", "reason"}
    assert runs[wrong]["status"] == "differs"
    assert runs[wrong]["reason"].startswith("output is off by 1.0e-03 of its largest number")
    assert runs[TORCH]["status"] == "timed"


def test_a_peer_that_is_not_installed_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(peers.PEERS, "nobody", Peer("nobody"))
    runs = races.contest(tiny.setup(), tiny.problem(), FORWARD, ("nobody",))["runs"]
    assert runs == {"nobody": {"status": "absent", "reason": "No module named 'benchmarks.peers.nobody'"}}


def test_a_record_says_what_was_measured() -> None:
    record = races.contest(tiny.setup(), tiny.problem(), FORWARD, (OURS, TORCH), cell="gru")
    assert record.keys() == {"cell", "mode", "shape", "flops", "peak", "runs"}
    assert record["flops"] == 2 * 3 * 2 * 3 * 5 * (4 + 5)
    assert record["peak"] > 0
    assert list(record["runs"]) == [OURS, TORCH]
    for run in record["runs"].values():
        assert run.keys() == {"status", "difference", "least", "median", "low", "high", "rounds", "calls"}
        assert 0 < run["least"] <= run["low"] <= run["median"] <= run["high"]
        assert run["rounds"] == tiny.METHOD.fewest


def test_a_peer_that_cannot_do_a_problem_takes_no_part() -> None:
    runs = races.contest(tiny.setup(), tiny.problem("swing"), FORWARD, (TORCH,))["runs"]
    assert runs == {}


def test_calls_are_timed_in_turn_and_who_begins_goes_last_next() -> None:
    order: list[str] = []
    calls = {name: lambda name=name: order.append(name) for name in ("a", "b", MACHINE)}
    timings = race(calls, Method(sample=0.0, fewest=3, most=9, budget=0.0))
    assert {timing.rounds for timing in timings.values()} == {3}
    # once to see how long a call takes, twice more to count; then in every round one call before the counted one
    rounds = "".join(name[0] for name in order[-18:])
    assert rounds == "aabbFF" + "bbFFaa" + "FFaabb"


def test_the_budget_ends_a_race_before_all_rounds() -> None:
    (timing,) = race({"a": lambda: None}, Method(sample=1e-4, fewest=2, most=10**6, budget=0.01)).values()
    assert 2 <= timing.rounds < 10**4
    assert timing.calls > 10


@pytest.mark.parametrize(("settles", "counted"), [(0.5, "aaaaa"), (2.0, "aaaaaaaa")])
def test_a_call_that_is_not_counted_precedes_samples_that_last_less_than_settles(settles: float, counted: str) -> None:
    order: list[str] = []

    def run(count: int) -> float:
        order.extend("a" * count)
        return 1.0 * count

    race_runs({"a": run}, Method(sample=0.0, fewest=3, most=3, budget=0.0, settles=settles))
    assert "".join(order) == counted  # twice to count, then in three rounds
