"""What the instructions of PTX make of numbers. Those that are approximate are right to the last place here."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tests.backends.triton.ptx.operands import BITS, DTYPES, Value

Function = Callable[..., Value]


def _in_double(function: Function) -> Function:
    """A function of float32 numbers, rounded once."""
    return lambda *args: function(*[np.asarray(arg, np.float64) for arg in args]).astype(np.float32)


def _widened(function: Function) -> Function:
    """A function of integers, in twice their bits."""

    def compute(left: Value, right: Value, *rest: Value) -> Value:
        own = np.asarray(left).dtype
        wide = np.dtype(f"{own.kind}{2 * own.itemsize}")
        return function(np.asarray(left).astype(wide), np.asarray(right).astype(wide), *rest)

    return compute


def _high_half(left: Value, right: Value) -> Value:
    own = np.asarray(left).dtype
    return (_widened(np.multiply)(left, right) >> np.uint64(8 * own.itemsize)).astype(own)


def _fused(a: Value, b: Value, c: Value) -> Value:
    return a * b + c


def _fast_quotient(a: Value, b: Value) -> Value:
    """div.approx: 0, or NaN for an infinite dividend, where the divisor is above 2**126."""
    beyond = np.where(np.isinf(a), np.float32(np.nan), np.asarray(a) * np.float32(0.0))
    return np.where(np.abs(b) > np.float32(2.0**126), beyond, np.divide(a, b)).astype(np.float32)


def _are_numbers(a: Value, b: Value) -> Value:
    """Whether neither is NaN."""
    return ~(np.isnan(a) | np.isnan(b))


ARITHMETIC: Mapping[str, Function] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "mul.wide": _widened(np.multiply), "mul.hi": _high_half,
    "mad": _fused, "mad.wide": _widened(_fused), "fma": _in_double(_fused), "neg": np.negative, "abs": np.abs,
    "min": np.fmin, "max": np.fmax, "min.NaN": np.minimum, "max.NaN": np.maximum,
    "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor, "not": np.bitwise_not,
    "ex2.approx": _in_double(np.exp2), "lg2.approx": _in_double(np.log2), "sqrt.approx": np.sqrt, "sqrt": np.sqrt,
    "div": np.divide, "div.approx": _fast_quotient, "rcp.approx": np.reciprocal,
}  # fmt: skip
COMPARISONS: Mapping[str, Function] = {
    "eq": np.equal, "ne": lambda a, b: (a != b) & _are_numbers(a, b), "neu": np.not_equal, "lt": np.less,
    "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
    "ltu": lambda a, b: ~(a >= b), "leu": lambda a, b: ~(a > b), "gtu": lambda a, b: ~(a <= b),
    "geu": lambda a, b: ~(a < b), "num": _are_numbers, "nan": lambda a, b: ~_are_numbers(a, b),
}  # fmt: skip


def shifted(value: np.ndarray, count: np.ndarray, *, left: bool) -> np.ndarray:
    """Bits moved by a count, which may be that of all bits, or more."""
    bits = 8 * value.dtype.itemsize
    if value.dtype.kind == "i" and not left:
        return value >> np.minimum(count, bits - 1).astype(value.dtype)
    own = value.view(BITS[value.dtype.itemsize])
    by = np.where(count >= bits, 0, count).astype(own.dtype)
    return np.where(count >= bits, 0, own << by if left else own >> by).astype(own.dtype).view(value.dtype)


def quotient_of_integers(left: np.ndarray, right: np.ndarray, *, rest: bool) -> np.ndarray:
    """The quotient cut off towards 0, or what is left of it."""
    quotient = np.trunc(left.astype(np.longdouble) / right).astype(left.dtype)
    return left - quotient * right if rest else quotient


def bfloat16_bits(value: np.ndarray) -> np.ndarray:
    """float32 numbers rounded to bfloat16, as 16 bits each."""
    bits = np.ascontiguousarray(value).view(np.uint32)
    even = bits >> np.uint32(16) & np.uint32(1)
    rounded = bits + np.uint32(0x7FFF) + even >> np.uint32(16)
    return np.where(np.isnan(value), 0x7FFF, rounded).astype(np.uint16)


def converted(target: str, source: str, values: Sequence[np.ndarray]) -> np.ndarray:
    """Numbers of one kind as another. A pair of 16-bit numbers has the first in its upper half."""
    if target.endswith("x2"):
        high, low = (converted(target.removesuffix("x2"), source, [value]) for value in values)
        halves = (np.ascontiguousarray(half).view(np.uint16).astype(np.uint32) for half in (high, low))
        return next(halves) << np.uint32(16) | next(halves)
    (value,) = values
    if target == "bf16":
        return bfloat16_bits(value)
    if target == "tf32":
        return np.ascontiguousarray(value).view(np.uint32) + np.uint32(0x1000) & np.uint32(0xFFFFE000)
    if source == "bf16":
        return (value.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return value.astype(DTYPES[target])
