"""Peers at one problem: checked, then timed in turn, then written down."""

from collections.abc import Mapping
from typing import Any

from benchmarks.names import MACHINE, OUR_GRU, OURS, Record
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
        runs[name], call = _admitted(name, problem, mode, setup.threads)
        if call:
            calls[name] = call
    record = {**told, "mode": mode, "shape": str(problem.shape), "flops": problem.cell.flops(problem.shape)}
    return timed(setup, calls, record | {"runs": runs})


def _admitted(name: str, problem: Problem, mode: str, threads: int) -> tuple[Record, Call | None]:
    """What there is to say of a peer before it is timed, and its call where it may be."""
    try:
        job = PEERS[name].job(problem, mode, threads)
        difference, reason = disagreement(problem, mode, job.read(job.call()))
    except AbsentError as error:
        return {"status": "absent", "reason": str(error)}, None
    except Exception as error:  # noqa: BLE001  that a peer fails is a result, and the others are measured all the same
        return {"status": "fails", "reason": f"{type(error).__name__}: {error}"}, None
    if reason:
        return {"status": "differs", "reason": reason}, None
    return {"difference": rounded(difference)}, job.call


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
    """Gatewright's time, the fastest peer's, and who was not timed."""
    title = " ".join(str(record[key]) for key in ("cell", "mode", "shape") if key in record)
    peers = {name: run for name, run in runs.items() if name != OUR_GRU}
    medians = {name: run["median"] for name, run in peers.items() if "median" in run}
    fastest = min(medians.keys() - {OURS}, key=medians.__getitem__, default=OURS)
    times = [f"{name} {medians[name] * 1e6:.0f} us" for name in dict.fromkeys((OURS, fastest)) if name in medians]
    others = [f"{name} {run['status']}" for name, run in peers.items() if name not in medians]
    return f"{title}: {', '.join([*times, *others])}"
