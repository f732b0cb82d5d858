"""The tables of addresses that kernels are given: few addresses that change at every call, and many offsets that do
not."""

import ctypes
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from gatewright.backends.llvm.emit.emitter import INDEX, POINTER
from gatewright.backends.llvm.emit.native import NULL, NativeModule, StructMemory
from gatewright.backends.llvm.jit.compile import compile_module
from gatewright.backends.llvm.jit.machine_code import Library, Signature, address_of
from gatewright.backends.llvm.parallel.time_blocks import TimeBlock

_FUNCTIONS: dict[str, Signature] = {
    "fill": (*[ctypes.c_void_p] * 3,),
    "fill_and_call": (*[ctypes.c_void_p] * 4, ctypes.c_int64, ctypes.c_int64),
}
POINTER_BYTES = ctypes.sizeof(ctypes.c_void_p)


class Location(NamedTuple):
    """Where a buffer begins: the number of a block of memory, and how many bytes into it."""

    block: int
    offset: int = 0


class _Layout(ctypes.Structure):
    """What tables are filled from: places of `count` entries, and the first step and the steps of `number` blocks of
    time."""

    _fields_ = [
        *[(name, ctypes.c_void_p) for name in ("locations", "strides", "starts", "steps")],
        *[(name, ctypes.c_int64) for name in ("count", "number")],
    ]


class AddressTables:
    """Tables one after the other, one for each block of time.

    Entry n of a table is the address of `locations[n]`, in one of `blocks` blocks of memory, and `strides[n]` bytes
    further for every step before the time block.
    """

    def __init__(
        self, locations: Sequence[Location], blocks: int, strides: Sequence[int], times: Sequence[TimeBlock]
    ) -> None:
        count, number = len(locations), len(times)
        self._bases = ctypes.c_void_p * blocks
        self._kept = (
            (ctypes.c_int64 * (2 * count))(*(number for location in locations for number in location)),
            (ctypes.c_int64 * count)(*strides),
            (ctypes.c_int64 * number)(*(block.start for block in times)),
            (ctypes.c_int64 * number)(*(block.steps for block in times)),
        )
        self._layout = _Layout(*map(ctypes.addressof, self._kept), count, number)
        self._address = ctypes.addressof(self._layout)
        code = _code()
        self._fill, self._fill_and_call = code["fill"], code["fill_and_call"]

    def fill(self, address: int, bases: Sequence[int]) -> None:
        """Write the tables to an address; `bases` are where the blocks of memory begin."""
        self._fill(self._address, address, self._bases(*bases))

    @property
    def filling(self) -> tuple[int, int]:
        """The addresses of the code that writes the tables, and of the layout that it is given first."""
        return address_of(self._fill), self._address

    def fill_and_call(self, address: int, bases: Sequence[int], kernel: int, batch: int, *, is_packed: bool) -> None:
        """Write the tables, and call the kernel that runs all others with each of them: one call in place of several,
        for runs that take no longer than a call from Python."""
        self._fill_and_call(self._address, address, self._bases(*bases), kernel, batch, is_packed)


def _source() -> str:
    module = NativeModule()
    arguments = dict.fromkeys(("layout", "tables", "bases"), POINTER)
    with module.function("fill", inline=False, **arguments) as (e, args):
        layout = StructMemory(e, _Layout, args.layout)
        locations, strides, starts = (layout.load(name) for name in ("locations", "strides", "starts"))
        count = layout.load("count")
        with e.loop(0, layout.load("number"), 1, "table") as table:
            start = e.load_index(starts, table.index, "start")
            before = e.mul_index(table.index, count)
            with e.loop(0, count, 1, "entry") as entry:
                pair = e.mul_index(entry.index, 2)
                block = e.load_index(locations, pair, "block")
                offset = e.load_index(locations, e.add_index(pair, 1), "offset")
                stride = e.load_index(strides, entry.index, "stride")
                base = e.load_index(args.bases, block, "base")
                address = e.add_index(e.add_index(base, offset), e.mul_index(stride, start), "address")
                e.store_index(address, args.tables, e.add_index(before, entry.index))
    run = {"kernel": POINTER, "batch": INDEX, "is_packed": INDEX}
    with module.function("fill_and_call", **arguments, **run) as (e, args):
        e.call(module["fill"], [args.layout, args.tables, args.bases])
        layout = StructMemory(e, _Layout, args.layout)
        steps, size = layout.load("steps"), e.mul_index(layout.load("count"), POINTER_BYTES)
        with e.loop(0, layout.load("number"), 1, "block") as block:
            table = e.byte(args.tables, e.mul_index(block.index, size), "table")
            # After the first time block matrices are packed, and sums are added to those of the blocks before.
            later = e.smaller_index(block.index, 1, "later")
            is_packed = e.larger_index(args.is_packed, later)
            now = e.load_index(steps, block.index, "steps")
            e.call_pointer(args.kernel, [table, now, args.batch, is_packed, e.index(0), NULL, later])
    return str(module)


@cache
def _code() -> Library:
    return compile_module(_source, _FUNCTIONS, key="tables")
