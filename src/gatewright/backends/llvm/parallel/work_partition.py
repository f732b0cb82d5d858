"""How the kernels of a run are divided among threads: by rows, or by units where there are too few rows.

What is chosen follows from a few prices in operations. Results do not depend on it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil

from gatewright.backends.llvm.codegen.kernels import LOOP, Kernels
from gatewright.backends.llvm.parallel.region_code import Kind

WORTH_A_THREAD = 2_000_000
"""Operations that take as long as it takes until another thread has come."""
WORTH_A_MEETING = 15_000
"""Operations that take as long as it takes threads to wait for one another."""
_OPERATIONS_PER_EQUATION = 16


@dataclass(frozen=True, slots=True)
class Divided:
    """How one pass is divided, and among how many threads at most."""

    kind: Kind
    rows: int
    most: int

    def __str__(self) -> str:
        return f"{'rows' if self.kind is Kind.ROWS else 'units'} over {self.most}" if self.most > 1 else "one thread"


@dataclass(frozen=True, slots=True)
class Division:
    """How a run is divided: its passes, its sums, and among how many threads all in all."""

    passes: Mapping[str, Divided]
    sums: int  # among how many the sums are
    threads: int

    def __str__(self) -> str:
        sums = [f"sums: over {self.sums}"] if self.sums > 1 else []
        return ", ".join([*(f"{name}: {one}" for name, one in self.passes.items()), *sums])


def operations(kernels: Kernels, name: str, lines: int) -> int:
    """What a pass computes for so many rows over all steps."""
    designs = kernels.designs[name]
    equations = sum(len(design.stage.equations) for design in designs) * max(kernels.sizes.values())
    products = sum(2 * panel.size for design in designs for panel in design.panels)
    return (products + _OPERATIONS_PER_EQUATION * equations) * lines


def operations_of_sums(kernels: Kernels, lines: int) -> int:
    """What all sums over so many rows compute."""
    return sum(2 * lines * one.height * one.width for one in kernels.sums)


def is_small(kernels: Kernels, lines: int) -> bool:
    """Whether no number of threads is worth it."""
    passes = sum(operations(kernels, name, lines) for name in kernels.designs)
    return passes + operations_of_sums(kernels, lines) < 2 * WORTH_A_THREAD


def divide(kernels: Kernels, extent: tuple[int, int], threads: int, lines: int) -> Division:
    """Divide a run among up to so many threads: its steps and rows, and of all their lines so many that are done."""
    costs = {name: operations(kernels, name, lines) for name in kernels.designs}
    passes = {name: _divide(kernels, name, extent, threads, lines) for name in costs}
    summed = operations_of_sums(kernels, lines)
    sums = max(1, min(threads, summed // WORTH_A_MEETING))
    shared = sum(cost for name, cost in costs.items() if passes[name].most > 1) + (summed if sums > 1 else 0)
    most = max(sums, *(one.most for one in passes.values()), 1)
    worth = min(most, shared // WORTH_A_THREAD)
    if worth <= 1:
        return Division({name: Divided(Kind.ROWS, one.rows, 1) for name, one in passes.items()}, 1, 1)
    if worth < most:
        return divide(kernels, extent, worth, lines)
    return Division(passes, sums, most)


def _divide(kernels: Kernels, name: str, extent: tuple[int, int], threads: int, lines: int) -> Divided:
    times, rows = extent if name == LOOP else (1, lines)
    choices = _choices(kernels, name, rows, times, threads, operations(kernels, name, lines))
    return min(choices, key=lambda choice: choice[0])[1]


def _choices(
    kernels: Kernels, name: str, rows: int, times: int, threads: int, cost: int
) -> Iterator[tuple[float, Divided]]:
    """What a pass takes in each way, in operations; of equals the first is the simplest."""
    yield cost, Divided(Kind.ROWS, rows, 1)
    fewest = max(kernels.fewest(name), 1)
    parts = min(threads, rows // fewest)
    if parts > 1:
        longest = min(ceil(ceil(rows / parts) / fewest) * fewest, rows)
        yield cost * longest / rows + WORTH_A_MEETING, Divided(Kind.ROWS, rows, parts)
    shared = kernels.shared[name]
    parts = min(threads, shared.pieces)
    if parts > 1:
        longest = ceil(shared.pieces / parts)
        met = 1 + times * (shared.meetings + shared.in_rows * (rows - 1))
        yield cost * longest / shared.pieces + WORTH_A_MEETING * met, Divided(Kind.UNITS, rows, parts)
