"""Partitions of a run among threads that costs would not choose for it."""

from collections.abc import Callable

from gatewright.backends.llvm.parallel.work_partition import PartitionAxis, PassPartition, RunCost, WorkPartition

PartitionWork = Callable[[RunCost, tuple[int, int], int, int], WorkPartition]


def by_units(cost: RunCost, extent: tuple[int, int], threads: int, lines: int) -> WorkPartition:
    """Every pass by units, however small it is."""
    units = PassPartition(PartitionAxis.UNITS, threads)
    return WorkPartition(dict.fromkeys(cost.passes, units), threads, threads)


def by_rows(cost: RunCost, extent: tuple[int, int], threads: int, lines: int) -> WorkPartition:
    """Every pass by rows, as far as there are enough of them for a tile."""
    parts = {
        name: max(1, min(threads, (extent[1] if one.in_loop else lines) // one.min_rows))
        for name, one in cost.passes.items()
    }
    passes = {name: PassPartition(PartitionAxis.ROWS, number) for name, number in parts.items()}
    return WorkPartition(passes, threads, threads)
