"""Products of whole numbers of eight bits, summed up in 32 bits; `gatewright.int8` says what they mean.

A word of 32 bits holds four numbers, the first one in its lowest byte: a vector of words has the type of a vector of
float32. Those of a matrix have a sign. Those of a vector are offset by 128, as the processors' instruction wants them:
it multiplies bytes without a sign by bytes with one. What the offset adds to a sum is known beforehand.
"""

from llvmlite import ir

from gatewright.backends.llvm.emit.arithmetic import Arithmetic
from gatewright.backends.llvm.emit.vector_type import Value

NUMBERS = 4
"""How many numbers a word holds."""
OFFSET = 128
LEAST_LANES = 4
"""The narrowest vector that the instruction takes."""


def dot(e: Arithmetic, weights: Value, numbers: Value, total: Value, *, native: bool, name: str = "") -> Value:
    """Add the four products of each lane to a sum of integers; `native` by the processor's instruction."""
    lanes = e.vector.width
    if native and lanes >= LEAST_LANES:
        kind = ir.VectorType(ir.IntType(8), NUMBERS * lanes)
        operands = (total, e.bitcast(numbers, kind), e.bitcast(weights, kind))
        return e.call_intrinsic(f"llvm.x86.avx512.vpdpbusd.{32 * lanes}", e.vector.integers, operands, name)
    own, others = e.bits(weights), e.bits(numbers)
    for number in range(NUMBERS):
        left = e.shift_right_signed(e.shift_left(own, 24 - 8 * number), 24)
        right = e.and_bits(e.shift_right(others, 8 * number), 255)
        total = e.add_bits(total, e.mul_bits(left, right), name)
    return total


def largest_lane(e: Arithmetic, bits: Value) -> Value:
    """The largest of the integers in a vector, a scalar."""
    if e.vector.width == 1:
        return bits
    return e.call_intrinsic(f"llvm.vector.reduce.smax.v{e.vector.width}i32", ir.IntType(32), [bits])
