"""One native call for everything that a small kernel needs around it: sums of parameters, copies of states, its table.

A single step of a few units takes a microsecond, and so does each ctypes call or NumPy array of addresses.
"""

import ctypes
import struct
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

from gatewright.backends.llvm.emit.emitter import POINTER
from gatewright.backends.llvm.emit.native import NULL, NativeEmitter, NativeModule, StructMemory
from gatewright.backends.llvm.emit.vector_type import Dtype
from gatewright.backends.llvm.jit.compile import compile_module
from gatewright.backends.llvm.jit.machine_code import Signature

_FUNCTIONS: dict[str, Signature] = {"perform": (*[ctypes.c_void_p] * 3,)}
_LANES = 8


class ParameterSum(NamedTuple):
    """`target = first + second`, with so many `elements` each; all three are given by the numbers of their bases."""

    target: int
    first: int
    second: int
    elements: int


class BlockCopy(NamedTuple):
    """A copy of `size` bytes between two bases, given by their numbers."""

    target: int
    source: int
    size: int


class _CommandLayout(ctypes.Structure):
    """The places of the entries of sums and copies, and of the code that writes a table and that runs the kernels."""

    _fields_ = [
        *[(name, ctypes.c_void_p) for name in ("sums", "before", "after", "fill", "fill_layout", "kernel")],
        *[(name, ctypes.c_int64) for name in ("sum_count", "before_count", "after_count", "batch")],
    ]


class StepCommands:
    """Sums and copies, then a table of addresses and one call of a kernel, then further copies.

    All addresses come with each call as `bases`, and are named by their numbers. Without a kernel the table is written
    for a later call.
    """

    def __init__(
        self,
        dtype: Dtype,
        bases: int,
        *,
        sums: Sequence[ParameterSum] = (),
        before: Sequence[BlockCopy] = (),
        after: Sequence[BlockCopy] = (),
        fill: tuple[int, int] = (0, 0),
        kernel: tuple[int, int] = (0, 0),
        keep: object = None,
    ) -> None:
        """`fill` are the addresses of the code that writes a table and of its layout; `kernel` are the address of the
        code that runs the kernels and the number of rows; `keep` holds on to all of these."""
        entries = [
            (ctypes.c_int64 * sum(map(len, rows)))(*(n for row in rows for n in row)) for rows in (sums, before, after)
        ]
        places = [ctypes.addressof(numbers) for numbers in entries]
        layout = _CommandLayout(*places, *fill, kernel[0], len(sums), len(before), len(after), kernel[1])
        self._kept, self._layout = (entries, layout, keep), ctypes.addressof(layout)
        self._pack = struct.Struct(f"{bases}Q").pack
        self._perform = _perform(dtype)

    def run(self, bases: Sequence[int], table: int) -> None:
        """Do everything once; the table is written to an address."""
        self._perform(self._layout, table, self._pack(*bases))


@cache
def _perform(dtype: Dtype) -> Any:
    return compile_module(lambda: _source(dtype), _FUNCTIONS, key=f"step commands {dtype}")["perform"]


def _source(dtype: Dtype) -> str:
    module = NativeModule()
    arguments = dict.fromkeys(("layout", "table", "bases"), POINTER)
    with module.function("perform", dtype=dtype, width=_LANES, **arguments) as (e, args):
        layout = StructMemory(e, _CommandLayout, args.layout)
        sums = layout.load("sums")
        with e.loop(0, layout.load("sum_count"), 1, "sum") as loop:
            target, first, second, elements = _entry(e, sums, loop.index, 4)
            addresses = [_base(e, args.bases, number) for number in (target, first, second)]
            _emit_sum(e, addresses, elements)
        _emit_copies(e, args.bases, layout.load("before"), layout.load("before_count"))
        fill, kernel = layout.load("fill"), layout.load("kernel")
        with e.when(e.is_given(fill), "fill"):
            e.call_pointer(fill, [layout.load("fill_layout"), args.table, args.bases])
        with e.when(e.is_given(kernel), "kernel"):
            one, zero = e.index(1), e.index(0)
            # One step, matrices that need no packing, no shared units, and sums that are not added to others.
            e.call_pointer(kernel, [args.table, one, layout.load("batch"), one, zero, NULL, zero])
        _emit_copies(e, args.bases, layout.load("after"), layout.load("after_count"))
    return str(module)


def _entry(e: NativeEmitter, table: Any, number: Any, size: int) -> list[Any]:
    first = e.mul_index(number, size)
    return [e.load_index(table, e.add_index(first, field)) for field in range(size)]


def _base(e: NativeEmitter, bases: Any, number: Any) -> Any:
    return e.load_entry(POINTER, bases, number, "base")


def _emit_copies(e: NativeEmitter, bases: Any, copies: Any, count: Any) -> None:
    with e.loop(0, count, 1, "copy") as loop:
        target, source, size = _entry(e, copies, loop.index, 3)
        e.copy_memory(_base(e, bases, target), _base(e, bases, source), size)


def _emit_sum(e: NativeEmitter, addresses: Sequence[Any], count: Any) -> None:
    """Whole vectors, then what is left one by one."""
    target, first, second = addresses
    whole = e.mul_index(e.div_index(count, _LANES), _LANES)
    for lanes, start, stop in ((_LANES, 0, whole), (1, whole, count)):
        wide = e.with_width(lanes)
        with e.loop(start, stop, lanes, "number") as number:
            a, b = (wide.load(wide.address(pointer, number.index)) for pointer in (first, second))
            wide.store(wide.add(a, b), wide.address(target, number.index))
