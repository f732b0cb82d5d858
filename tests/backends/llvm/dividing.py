"""Ways to divide a run among threads that prices would not choose for it."""

from collections.abc import Callable

from gatewright.backends.llvm.codegen.kernels import LOOP, Kernels
from gatewright.backends.llvm.parallel.region_code import Kind
from gatewright.backends.llvm.parallel.work_partition import Divided, Division

Divide = Callable[[Kernels, tuple[int, int], int, int], Division]


def by_units(kernels: Kernels, extent: tuple[int, int], threads: int, lines: int) -> Division:
    """Every pass by units, however small it is."""
    rows = {name: extent[1] if name == LOOP else lines for name in kernels.designs}
    return Division({name: Divided(Kind.UNITS, rows[name], threads) for name in rows}, threads, threads)


def by_rows(kernels: Kernels, extent: tuple[int, int], threads: int, lines: int) -> Division:
    """Every pass by rows, as far as there are enough of them for a tile."""
    rows = {name: extent[1] if name == LOOP else lines for name in kernels.designs}
    parts = {name: max(1, min(threads, rows[name] // kernels.fewest(name))) for name in rows}
    return Division({name: Divided(Kind.ROWS, rows[name], parts[name]) for name in rows}, threads, threads)
