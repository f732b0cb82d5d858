"""How the kernels of a run are partitioned among threads: by rows, or by units where there are too few rows.

What is chosen follows from what things cost, in operations. Results do not depend on it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import ceil

from gatewright.backends.llvm.parallel.unit_partition import UnitPartition

THREAD_COST = 2_000_000
"""Operations that take as long as it takes until another thread has come."""
BARRIER_COST = 15_000
"""Operations that take as long as it takes threads to wait for one another."""


class PartitionAxis(StrEnum):
    """What the threads of a pass share: each takes some of the rows, or some of the units of all rows."""

    ROWS = "rows"
    UNITS = "units"


@dataclass(frozen=True, slots=True)
class PassCost:
    """What a pass costs, and how it can be partitioned.

    - `operations`: of one line, which is one row at one step.
    - `min_rows`: with how many rows its kernel can be called.
    - `units`: how threads would share its units.
    - `in_loop`: whether it goes from step to step, or over all lines at once.
    """

    operations: int
    min_rows: int
    units: UnitPartition
    in_loop: bool


@dataclass(frozen=True, slots=True)
class RunCost:
    """What a run costs: its passes by name, and the operations of all its sums for one line."""

    passes: Mapping[str, PassCost]
    sums: int

    @property
    def operations(self) -> int:
        """Of all passes for one line."""
        return sum(cost.operations for cost in self.passes.values())

    def is_small(self, lines: int) -> bool:
        """Whether no number of threads is worth it."""
        return (self.operations + self.sums) * lines < 2 * THREAD_COST


@dataclass(frozen=True, slots=True)
class PassPartition:
    """How one pass is partitioned, and into how many parts at most."""

    axis: PartitionAxis
    parts: int

    def __str__(self) -> str:
        return f"{self.axis} over {self.parts}" if self.parts > 1 else "one thread"


_ONE_THREAD = PassPartition(PartitionAxis.ROWS, 1)


@dataclass(frozen=True, slots=True)
class WorkPartition:
    """How a run is partitioned: its passes, its sums, and among how many threads all in all."""

    passes: Mapping[str, PassPartition]
    sums: int  # into how many parts
    threads: int

    def __str__(self) -> str:
        sums = [f"sums: over {self.sums}"] if self.sums > 1 else []
        return ", ".join([*(f"{name}: {part}" for name, part in self.passes.items()), *sums])


def partition_work(cost: RunCost, extent: tuple[int, int], threads: int, lines: int) -> WorkPartition:
    """Partition a run of so many steps and rows among up to so many threads. `lines` is how many rows are computed over
    all steps: in a ragged batch there are fewer than steps times rows."""
    passes = {name: _partition_pass(own, extent, threads, lines) for name, own in cost.passes.items()}
    summed = cost.sums * lines
    sums = max(1, min(threads, summed // BARRIER_COST))
    shared = sum(own.operations * lines for name, own in cost.passes.items() if passes[name].parts > 1)
    most = max(sums, *(part.parts for part in passes.values()), 1)
    worth = min(most, (shared + (summed if sums > 1 else 0)) // THREAD_COST)
    if worth <= 1:
        return WorkPartition(dict.fromkeys(passes, _ONE_THREAD), 1, 1)
    if worth < most:
        return partition_work(cost, extent, worth, lines)
    return WorkPartition(passes, sums, most)


def elapsed(cost: RunCost, extent: tuple[int, int], threads: int) -> float:
    """How long a run takes with the partition that is chosen for it, in operations of one thread."""
    lines = extent[0] * extent[1]
    partition = partition_work(cost, extent, threads, lines)
    threads = partition.threads
    passes = sum(_fastest(own, extent, threads, lines)[0] for own in cost.passes.values())
    return passes + cost.sums * lines / partition.sums + (THREAD_COST if threads > 1 else 0)


def is_faster_side_by_side(costs: Sequence[RunCost], extent: tuple[int, int], threads: int) -> bool:
    """Whether runs of one extent are faster side by side, each by one thread, than one after the other, each by all."""
    together = THREAD_COST + max(elapsed(cost, extent, 1) for cost in costs)
    return threads >= len(costs) and together < sum(elapsed(cost, extent, threads) for cost in costs)


def _partition_pass(cost: PassCost, extent: tuple[int, int], threads: int, lines: int) -> PassPartition:
    return _fastest(cost, extent, threads, lines)[1]


def _fastest(cost: PassCost, extent: tuple[int, int], threads: int, lines: int) -> tuple[float, PassPartition]:
    """The partition of a pass that takes least, and what it takes."""
    times, rows = extent if cost.in_loop else (1, lines)
    choices = _choices(cost, rows, times, threads, cost.operations * lines)
    return min(choices, key=lambda choice: choice[0])


def _choices(
    cost: PassCost, rows: int, times: int, threads: int, operations: int
) -> Iterator[tuple[float, PassPartition]]:
    """What a pass takes with each partition, in operations; of equals the first is the simplest."""
    yield operations, _ONE_THREAD
    min_rows = max(cost.min_rows, 1)
    parts = min(threads, rows // min_rows)
    if parts > 1:
        longest = min(ceil(ceil(rows / parts) / min_rows) * min_rows, rows)
        yield operations * longest / rows + BARRIER_COST, PassPartition(PartitionAxis.ROWS, parts)
    units = cost.units
    parts = min(threads, units.pieces)
    if parts > 1:
        longest = ceil(units.pieces / parts)
        barriers = 1 + times * (units.barriers + units.in_rows * (rows - 1))
        yield operations * longest / units.pieces + BARRIER_COST * barriers, PassPartition(PartitionAxis.UNITS, parts)
