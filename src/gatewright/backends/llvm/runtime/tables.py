"""The table of addresses that kernels are given, made of few addresses that change and many places that do not."""

import ctypes
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

from gatewright.backends.llvm.jit.compile import compile_module
from gatewright.backends.llvm.jit.library import Library
from gatewright.backends.llvm.jit.machine_code import Signature
from gatewright.backends.llvm.jit.target import named


class Location(NamedTuple):
    """Where a buffer begins: the number of a block of memory, and how many bytes into it."""

    block: int
    offset: int = 0


_FUNCTIONS: dict[str, Signature] = {
    "fill": (*[ctypes.c_void_p] * 3, ctypes.c_int64),
    "extend": (*[ctypes.c_void_p] * 2, ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64),
}
_MODULE = """
%spot = type { i64, i64 }

define void @fill(ptr %table, ptr %bases, ptr %spots, i64 %count) {
entry:
  br label %next
next:
  %entry.number = phi i64 [ 0, %entry ], [ %following, %do ]
  %more = icmp slt i64 %entry.number, %count
  br i1 %more, label %do, label %end
do:
  %block.at = getelementptr %spot, ptr %spots, i64 %entry.number, i32 0
  %before.at = getelementptr %spot, ptr %spots, i64 %entry.number, i32 1
  %block = load i64, ptr %block.at
  %before = load i64, ptr %before.at
  %base.at = getelementptr ptr, ptr %bases, i64 %block
  %base = load ptr, ptr %base.at
  %address = getelementptr i8, ptr %base, i64 %before
  %place = getelementptr ptr, ptr %table, i64 %entry.number
  store ptr %address, ptr %place
  %following = add i64 %entry.number, 1
  br label %next
end:
  ret void
}

; from the last table to the first, which is changed itself
define void @extend(ptr %tables, ptr %strides, i64 %count, ptr %starts, i64 %number) {
entry:
  br label %next
next:
  %left = phi i64 [ %number, %entry ], [ %which, %done ]
  %more = icmp sgt i64 %left, 0
  br i1 %more, label %table, label %end
table:
  %which = sub i64 %left, 1
  %start.at = getelementptr i64, ptr %starts, i64 %which
  %start = load i64, ptr %start.at
  %before = mul i64 %which, %count
  %target = getelementptr ptr, ptr %tables, i64 %before
  br label %entries
entries:
  %index = phi i64 [ 0, %table ], [ %following, %do ]
  %some = icmp slt i64 %index, %count
  br i1 %some, label %do, label %done
do:
  %source.at = getelementptr ptr, ptr %tables, i64 %index
  %stride.at = getelementptr i64, ptr %strides, i64 %index
  %source = load ptr, ptr %source.at
  %stride = load i64, ptr %stride.at
  %bytes = mul i64 %stride, %start
  %address = getelementptr i8, ptr %source, i64 %bytes
  %place = getelementptr ptr, ptr %target, i64 %index
  store ptr %address, ptr %place
  %following = add i64 %index, 1
  br label %entries
done:
  br label %next
end:
  ret void
}
"""


class TablePlan:
    """Fills tables: entry n is the address of `locations[n]`, which lies in one of `blocks` blocks of memory."""

    def __init__(self, locations: Sequence[Location], blocks: int) -> None:
        self._count = len(locations)
        self._bases = ctypes.c_void_p * blocks
        self._table = ctypes.c_void_p * self._count
        self._spots = (ctypes.c_int64 * (2 * self._count))(*(number for one in locations for number in one))
        self._fill = _code()["fill"]

    def at(self, address: int, bases: Sequence[int]) -> Any:
        """A table at an address; `bases` are where the blocks begin."""
        self._fill(address, self._bases(*bases), self._spots, self._count)
        return self._table.from_address(address)


class TableSeries:
    """Tables one behind the other, that differ by where in time each begins.

    `strides` are the bytes from one step to the next in the buffer of each entry; table n begins at step `starts[n]`.
    """

    def __init__(self, strides: Sequence[int], starts: Sequence[int]) -> None:
        self._count, self._number = len(strides), len(starts)
        self._strides = (ctypes.c_int64 * self._count)(*strides)
        self._starts = (ctypes.c_int64 * self._number)(*starts)
        self._extend = _code()["extend"]
        self.bytes_of_one = self._count * ctypes.sizeof(ctypes.c_void_p)
        self.entries = self._count * self._number

    def extend(self, address: int) -> None:
        """Make all tables out of the first, which is given as one that begins at step 0."""
        if self._number > 1:
            self._extend(address, self._strides, self._count, self._starts, self._number)


@cache
def _code() -> Library:
    return compile_module(_MODULE, _FUNCTIONS, key="tables", target=named())
