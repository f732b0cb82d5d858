"""Ragged batches: which lines of a padded array belong to the steps that rows take.

A line is one row at one step: line `step * batch + row` of an array (time, batch, ...).
"""

import ctypes
from collections.abc import Callable, Mapping
from functools import cache, cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from gatewright.backends.llvm.emit.emitter import INDEX, POINTER
from gatewright.backends.llvm.emit.native import NativeEmitter, NativeModule
from gatewright.backends.llvm.jit.compile import compile_module
from gatewright.backends.llvm.jit.machine_code import Signature

Indices = NDArray[np.int64]

_FUNCTIONS: dict[str, Signature] = {
    "sort_rows": (ctypes.c_void_p, *[ctypes.c_int64] * 2, *[ctypes.c_void_p] * 2),
    "list_lines": (*[ctypes.c_void_p] * 2, *[ctypes.c_int64] * 2, *[ctypes.c_void_p] * 3),
    "invert": (ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p),
}
_BYTES = 8  # of an index


class ActiveLines:
    """The lines of all steps that rows of some lengths take, step by step; within a step the longest row comes first.

    So the rows of a step are the first ones of those of the step before. `count` is how many lines there are;
    `addresses` are where kernels find the lines, and where each step begins among them.

    The `lengths` must be from 0 to `steps`: they are not checked.
    """

    def __init__(self, lengths: Indices, steps: int) -> None:
        batch = len(lengths)
        lengths = np.ascontiguousarray(lengths)
        sorted_rows = np.empty(steps + 2 + batch, np.int64)
        counts = sorted_rows.ctypes.data  # for each length, then the rows
        order = counts + (steps + 2) * _BYTES
        _code()["sort_rows"](lengths.ctypes.data, batch, steps, counts, order)
        # The rows that take step t are those longer than t: `counts` has those of at least each length.
        self._list(counts + _BYTES, order, batch, steps)

    @classmethod
    def of_packed(cls, sizes: Indices, order: Indices | None) -> Self:
        """The lines of a sequence that is packed already: `sizes` rows take each step, the first ones of an `order`.

        They come in the order of the packed data. Raises ValueError where the sizes increase or the order names rows
        that are not there: kernels would write outside their arrays.
        """
        steps, batch = len(sizes), int(sizes[0])
        rows = np.arange(batch) if order is None else np.ascontiguousarray(order)
        sizes = np.ascontiguousarray(sizes)
        if sizes[-1] < 0 or (sizes[1:] > sizes[:-1]).any() or len(rows) != batch:
            raise ValueError("the sizes of the steps do not fit the rows")
        if order is not None and rows.view(np.uint64).max(initial=0) >= batch:
            raise ValueError("the order names rows that are not there")
        active = cls.__new__(cls)
        active._list(sizes.ctypes.data, rows.ctypes.data, batch, steps)
        return active

    def _list(self, row_counts: int, order: int, batch: int, steps: int) -> None:
        """List the lines; both addresses are of numbers that are needed no longer afterwards."""
        self._batch, self._steps, self._edges = batch, steps, dict[int, Any]()
        self._block: Indices = np.empty(steps + 1 + batch + steps * batch, np.int64)
        starts = self._block.ctypes.data
        ends = starts + (steps + 1) * _BYTES
        lines = ends + batch * _BYTES
        _code()["list_lines"](row_counts, order, batch, steps, starts, ends, lines)
        self.count = int(self._block[steps])
        self.addresses = (lines, starts)

    @property
    def lines(self) -> Indices:
        """The line of each step that a row takes."""
        first = len(self._block) - self._steps * self._batch
        return self._block[first : first + self.count]

    @property
    def starts(self) -> Indices:
        """Where each step begins among the lines, and where the last one ends."""
        return self._block[: self._steps + 1]

    @property
    def ends(self) -> Indices:
        """The line of each row after its last step, in an array with one step more (time + 1, batch, ...)."""
        return self._block[self._steps + 1 : self._steps + 1 + self._batch]

    @property
    def is_whole(self) -> bool:
        """Whether every row takes every step."""
        return self.count == self._steps * self._batch

    @cached_property
    def positions(self) -> Indices:
        """The place of each line (time * batch) among those that are listed; 0 for padding."""
        positions = np.zeros(self._steps * self._batch, np.int64)
        _code()["invert"](self.addresses[0], self.count, positions.ctypes.data)
        return positions

    def edges(self, ranges: int) -> Any:
        """Where to cut the rows into so many ranges, each of which takes about as many steps: an array of ctypes, which
        lives as long as this; None for no range."""
        if ranges and ranges not in self._edges:
            lengths = np.sort(self.ends // max(self._batch, 1))[::-1]
            steps_before = np.concatenate([[0], np.cumsum(lengths)])  # of the rows before each
            equal_shares = [self.count * number // ranges for number in range(1, ranges)]
            cuts = np.searchsorted(steps_before, equal_shares).tolist()
            self._edges[ranges] = (ctypes.c_int64 * (ranges + 1))(0, *cuts, self._batch)
        return self._edges.get(ranges)


def _source() -> str:
    """NumPy takes ten times as long for a small batch, which is longer than its kernels take."""
    module = NativeModule()
    arguments: dict[str, Any] = {"lengths": POINTER, "batch": INDEX, "steps": INDEX, "counts": POINTER}
    with module.function("sort_rows", **arguments, order=POINTER) as (e, args):
        _emit_sorting(e, args)
    arguments = {"counts": POINTER, "order": POINTER, "batch": INDEX, "steps": INDEX}
    with module.function("list_lines", **arguments, starts=POINTER, ends=POINTER, lines=POINTER) as (e, args):
        _emit_listing(e, args)
    arguments = {"lines": POINTER, "count": INDEX, "positions": POINTER}
    with module.function("invert", **arguments) as (e, args), e.loop(0, args.count, 1, "place") as place:
        e.store_index(place.index, args.positions, e.load_index(args.lines, place.index, "line"))
    return str(module)


def _emit_sorting(e: NativeEmitter, args: Any) -> None:
    """A counting sort by length, the longest row first; rows of one length stay in order."""
    buckets = e.add_index(args.steps, 1)
    with e.loop(0, buckets, 1, "length") as length:
        e.store_index(0, args.counts, length.index)
    with e.loop(0, args.batch, 1, "row") as row:
        _increase(e, args.counts, e.load_index(args.lengths, row.index, "length"))
    with e.loop(0, buckets, 1, "bucket", {"before": e.index(0)}) as bucket:
        length = e.add_index(args.steps, e.mul_index(bucket.index, -1), "length")
        count, before = e.load_index(args.counts, length, "count"), bucket.values["before"]
        e.store_index(before, args.counts, length)
        bucket.carry({"before": e.index(e.add_index(before, count))})
    with e.loop(0, args.batch, 1, "row") as row:
        place = _increase(e, args.counts, e.load_index(args.lengths, row.index, "length"))
        e.store_index(row.index, args.order, place)


def _increase(e: NativeEmitter, counts: Any, entry: Any) -> Any:
    """Add one to an entry of a table; gives what it was before."""
    count = e.load_index(counts, entry, "count")
    e.store_index(e.add_index(count, 1), counts, entry)
    return count


def _emit_listing(e: NativeEmitter, args: Any) -> None:
    with e.loop(0, args.batch, 1, "row") as row:
        e.store_index(row.index, args.ends, row.index)
    with e.loop(0, args.steps, 1, "step", {"start": e.index(0)}) as step:
        start, count = step.values["start"], e.load_index(args.counts, step.index, "count")
        e.store_index(start, args.starts, step.index)
        first = e.mul_index(step.index, args.batch, "first")
        with e.loop(0, count, 1, "place") as place:
            row = e.load_index(args.order, place.index, "row")
            line = e.add_index(first, row, "line")
            e.store_index(line, args.lines, e.add_index(start, place.index))
            e.store_index(e.add_index(line, args.batch), args.ends, row)
        step.carry({"start": e.index(e.add_index(start, count))})
    e.store_index(step.values["start"], args.starts, args.steps)


@cache
def _code() -> Mapping[str, Callable[..., None]]:
    """The compiled functions by name, as a dict: it is asked in every call of a ragged batch."""
    library = compile_module(_source, _FUNCTIONS, key="active lines")
    return {name: library[name] for name in _FUNCTIONS}
