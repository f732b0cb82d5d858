"""What Gatewright wants to reach, beside what was measured."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from benchmarks.figures import (
    backward_share,
    beside_gru,
    forward_share,
    geometric_mean,
    linear_figures,
    loop_ratio,
    median,
    of_mode,
    over,
    rate,
    ratio,
    sizes,
    step_ratio,
    thread_ratio,
)
from benchmarks.names import (
    BFLOAT16,
    FLOAT32,
    FORWARD,
    INT8,
    LAYER,
    LIBRARIES,
    ONNX_RUNTIME,
    OURS,
    TORCH,
    TORCH_INT8,
    Record,
)
from benchmarks.network_step.tables import machine_gains, seconds, times_peer, times_threads
from benchmarks.tables import Table

Goal = tuple[str, str, float | None, bool]
"""What, the bound as it is read, the number that was measured, and whether it is reached."""
MEANS = {"forward": (1.4, 5.0), "training": (2.0, 6.0)}
"""Geometric means beside the fastest peer and beside torch.nn."""


def table(result: Mapping[str, Any]) -> Table:
    """Every goal about the sections that a result has."""
    sections = result["sections"]
    made = [make(result, records) for name, make in _MAKERS.items() if (records := sections.get(name))]
    goals = [goal for goals_of_section in made for goal in goals_of_section]
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
        if name.startswith(OURS)
    ]
    return sum(one["status"] != "timed" for one in (*runs, *whole))


def _at_least(what: str, wanted: float, found: float | None) -> Goal:
    return what, f">= {wanted:.3g}", found, found is not None and found >= wanted


def _at_most(what: str, wanted: float, found: float | None) -> Goal:
    return what, f"<= {wanted:g}", found, found is not None and found <= wanted


def _least(values: Iterable[float | None]) -> float | None:
    return min((value for value in values if value is not None), default=None)


def _layers(result: Mapping[str, Any], records: Sequence[Record]) -> Iterator[Goal]:
    mode = records[0]["mode"]
    best, torch = MEANS[mode]
    yield _at_least(f"GRU {mode}, times the fastest peer, worst", 1.0, _least(map(ratio, records)))
    for name, peers, wanted in (("the fastest peer", LIBRARIES, best), ("torch.nn", (TORCH,), torch)):
        mean = geometric_mean(ratio(record, peers) for record in records)
        yield _at_least(f"GRU {mode}, times {name}, mean", wanted, mean)
    if mode == "forward":
        yield _beside_onnx_runtime(records, "one thread")
        large = [record for record in records if sizes(record)[1] >= 16 and sizes(record)[3] >= 128]
        shares = [found / record["peak"] for record in large if (found := rate(record))]
        yield _at_least("GRU forward, share of peak, B>=16, H>=128, worst", 0.75, _least(shares))


def _beside_onnx_runtime(records: Sequence[Record], threads: str) -> Goal:
    single = [record for record in records if sizes(record)[1] == 1 and sizes(record)[3] >= 256]
    worst = _least(ratio(record, (ONNX_RUNTIME,)) for record in single)
    return _at_least(f"GRU forward, B=1, H>=256, {threads}, times ONNX Runtime", 1.4, worst)


def _two_threads(result: Mapping[str, Any], records: Sequence[Record]) -> Iterator[Goal]:
    for mode in MEANS:
        worst = _least(map(ratio, of_mode(records, mode)))
        yield _at_least(f"GRU {mode}, two threads, times the fastest peer, worst", 1.0, worst)
    yield _beside_onnx_runtime(of_mode(records, FORWARD), "two threads")


def _single_row(result: Mapping[str, Any], records: Sequence[Record]) -> Iterator[Goal]:
    yield _at_least("one row, forward: share of a plain loop, worst", 0.9, _least(map(forward_share, records)))
    yield _at_least("one row, backward: share of a plain loop, worst", 0.9, _least(map(backward_share, records)))


def _narrow_weights(result: Mapping[str, Any], records: Sequence[Record]) -> Iterator[Goal]:
    def worst(name: str, beside: str, least: int) -> float | None:
        large = [record for record in records if record["hidden"] >= least]
        return _least(over(median(record, beside), median(record, name)) for record in large)

    yield _at_least("one row, bfloat16, H>=256, times float32, worst", 1.7, worst(BFLOAT16, FLOAT32, 256))
    yield _at_least("one row, int8, H>=512, times float32, worst", 3.0, worst(INT8, FLOAT32, 512))
    yield _at_least("one row, int8, H>=512, times torch.ao, worst", 1.0, worst(INT8, TORCH_INT8, 512))


def _single_cells(result: Mapping[str, Any], records: Sequence[Record]) -> Iterator[Goal]:
    timed = [record for record in records if record["status"] == "timed"]
    worst = _least(ratio(record, (TORCH,)) for record in timed)
    yield _at_least("GRUCell and LSTMCell, times torch.nn's, worst", 1.0, worst)


def _linear(result: Mapping[str, Any], records: Sequence[Record]) -> Iterator[Goal]:
    copy = result["machine"]["copy"][str(result["threads"])]
    timed = [record for record in records if record["status"] == "timed"]
    figures = [made for record in timed for made in linear_figures(record, copy).values()]
    yield _at_least("parallel in time, share of a copy, worst", 0.4, _least(made.bandwidth / copy for made in figures))


def _serial(result: Mapping[str, Any], records: Sequence[Record]) -> Iterator[Goal]:
    timed = [record for record in records if record["status"] == "timed"]
    slower = [made.beside_shortest for record in timed for made in linear_figures(record, 1.0).values()]
    yield _at_most("a step beyond 2,048 steps of 16 rows, times as long", 2.0, max(slower, default=None))


def _cells(result: Mapping[str, Any], records: Sequence[Record]) -> Iterator[Goal]:
    for mode in MEANS:
        found = of_mode(records, mode)
        large = [record for record in found if sizes(record)[3] >= 128]
        yield _at_least(f"cells, {mode}: rate beside the GRU's, H>=128, worst", 0.75, _least(map(beside_gru, large)))
        yield _at_least(f"cells, {mode}: times a torch loop at B=1, worst", 10.0, _least(map(loop_ratio, found)))


def _step(result: Mapping[str, Any], records: Sequence[Record]) -> Iterator[Goal]:
    small = [record for record in records if record["hidden"] == 32]
    yield _at_least("one step at H=32, times ONNX Runtime's run", 4.0, _least(map(step_ratio, small)))


def _threads(result: Mapping[str, Any], records: Sequence[Record]) -> Iterator[Goal]:
    two = [record for record in records if record["several"] == 2 and record["status"] == "timed"]
    yield _at_least("two threads, times one, worst", 1.7, _least(thread_ratio(record, LAYER) for record in two))


def _compile(result: Mapping[str, Any], records: Sequence[Record]) -> Iterator[Goal]:
    for what, key, wanted in (
        ("seconds to compile forward and backward, worst cell", "cold", 0.25),
        ("seconds to load them from disk, worst cell", "cached", 0.015),
        ("seconds of `import gatewright`", "import", 0.25),
    ):
        yield _at_most(what, wanted, max((record[key]["median"] for record in records), default=None))


TIMES_TORCH = {"The Time Machine": 2.5, "MNIST, row by row": 2.0, "Penn Treebank, small": 1.8}
"""Whole training steps beside plain torch.nn."""
TWO_THREADS = 1.7
"""What two threads are to gain where the machine gains as much."""


def _training_steps(result: Mapping[str, Any], records: Sequence[Record]) -> Iterator[Goal]:
    exact = [record for record in records if record["dtype"] == "float32"]
    for threads in (1, 2):
        plural = f"{threads} thread{'s' * (threads > 1)}"
        for record in exact:
            if wanted := TIMES_TORCH.get(record["title"]):
                found = times_peer(record, threads, (TORCH,))
                yield _at_least(f"{record['title']}, {plural}, times torch.nn", wanted, found)
        worst = _least(times_peer(record, threads) for record in exact)
        yield _at_least(f"whole steps, {plural}, times the fastest peer, worst", 1.0, worst)
    machine = machine_gains(records, 2)
    yield _at_least("a plain parallel product, two threads, times one", TWO_THREADS, machine)
    worst = _least(times_threads(record, OURS, 2) for record in exact)
    yield _at_least("whole steps, two threads, times one, worst", min(TWO_THREADS, machine or TWO_THREADS), worst)
    yield from _steps_in_bfloat16(records)


def _steps_in_bfloat16(records: Sequence[Record]) -> Iterator[Goal]:
    exact = {record["title"]: record for record in records if record["dtype"] == "float32"}
    large = [record for record in records if record["dtype"] == "bfloat16" and sizes(record)[-1] >= 256]
    pairs = [(exact[record["title"]], record) for record in large if record["title"] in exact]
    worst = _least(over(seconds(full, OURS, 1), seconds(half, OURS, 1)) for full, half in pairs)
    yield _at_least("whole steps, bfloat16, H>=256, times float32, worst", 1.6, worst)
    worst = _least(times_peer(record, 1, (TORCH,)) for record in large)
    yield _at_least("whole steps, bfloat16, H>=256, times torch.nn, worst", 2.5, worst)


_MAKERS = {
    "forward": _layers,
    "training": _layers,
    "cells": _cells,
    "step": _step,
    "threads": _threads,
    "single_row": _single_row,
    "narrow_weights": _narrow_weights,
    "single_cells": _single_cells,
    "two_threads": _two_threads,
    "compile": _compile,
    "linear": _linear,
    "serial": _serial,
    "training_steps": _training_steps,
}
