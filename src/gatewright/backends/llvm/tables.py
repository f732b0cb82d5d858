"""The table of addresses that kernels are given, made of few addresses that change and many places that do not."""

import ctypes
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from gatewright.backends.llvm.compile import compile_module
from gatewright.backends.llvm.machine_code import Signature
from gatewright.backends.llvm.target import named

Spot = tuple[int, int]
"""A place in memory: the number of a block, and the bytes before it."""

_FUNCTIONS: dict[str, Signature] = {"fill": (*[ctypes.c_void_p] * 3, ctypes.c_int64)}
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
"""


class TablePlan:
    """Fills tables: entry n is the address of `spots[n]`, which lies in one of `blocks` blocks of memory."""

    def __init__(self, spots: Sequence[Spot], blocks: int) -> None:
        self._count = len(spots)
        self._bases = ctypes.c_void_p * blocks
        self._table = ctypes.c_void_p * self._count
        self._spots = (ctypes.c_int64 * (2 * self._count))(*(number for spot in spots for number in spot))
        self._fill = _fill()
        self.bytes = ctypes.sizeof(self._table)

    def at(self, address: int, bases: Sequence[int]) -> Any:
        """A table at an address, where there are `bytes` for it; `bases` are where the blocks begin."""
        self._fill(address, self._bases(*bases), self._spots, self._count)
        return self._table.from_address(address)


@cache
def _fill() -> Callable[..., None]:
    return compile_module(_MODULE, _FUNCTIONS, key="tables", target=named())["fill"]
