"""What Gatewright wants to reach, beside what was measured."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks import bounds
from benchmarks.figures import (
    backward_share,
    beside_gru,
    forward_share,
    geometric_mean,
    linear_figures,
    loop_rate,
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
    GRADIENT,
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


@dataclass(frozen=True)
class Goal:
    """What is wanted, what was measured, and the most (or least) that the machine allows where that was measured."""

    what: str
    wanted: float
    measured: float | None
    at_least: bool = True
    bound: float | None = None

    @property
    def reached(self) -> bool:
        """Whether it is; false for NaN."""
        if self.measured is None:
            return False
        return self.measured >= self.wanted if self.at_least else self.measured <= self.wanted

    def row(self) -> list[str]:
        """That of the table."""
        sign, bound = ">=" if self.at_least else "<=", "" if self.bound is None else f"{self.bound:.3g}"
        wanted = f"{sign} {self.wanted:.3g}" if self.at_least else f"{sign} {self.wanted:g}"
        return [self.what, wanted, f"{self.measured:.3g}", "yes" if self.reached else "no", bound]


MEANS = {"forward": (1.4, 5.0), "training": (2.0, 6.0)}
"""Geometric means beside the fastest peer and beside torch.nn."""


def table(result: Mapping[str, Any]) -> Table:
    """Every goal about the sections that a result has."""
    sections = result["sections"]
    made = [make(result, records) for name, make in _MAKERS.items() if (records := sections.get(name))]
    goals = [goal for goals_of_section in made for goal in goals_of_section]
    goals.append(Goal("runs of Gatewright that differ or fail", 0, _untimed(sections.values()), at_least=False))
    rows = [goal.row() for goal in goals if goal.measured is not None]
    return Table("Goals", ["", "goal", "measured", "met", "bound"], rows)


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
    return sum(run["status"] != "timed" for run in (*runs, *whole))


def _least(values: Iterable[float | None]) -> float | None:
    return min((value for value in values if value is not None), default=None)


def _layers(result: Mapping[str, Any], records: Sequence[Record]) -> Iterator[Goal]:
    mode, loops = records[0]["mode"], bounds.plain_loops(result)
    best, torch = MEANS[mode]
    worst = _least(bounds.times_peer(record, loops) for record in records)
    yield Goal(f"GRU {mode}, times the fastest peer, worst", 1.0, _least(map(ratio, records)), bound=worst)
    for name, peers, wanted in (("the fastest peer", LIBRARIES, best), ("torch.nn", (TORCH,), torch)):
        mean = geometric_mean(ratio(record, peers) for record in records)
        bound = geometric_mean(bounds.times_peer(record, loops, peers) for record in records)
        yield Goal(f"GRU {mode}, times {name}, mean", wanted, mean, bound=bound)
    if mode == "forward":
        yield _beside_onnx_runtime(records, loops, 1)
        large = [record for record in records if sizes(record)[1] >= 16 and sizes(record)[3] >= 128]
        shares = [found / record["peak"] for record in large if (found := rate(record))]
        yield Goal("GRU forward, share of peak, B>=16, H>=128, worst", 0.75, _least(shares))


def _beside_onnx_runtime(records: Sequence[Record], loops: Mapping[int, float], threads: int) -> Goal:
    single = [record for record in records if sizes(record)[1] == 1 and sizes(record)[3] >= 256]
    worst = _least(ratio(record, (ONNX_RUNTIME,)) for record in single)
    bound = _least(bounds.times_peer(record, loops, (ONNX_RUNTIME,), threads) for record in single)
    what = "GRU forward, B=1, H>=256" + (", 2 threads" if threads == 2 else "")
    return Goal(f"{what}, times ONNX Runtime", 1.4, worst, bound=bound)


def _two_threads(result: Mapping[str, Any], records: Sequence[Record]) -> Iterator[Goal]:
    loops = bounds.plain_loops(result)
    for mode in MEANS:
        of_this_mode = of_mode(records, mode)
        bound = _least(bounds.times_peer(record, loops, threads=2) for record in of_this_mode)
        worst = _least(map(ratio, of_this_mode))
        yield Goal(f"GRU {mode}, 2 threads, times the fastest peer, worst", 1.0, worst, bound=bound)
    yield _beside_onnx_runtime(of_mode(records, FORWARD), loops, 2)


def _single_row(result: Mapping[str, Any], records: Sequence[Record]) -> Iterator[Goal]:
    yield Goal("one row, forward: share of a plain loop, worst", 0.9, _least(map(forward_share, records)))
    yield Goal("one row, backward: share of a plain loop, worst", 0.9, _least(map(backward_share, records)))


def _narrow_weights(result: Mapping[str, Any], records: Sequence[Record]) -> Iterator[Goal]:
    def worst(name: str, beside: str, least: int) -> float | None:
        large = [record for record in records if record["hidden"] >= least]
        return _least(over(median(record, beside), median(record, name)) for record in large)

    yield Goal("one row, bfloat16, H>=256, times float32, worst", 1.7, worst(BFLOAT16, FLOAT32, 256), bound=2)
    yield Goal("one row, int8, H>=512, times float32, worst", 3.0, worst(INT8, FLOAT32, 512), bound=4)
    yield Goal("one row, int8, H>=512, times torch.ao, worst", 1.0, worst(INT8, TORCH_INT8, 512))


def _single_cells(result: Mapping[str, Any], records: Sequence[Record]) -> Iterator[Goal]:
    timed = [record for record in records if record["status"] == "timed"]
    worst = _least(ratio(record, (TORCH,)) for record in timed)
    yield Goal("cells at T=1, times torch.nn's, worst", 1.0, worst)


def _recurrent_part(result: Mapping[str, Any], records: Sequence[Record]) -> Iterator[Goal]:
    for mode in (FORWARD, GRADIENT):
        worst = _least(loop_rate(record, mode) / record["copy"] for record in records)
        yield Goal(f"the loop of linear cells, {mode}, share of a copy, worst", 0.4, worst)


def _linear(result: Mapping[str, Any], records: Sequence[Record]) -> Iterator[Goal]:
    timed = [record for record in records if record["status"] == "timed"]
    slower = [made.beside_shortest for record in timed for made in linear_figures(record, 1.0).values()]
    yield Goal("a step of linear cells, times the shortest, worst", 2.0, max(slower, default=None), at_least=False)


def _serial(result: Mapping[str, Any], records: Sequence[Record]) -> Iterator[Goal]:
    timed = [record for record in records if record["status"] == "timed"]
    slower = [made.beside_shortest for record in timed for made in linear_figures(record, 1.0).values()]
    worst = max(slower, default=None)
    yield Goal("a step beyond 2,048 steps of 16 rows, times as long", 2.0, worst, at_least=False)


def _cells(result: Mapping[str, Any], records: Sequence[Record]) -> Iterator[Goal]:
    for mode in MEANS:
        found = of_mode(records, mode)
        large = [record for record in found if sizes(record)[3] >= 128]
        yield Goal(f"cells, {mode}: rate beside the GRU's, H>=128, worst", 0.75, _least(map(beside_gru, large)))
        yield Goal(f"cells, {mode}: times a torch loop at B=1, worst", 10.0, _least(map(loop_ratio, found)))


def _step(result: Mapping[str, Any], records: Sequence[Record]) -> Iterator[Goal]:
    small = [record for record in records if record["hidden"] == 32]
    yield Goal("one step at H=32, times ONNX Runtime's run", 4.0, _least(map(step_ratio, small)))


def _threads(result: Mapping[str, Any], records: Sequence[Record]) -> Iterator[Goal]:
    two = [record for record in records if record["several"] == 2 and record["status"] == "timed"]
    yield Goal("two threads, times one, worst", 1.7, _least(thread_ratio(record, LAYER) for record in two))


def _compile(result: Mapping[str, Any], records: Sequence[Record]) -> Iterator[Goal]:
    for what, key, wanted in (
        ("seconds to compile forward and backward, worst cell", "cold", 0.25),
        ("seconds to load them from disk, worst cell", "cached", 0.015),
        ("seconds of `import gatewright`", "import", 0.25),
    ):
        worst = max((record[key]["median"] for record in records), default=None)
        yield Goal(what, wanted, worst, at_least=False)


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
                measured = times_peer(record, threads, (TORCH,))
                bound = over(seconds(record, TORCH, threads), bounds.step_seconds(record, threads))
                yield Goal(f"{record['title']}, {plural}, times torch.nn", wanted, measured, bound=bound)
        worst = _least(times_peer(record, threads) for record in exact)
        yield Goal(f"whole steps, {plural}, times the fastest peer, worst", 1.0, worst)
    machine = machine_gains(records, 2)
    yield Goal("a plain parallel product, two threads, times one", TWO_THREADS, machine)
    worst = _least(times_threads(record, OURS, 2) for record in exact)
    yield Goal("whole steps, two threads, times one, worst", min(TWO_THREADS, machine or TWO_THREADS), worst)
    yield from _steps_in_bfloat16(records)


def _steps_in_bfloat16(records: Sequence[Record]) -> Iterator[Goal]:
    exact = {record["title"]: record for record in records if record["dtype"] == "float32"}
    large = [record for record in records if record["dtype"] == "bfloat16" and sizes(record)[-1] >= 256]
    pairs = [(exact[record["title"]], record) for record in large if record["title"] in exact]
    worst = _least(over(seconds(full, OURS, 1), seconds(half, OURS, 1)) for full, half in pairs)
    yield Goal("whole steps, bfloat16, H>=256, times float32, worst", 1.6, worst)
    worst = _least(times_peer(record, 1, (TORCH,)) for record in large)
    bound = _least(over(seconds(record, TORCH, 1), bounds.step_seconds(record, 1)) for record in large)
    yield Goal("whole steps, bfloat16, H>=256, times torch.nn, worst", 2.5, worst, bound=bound)


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
    "recurrent_part": _recurrent_part,
    "serial": _serial,
    "training_steps": _training_steps,
}
