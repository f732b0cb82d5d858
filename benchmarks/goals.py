"""What Gatewright wants to reach, beside what was measured."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from benchmarks.figures import (
    beside_gru,
    geometric_mean,
    loop_ratio,
    of_mode,
    rate,
    ratio,
    sizes,
    step_ratio,
    thread_ratio,
)
from benchmarks.names import LAYER, LIBRARIES, OURS, STEP, TORCH, Record
from benchmarks.tables import Table

Goal = tuple[str, str, float | None, bool]
"""What, the bound as it is read, the number that was measured, and whether it is reached."""
MEANS = {"forward": (1.4, 5.0), "training": (2.0, 6.0)}
"""Geometric means beside the fastest peer and beside torch.nn."""


def table(result: Mapping[str, Any]) -> Table:
    """Every goal about the sections that a result has."""
    sections = result["sections"]
    goals = [goal for name, make in _MAKERS.items() for goal in make(name, sections.get(name) or [])]
    goals.append(_at_most("runs of Gatewright that differ or fail", 0, _untimed(sections.values())))
    rows = [
        [what, wanted, f"{found:.3g}", "yes" if reached else "no"]
        for what, wanted, found, reached in goals
        if found is not None
    ]
    return Table("Goals", ["", "wanted", "measured", "reached"], rows)


def _untimed(sections: Iterable[Sequence[Record]]) -> float:
    """They are in no table, so that they would make the others look better."""
    whole = [record for records in sections for record in records if "status" in record]
    runs = [
        run
        for records in sections
        for record in records
        for name, run in record.get("runs", {}).items()
        if name in (OURS, STEP)
    ]
    return sum(one["status"] != "timed" for one in (*runs, *whole))


def _at_least(what: str, wanted: float, found: float | None) -> Goal:
    return what, f">= {wanted:g}", found, found is not None and found >= wanted


def _at_most(what: str, wanted: float, found: float | None) -> Goal:
    return what, f"<= {wanted:g}", found, found is not None and found <= wanted


def _least(values: Iterable[float | None]) -> float | None:
    return min((value for value in values if value is not None), default=None)


def _layers(mode: str, records: Sequence[Record]) -> Iterator[Goal]:
    best, torch = MEANS[mode]
    yield _at_least(f"GRU {mode}, times the fastest peer, worst", 1.0, _least(map(ratio, records)))
    for name, peers, wanted in (("the fastest peer", LIBRARIES, best), ("torch.nn", (TORCH,), torch)):
        mean = geometric_mean(ratio(record, peers) for record in records)
        yield _at_least(f"GRU {mode}, times {name}, mean", wanted, mean)
    if mode == "forward":
        large = [record for record in records if sizes(record)[1] >= 16 and sizes(record)[3] >= 128]
        shares = [found / record["peak"] for record in large if (found := rate(record))]
        yield _at_least("GRU forward, share of peak, B>=16, H>=128, worst", 0.75, _least(shares))


def _cells(name: str, records: Sequence[Record]) -> Iterator[Goal]:
    for mode in MEANS:
        found = of_mode(records, mode)
        large = [record for record in found if sizes(record)[3] >= 128]
        yield _at_least(f"cells, {mode}: rate beside the GRU's, H>=128, worst", 0.75, _least(map(beside_gru, large)))
        yield _at_least(f"cells, {mode}: times a torch loop at B=1, worst", 10.0, _least(map(loop_ratio, found)))


def _step(name: str, records: Sequence[Record]) -> Iterator[Goal]:
    small = [record for record in records if record["hidden"] == 32]
    yield _at_least("one step at H=32, times ONNX Runtime's run", 4.0, _least(map(step_ratio, small)))


def _threads(name: str, records: Sequence[Record]) -> Iterator[Goal]:
    two = [record for record in records if record["several"] == 2 and record["status"] == "timed"]
    yield _at_least("two threads, times one, worst", 1.7, _least(thread_ratio(record, LAYER) for record in two))


def _compile(name: str, records: Sequence[Record]) -> Iterator[Goal]:
    for what, key, wanted in (
        ("seconds to compile forward and backward, worst cell", "cold", 0.4),
        ("seconds to load them from disk, worst cell", "cached", 0.03),
        ("seconds of `import gatewright`", "import", 0.25),
    ):
        yield _at_most(what, wanted, max((record[key]["median"] for record in records), default=None))


_MAKERS = {
    "forward": _layers,
    "training": _layers,
    "cells": _cells,
    "step": _step,
    "threads": _threads,
    "compile": _compile,
}
