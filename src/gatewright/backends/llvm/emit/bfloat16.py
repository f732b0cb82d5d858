"""Products of bfloat16 numbers with sums in float32.

A word of 32 bits holds two bfloat16 numbers, the first one in its lower half: a vector of words has the type of a
vector of float32. Numbers are rounded to the nearest, ties to even; NaN stays NaN. Some processors multiply words and
add both products to a sum in one instruction: they take denormal numbers for 0. Elsewhere a word is widened to two
float32 numbers, which is exact.
"""

from typing import Any

from llvmlite import ir

from gatewright.backends.llvm.emit.arithmetic import Arithmetic
from gatewright.backends.llvm.emit.emitter import Emitter
from gatewright.backends.llvm.emit.vector_type import Value

LEAST_LANES = 4
"""The narrowest vector that the instruction takes."""
_UPPER = -0x10000  # the mask of a word's upper half
_QUIET = 0x400000  # the bit that makes a NaN quiet: one that is cut off behind it would become an infinity


class _Bfloat16(ir.Type):
    """LLVM's type `bfloat`, which llvmlite does not know."""

    intrinsic_name = "bf16"

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Bfloat16)

    def __hash__(self) -> int:
        return hash(_Bfloat16)


def pair(e: Arithmetic, first: Value, second: Value, *, native: bool) -> Value:
    """Words of the numbers of two vectors: lane i holds `first[i]` and `second[i]`."""
    lanes = e.vector.width
    if native and lanes >= LEAST_LANES:
        halves = e.bitcast(_converted(e, first, second), _vector(ir.IntType(16), 2 * lanes))
        order = [lane + half * lanes for lane in range(lanes) for half in (0, 1)]
        return e.bitcast(e.choose(halves, halves, order, "pairs"), e.vector.numbers)
    lower = e.shift_right(_rounded(e, first), 16)
    return e.from_bits(e.or_bits(lower, e.and_bits(_rounded(e, second), _UPPER)), "pairs")


def pair_neighbours(e: Arithmetic, first: Value, second: Value, *, native: bool) -> Value:
    """Words of numbers that follow one another, through `first` and then through `second`."""
    lanes = e.vector.width
    if native and lanes >= LEAST_LANES:
        return e.bitcast(_converted(e, first, second), e.vector.numbers, "pairs")
    if lanes == 1:
        return pair(e, first, second, native=False)
    even = e.choose(first, second, range(0, 2 * lanes, 2), "even")
    odd = e.choose(first, second, range(1, 2 * lanes, 2), "odd")
    return pair(e, even, odd, native=False)


def widened(e: Arithmetic, words: Value) -> tuple[Value, Value]:
    """The first and the second number of each word, as float32."""
    bits = e.bits(words)
    return e.from_bits(e.shift_left(bits, 16), "first"), e.from_bits(e.and_bits(bits, _UPPER), "second")


def load(e: Emitter, pointer: Value, name: str = "") -> Value:
    """Numbers that lie in memory as bfloat16, as float32."""
    return e.from_bits(e.shift_left(e.load_halves(pointer), 16), name)


def store(e: Emitter, numbers: Value, pointer: Value, *, native: bool) -> None:
    """Round numbers to bfloat16 and store them, two bytes each."""
    if native and e.vector.width > LEAST_LANES:  # for four lanes the instruction has another form
        narrow = _vector(_Bfloat16(), e.vector.width)
        converted = e.call_intrinsic(f"llvm.x86.avx512bf16.cvtneps2bf16.{_bits(e)}", narrow, (numbers,))
        e.store_halves(e.bitcast(converted, e.vector.halves), pointer)
    else:
        e.store_halves(e.lower_halves(e.shift_right(_rounded(e, numbers), 16)), pointer)


def dot(e: Arithmetic, a: Value, b: Value, total: Value, name: str = "") -> Value:
    """Add both products of each lane to a sum, by the processor's instruction."""
    pairs = _vector(_Bfloat16(), 2 * e.vector.width)
    operands = (total, e.bitcast(a, pairs), e.bitcast(b, pairs))
    return e.call_intrinsic(f"llvm.x86.avx512bf16.dpbf16ps.{_bits(e)}", e.vector.numbers, operands, name)


def _converted(e: Arithmetic, first: Value, second: Value) -> Value:
    """The numbers of both vectors, one after the other, by the processor's instruction."""
    pairs = _vector(_Bfloat16(), 2 * e.vector.width)
    # the instruction's first operand goes to the upper half
    return e.call_intrinsic(f"llvm.x86.avx512bf16.cvtne2ps2bf16.{_bits(e)}", pairs, (second, first))


def _rounded(e: Arithmetic, x: Value) -> Value:
    """The bits of numbers, with those of the nearest bfloat16 number in the upper half."""
    bits = e.bits(x)
    odd = e.and_bits(e.shift_right(bits, 16), 1)
    nearest = e.add_bits(bits, e.add_bits(odd, 0x7FFF))
    # rounding could carry a NaN's bits into its sign
    return e.select_bits(e.is_nan(x), e.or_bits(bits, _QUIET), nearest)


def _vector(element: Any, lanes: int) -> Any:
    return ir.VectorType(element, lanes)


def _bits(e: Arithmetic) -> int:
    return 32 * e.vector.width
