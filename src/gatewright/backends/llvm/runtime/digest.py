"""A digest of arrays, to see whether any number has changed: it takes as long as reading them once.

Words of 32 bits are dealt out to 64 sums, and to one more for those that are left over; each word is mixed into its sum
by FNV-1a (Fowler, Noll and Vo 1991). All sums are kept. So a single changed word is always seen, and where more have
changed each of the sums that they belong to stays the same once in 2^32 times.
"""

import ctypes
from collections.abc import Iterable
from functools import cache
from typing import Any

from gatewright.backends.llvm.jit.compile import compile_module
from gatewright.backends.llvm.jit.machine_code import Signature
from gatewright.backends.llvm.jit.target import named

_SUMS = 65
_FUNCTIONS: dict[str, Signature] = {"digest": (*[ctypes.c_void_p] * 2, ctypes.c_int64)}
_MODULE = """
define void @digest(ptr %sums, ptr %words, i64 %count) {
entry:
  %sums.1 = getelementptr i32, ptr %sums, i64 16
  %sums.2 = getelementptr i32, ptr %sums, i64 32
  %sums.3 = getelementptr i32, ptr %sums, i64 48
  %last = getelementptr i32, ptr %sums, i64 64
  %first.0 = load <16 x i32>, ptr %sums, align 4
  %first.1 = load <16 x i32>, ptr %sums.1, align 4
  %first.2 = load <16 x i32>, ptr %sums.2, align 4
  %first.3 = load <16 x i32>, ptr %sums.3, align 4
  br label %next
next:
  %index = phi i64 [ 0, %entry ], [ %following, %do ]
  %sum.0 = phi <16 x i32> [ %first.0, %entry ], [ %next.0, %do ]
  %sum.1 = phi <16 x i32> [ %first.1, %entry ], [ %next.1, %do ]
  %sum.2 = phi <16 x i32> [ %first.2, %entry ], [ %next.2, %do ]
  %sum.3 = phi <16 x i32> [ %first.3, %entry ], [ %next.3, %do ]
  %following = add i64 %index, 64
  %whole = icmp sle i64 %following, %count
  br i1 %whole, label %do, label %rest
do:
  %at.0 = getelementptr i32, ptr %words, i64 %index
  %at.1 = getelementptr i32, ptr %at.0, i64 16
  %at.2 = getelementptr i32, ptr %at.0, i64 32
  %at.3 = getelementptr i32, ptr %at.0, i64 48
  %words.0 = load <16 x i32>, ptr %at.0, align 4
  %words.1 = load <16 x i32>, ptr %at.1, align 4
  %words.2 = load <16 x i32>, ptr %at.2, align 4
  %words.3 = load <16 x i32>, ptr %at.3, align 4
  %mixed.0 = xor <16 x i32> %sum.0, %words.0
  %mixed.1 = xor <16 x i32> %sum.1, %words.1
  %mixed.2 = xor <16 x i32> %sum.2, %words.2
  %mixed.3 = xor <16 x i32> %sum.3, %words.3
  %next.0 = mul <16 x i32> %mixed.0, splat (i32 16777619)
  %next.1 = mul <16 x i32> %mixed.1, splat (i32 16777619)
  %next.2 = mul <16 x i32> %mixed.2, splat (i32 16777619)
  %next.3 = mul <16 x i32> %mixed.3, splat (i32 16777619)
  br label %next
rest:
  store <16 x i32> %sum.0, ptr %sums, align 4
  store <16 x i32> %sum.1, ptr %sums.1, align 4
  store <16 x i32> %sum.2, ptr %sums.2, align 4
  store <16 x i32> %sum.3, ptr %sums.3, align 4
  %first = load i32, ptr %last
  br label %left
left:
  %place = phi i64 [ %index, %rest ], [ %place.next, %one ]
  %sum = phi i32 [ %first, %rest ], [ %sum.next, %one ]
  %some = icmp slt i64 %place, %count
  br i1 %some, label %one, label %end
one:
  %at = getelementptr i32, ptr %words, i64 %place
  %word = load i32, ptr %at, align 4
  %mixed = xor i32 %sum, %word
  %sum.next = mul i32 %mixed, 16777619
  %place.next = add i64 %place, 1
  br label %left
end:
  store i32 %sum, ptr %last
  ret void
}
"""


def digest(arrays: Iterable[tuple[int, int]]) -> bytes:
    """The digest of arrays, each given by where it begins and how many bytes it has, a multiple of 4."""
    sums = (ctypes.c_uint32 * _SUMS)()
    mix = _mix()
    for address, size in arrays:
        mix(sums, address, size // 4)
    return bytes(sums)


@cache
def _mix() -> Any:
    return compile_module(_MODULE, _FUNCTIONS, key="digest", target=named())["digest"]
