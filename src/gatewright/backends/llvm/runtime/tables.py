"""The tables of addresses that kernels are given: few addresses that change at every call, and many offsets that do
not."""

import ctypes
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from gatewright.backends.llvm.emit.emitter import INDEX, POINTER
from gatewright.backends.llvm.emit.native import NativeModule
from gatewright.backends.llvm.jit.compile import compile_module
from gatewright.backends.llvm.jit.machine_code import Library, Signature

_FUNCTIONS: dict[str, Signature] = {
    "fill": (*[ctypes.c_void_p] * 4, ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64),
}
POINTER_BYTES = ctypes.sizeof(ctypes.c_void_p)


class Location(NamedTuple):
    """Where a buffer begins: the number of a block of memory, and how many bytes into it."""

    block: int
    offset: int = 0


class AddressTables:
    """Tables one after the other, one for each block of time.

    Entry n of a table is the address of `locations[n]`, in one of `blocks` blocks of memory, and `strides[n]` bytes
    further for every step before the time block; the time blocks begin at the steps in `starts`.
    """

    def __init__(
        self, locations: Sequence[Location], blocks: int, strides: Sequence[int], starts: Sequence[int]
    ) -> None:
        self._count, self._number = len(locations), len(starts)
        self._bases = ctypes.c_void_p * blocks
        self._locations = (ctypes.c_int64 * (2 * self._count))(
            *(number for location in locations for number in location)
        )
        self._strides = (ctypes.c_int64 * self._count)(*strides)
        self._starts = (ctypes.c_int64 * self._number)(*starts)
        self._fill = _code()["fill"]
        # Converted once: a call of a few microseconds feels each conversion.
        self._fixed = (ctypes.addressof(self._locations), ctypes.addressof(self._strides), self._count)
        self._times = (ctypes.addressof(self._starts), self._number)

    def fill(self, address: int, bases: Sequence[int]) -> None:
        """Write the tables to an address; `bases` are where the blocks of memory begin."""
        self._fill(address, self._bases(*bases), *self._fixed, *self._times)


def _source() -> str:
    module = NativeModule()
    pointers = dict.fromkeys(("tables", "bases", "locations", "strides"), POINTER)
    numbers = {"count": INDEX, "starts": POINTER, "number": INDEX}
    with (
        module.function("fill", **pointers, **numbers) as (e, given),
        e.loop(0, given.number, 1, "table") as table,
    ):
        start = e.load_index(given.starts, table.index, "start")
        before = e.mul_index(table.index, given.count)
        with e.loop(0, given.count, 1, "entry") as entry:
            pair = e.mul_index(entry.index, 2)
            block = e.load_index(given.locations, pair, "block")
            offset = e.load_index(given.locations, e.add_index(pair, 1), "offset")
            stride = e.load_index(given.strides, entry.index, "stride")
            base = e.load_index(given.bases, block, "base")
            address = e.add_index(e.add_index(base, offset), e.mul_index(stride, start), "address")
            e.store_index(address, given.tables, e.add_index(before, entry.index))
    return str(module)


@cache
def _code() -> Library:
    return compile_module(_source, _FUNCTIONS, key="tables")
