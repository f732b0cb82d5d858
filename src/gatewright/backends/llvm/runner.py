"""The kernels of an engine for one extent: which memory they need, and how they are called.

Everything is worked out once; a call makes one table of addresses, and goes through the kernels.
"""

import ctypes
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np

from gatewright.axes import bind
from gatewright.backends.llvm.active import ActiveLines
from gatewright.backends.llvm.buffers import (
    Key,
    inside_keys,
    outside_keys,
    spread_key,
    spread_keys,
    sum_key,
)
from gatewright.backends.llvm.kernels import LOOP, PACK, WHOLE, Kernels, SumDesign
from gatewright.backends.llvm.library import Library
from gatewright.schedule.program import Place, Program, RowSum
from gatewright.threads import get_num_threads, run_parallel
from gatewright.trace.ir import Var

ALIGNMENT = 64  # a line of the cache, and the widest vector register
WORTH_A_THREAD = 4_000_000
"""Operations of a pass that take as long as it takes to wake another thread."""
_OPERATIONS_PER_EQUATION = 16
Kernel = Callable[..., None]


@dataclass(frozen=True, slots=True)
class _Pass:
    kernel: Kernel
    name: str
    fewest: int
    operations: int  # for a line


@dataclass(frozen=True, slots=True)
class _Sum:
    """A sum over rows: two operands, each a place in the table and bytes behind it, the place of the result, and how
    it is divided."""

    kernel: Kernel
    left: tuple[int, int]
    right: tuple[int, int]
    result: int
    design: SumDesign

    def parts(self, table: Any, lines: int, threads: int, listed: Sequence[int]) -> Iterator[tuple[Any, ...]]:
        """The calls that compute it together."""
        operands = [table[place] + before for place, before in (self.left, self.right)]
        height, tile = self.design.height, self.design.tile
        for span in [(0, height)] if tile is None else split_at(height, tile.rows, threads):
            yield (self.kernel, *operands, table[self.result], lines, *span, *listed)


class Runner:
    """Runs the kernels over `steps` steps of `batch` rows.

    A call is given the addresses of all buffers, in this order: those in `outside`; those that only the kernels use
    (`inside` are their places in one block of `inside_bytes`); the packed matrices (`panels`, `panel_bytes`); memory
    for every sum of the Program; and the parameters in `spread`, repeated for every line.
    """

    def __init__(self, program: Program, kernels: Kernels, library: Library, steps: int, batch: int) -> None:
        self.kernels, self.library = kernels, library
        self._program, self._bound = program, kernels.bound
        self._steps, self._batch = steps, batch
        self.outside = outside_keys(program)
        self.spread = [name for _, name in spread_keys(program)]
        self.inside, self.inside_bytes = self._offsets([self._elements(key) for key in inside_keys(program)])
        self.panels, self.panel_bytes = self._offsets([panel.size for panel in kernels.panels])
        self._whole: Kernel = library[WHOLE]
        self._pack: Kernel | None = library[PACK] if kernels.panels else None
        self._passes = list(self._all_passes())
        self._sums = [self._sum(*one) for one in zip(program.row_sums, kernels.sums, strict=True)]
        self._summed = sum(2 * one.design.height * one.design.width for one in self._sums)
        self._most = max(self._summed, *(one.operations for one in self._passes), 0)

    def run(self, addresses: Sequence[int], *, pack: bool = True) -> None:
        """Run all kernels; see the class. Without `pack`, the panels are as an earlier call has left them."""
        self.run_table((ctypes.c_void_p * len(addresses))(*addresses), pack=pack)

    def run_table(self, table: Any, *, pack: bool = True, active: ActiveLines | None = None) -> None:
        """Run all kernels with a table of addresses, which is an array of ctypes.

        The table of kernels for ragged batches ends with the addresses of the lines that are `active`.
        """
        lines = self._steps * self._batch if active is None else active.count
        threads = get_num_threads() if self._most * lines >= 2 * WORTH_A_THREAD else 1
        if threads == 1:
            self._whole(table, self._steps, self._batch, not pack, 0)
        else:
            self._share(table, lines, threads, pack, active)

    def _share(self, table: Any, lines: int, threads: int, pack: bool, active: ActiveLines | None) -> None:
        """Run all kernels, each on as many threads as it is worth."""
        if pack and self._pack is not None:
            self._pack(table, self._steps, self._batch, 0, 0)
        for one in self._passes:
            parts = min(threads, one.operations * lines // WORTH_A_THREAD)
            if one.name != LOOP:
                spans = split(lines, one.fewest, parts)
            elif active is None:
                spans = split(self._batch, one.fewest, parts)
            else:
                spans = active.split(one.fewest, parts)
            run_parallel(one.kernel, [(table, self._steps, self._batch, *span) for span in spans])
        parts = min(threads, self._summed * lines // WORTH_A_THREAD)
        listed = [] if active is None else active.addresses[:1]
        sums = [part for one in self._sums for part in one.parts(table, lines, max(parts, 1), listed)]
        if parts > 1:
            run_parallel(lambda kernel, *given: kernel(*given), sums)
        else:
            for kernel, *given in sums:
                kernel(*given)

    def _all_passes(self) -> Iterator[_Pass]:
        for name, designs in self.kernels.designs.items():
            equations = sum(len(design.stage.equations) for design in designs) * max(self._bound.sizes.values())
            products = sum(2 * panel.size for design in designs for panel in design.panels)
            operations = products + _OPERATIONS_PER_EQUATION * equations
            yield _Pass(self.library[name], name, self.kernels.fewest(name), operations)

    def _sum(self, one: RowSum, design: SumDesign) -> _Sum:
        left = self._operand(one.left)
        right = left if one.right is None else self._operand(one.right)
        return _Sum(self.library[design.name], left, right, self._bound.slots[sum_key(one)], design)

    def _operand(self, value: Var) -> tuple[int, int]:
        """A place in the table, and how many bytes behind it the first step of a value lies."""
        if self._program.places[value.name] is Place.SHARED:
            return self._bound.slots[spread_key(value.name)], 0
        shift = self._bound.shift(value) * self._batch * self._bound.width(value)
        return self._bound.slots[self._bound.key(value)], shift * self._item

    @property
    def _item(self) -> int:
        return np.dtype(self.kernels.dtype).itemsize

    def _elements(self, key: Key) -> int:
        place, name = key
        rows = self._batch if place == Place.ROW else self._steps * self._batch
        return rows * prod(bind(self._program.shapes[name], self._bound.sizes))

    def _offsets(self, elements: Sequence[int]) -> tuple[list[int], int]:
        """Where buffers of so many elements begin, one behind the other, and how many bytes there are in all."""
        offsets, end = [], 0
        for count in elements:
            offsets.append(end)
            end += -(-count * self._item // ALIGNMENT) * ALIGNMENT
        return offsets, end


def split(rows: int, fewest: int, threads: int) -> list[tuple[int, int]]:
    """Ranges of rows, each of at least `fewest`, nearly equal."""
    parts = max(1, min(threads, rows // max(fewest, 1)))
    edges = [rows * part // parts for part in range(parts + 1)]
    return list(pairwise(edges))


def split_at(height: int, multiple: int, threads: int) -> list[tuple[int, int]]:
    """Ranges that begin at multiples; the last one goes to the end."""
    tiles = max(1, height // multiple)
    edges = [min(tile * multiple, height) for tile in (tiles * part // threads for part in range(threads))]
    return [(a, b) for a, b in zip(edges, [*edges[1:], height], strict=True) if a < b]
