"""A digest of arrays, to see whether any number has changed: it takes as long as reading them once.

Words of 32 bits are dealt out to 64 sums, and to one more for those that are left over; each word is mixed into its sum
by FNV-1a (Fowler, Noll and Vo 1991). All sums are kept. So a single changed word is always seen, and where more have
changed each of the sums that they belong to stays the same once in 2^32 times.
"""

import ctypes
from collections.abc import Iterable
from functools import cache
from typing import Any

from gatewright.backends.llvm.emit.emitter import INDEX, POINTER
from gatewright.backends.llvm.emit.native import NativeModule
from gatewright.backends.llvm.jit.compile import compile_module
from gatewright.backends.llvm.jit.machine_code import Signature

_LANES, _VECTORS = 16, 4  # sums that do not wait for one another, so that a multiplication's latency is hidden
_WORDS = _LANES * _VECTORS
_PRIME = 16777619
_FUNCTIONS: dict[str, Signature] = {"digest": (*[ctypes.c_void_p] * 2, ctypes.c_int64)}


def digest(arrays: Iterable[tuple[int, int]]) -> bytes:
    """The digest of arrays, each given by where it begins and how many bytes it has, a multiple of 4."""
    sums = (ctypes.c_uint32 * (_WORDS + 1))()
    mix = _mix()
    for address, size in arrays:
        mix(sums, address, size // 4)
    return bytes(sums)


def _source() -> str:
    module = NativeModule()
    arguments = {"sums": POINTER, "words": POINTER, "count": INDEX}
    with module.function("digest", dtype="float32", width=_LANES, **arguments) as (e, given):
        places = [e.address(given.sums, vector * _LANES) for vector in range(_VECTORS)]
        first = {f"sum{vector}": e.bits(e.load(place)) for vector, place in enumerate(places)}
        whole = e.mul_index(e.div_index(given.count, _WORDS), _WORDS)
        with e.loop(0, whole, _WORDS, "word", first) as loop:
            at = [e.address(given.words, e.add_index(loop.index, vector * _LANES)) for vector in range(_VECTORS)]
            words = [e.bits(e.load(place)) for place in at]
            mixed = zip(loop.values.items(), words, strict=True)
            loop.carry({name: e.mul_bits(e.xor_bits(total, word), _PRIME) for (name, total), word in mixed})
        for place, total in zip(places, loop.values.values(), strict=True):
            e.store(e.from_bits(total), place)
        scalar = e.with_width(1)
        last = scalar.address(given.sums, _WORDS)
        with scalar.loop(whole, given.count, 1, "left", {"sum": scalar.bits(scalar.load(last))}) as loop:
            word = scalar.bits(scalar.load(scalar.address(given.words, loop.index)))
            loop.carry({"sum": scalar.mul_bits(scalar.xor_bits(loop.values["sum"], word), _PRIME)})
        scalar.store(scalar.from_bits(loop.values["sum"]), last)
    return str(module)


@cache
def _mix() -> Any:
    return compile_module(_source, _FUNCTIONS, key="digest")["digest"]
