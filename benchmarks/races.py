"""Peers at one problem: checked, then timed in turn, then written down."""

from collections.abc import Mapping
from typing import Any

from benchmarks.names import MACHINE, Record
from benchmarks.peers import PEERS, AbsentError, able
from benchmarks.problem import Problem, disagreement
from benchmarks.setup import Setup, rounded, tell
from benchmarks.timing import Call, Timing, race


def contest(
    setup: Setup,
    problem: Problem,
    mode: str,
    names: tuple[str, ...],
    *,
    beside: Mapping[str, Call] | None = None,
    **told: Any,
) -> Record:
    """Time those who are here and give equal results; the record says of the others why they were not timed.

    Calls `beside` them are timed in the same rounds.
    """
    calls: dict[str, Call] = dict(beside or {})
    runs: dict[str, Record] = {}
    for name in able(names, problem, mode):
        try:
            job = PEERS[name].job(problem, mode, setup.threads)
        except AbsentError as error:
            runs[name] = {"status": "absent", "reason": str(error)}
            continue
        difference, reason = disagreement(problem, mode, job.read(job.call()))
        runs[name] = {"status": "differs", "reason": reason} if reason else {"difference": rounded(difference)}
        if reason is None:
            calls[name] = job.call
    record = {**told, "mode": mode, "shape": str(problem.shape), "flops": problem.cell.flops(problem.shape)}
    return timed(setup, calls, record | {"runs": runs})


def timed(setup: Setup, calls: Mapping[str, Call], record: Record) -> Record:
    """The record with the times of the calls, and with the peak of all threads meanwhile."""
    timings = race({**calls, MACHINE: setup.fma}, setup.method)
    peak = setup.peak_of(timings.pop(MACHINE), setup.threads)
    runs = record.get("runs", {})
    for name, timing in timings.items():
        runs[name] = {"status": "timed", **runs.get(name, {}), **as_record(timing)}
    tell(_line(record, runs))
    return {**record, "peak": rounded(peak), "runs": runs}


def as_record(timing: Timing) -> Record:
    """A timing in seconds, as it is kept."""
    return {
        "least": rounded(timing.least),
        "median": rounded(timing.median),
        "low": rounded(timing.low),
        "high": rounded(timing.high),
        "rounds": timing.rounds,
        "calls": timing.calls,
    }


def _line(record: Record, runs: Mapping[str, Record]) -> str:
    title = " ".join(str(record[key]) for key in ("cell", "mode", "shape") if key in record)
    times = [
        f"{name} {run['median'] * 1e6:.5g}" if "median" in run else f"{name} {run['status']}"
        for name, run in runs.items()
    ]
    return f"{title}: {', '.join(times)} us"
