"""Exponentials, logarithms and squashing functions on vectors in registers.

None of them branches, and none divides more than once. NaN stays NaN; infinities, zeros and denormal numbers give what
they should.
"""

from collections.abc import Mapping, Sequence

from gatewright.backends.coefficients import COEFFICIENTS
from gatewright.backends.llvm.emit.arithmetic import Arithmetic
from gatewright.backends.llvm.emit.vector_type import Value

LARGEST_ERRORS: Mapping[str, float] = {"exp": 2.0, "log": 1.25, "sigmoid": 3.5, "softplus": 3.0, "tanh": 3.0}
"""How many units in the last place a result may be off: in both dtypes, and with fused multiply-adds or without."""


def exp(e: Arithmetic, x: Value, name: str = "exp") -> Value:
    """The exponential function.

    x = 2 * k * ln(2) + r with |r| <= ln(2), and exp(x) = exp(r) * 2**k * 2**k: one power alone would leave the range of
    the dtype before the result does.
    """
    numbers, limits = COEFFICIENTS[e.vector.dtype], e.vector.limits
    with e.scope(name):
        denormal_end = limits.minexp - limits.nmant - 3
        x = _between(e, x, denormal_end / numbers.log2_e, (limits.maxexp + 2) / numbers.log2_e)
        count, power = _rounded(e, x, numbers.log2_e / 2)
        rest = e.fma(count, -2 * numbers.ln2_high, x, "rest.high")
        rest = e.fma(count, -2 * numbers.ln2_low, rest, "rest")
        growth = _series(e, rest, numbers.exp_wide, rest, "growth")
        return e.mul(e.mul(e.add(growth, 1.0, "grown"), power, "half_scaled"), power)


def sigmoid(e: Arithmetic, x: Value, name: str = "sigmoid") -> Value:
    """1 / (1 + exp(-x)). Where that is denormal, it may be 0 instead."""
    numbers, limits = COEFFICIENTS[e.vector.dtype], e.vector.limits
    with e.scope(name):
        x = _between(e, x, -limits.maxexp / numbers.log2_e, (limits.maxexp - 1) / numbers.log2_e)
        grown, power = _exp_of_minus(e, x)
        return e.div(1.0, e.fma(grown, power, 1.0, "denominator"))


def tanh(e: Arithmetic, x: Value, name: str = "tanh") -> Value:
    """The hyperbolic tangent.

    With h = (exp(2 * |x|) - 1) / 2 it is h / (h + 1): exact to the last digits around 0, and never beyond 1.
    """
    numbers = COEFFICIENTS[e.vector.dtype]
    with e.scope(name):
        size = e.smaller(e.vector.limits.nmant, e.abs(x, "size"), "size.bounded")
        count, power = _rounded(e, size, 2 * numbers.log2_e)
        rest = e.fma(count, -numbers.ln2 / 2, size, "rest")
        # (exp(2 * r) - 1) / 2 = r + r**2 * ..., where the coefficients are those of exp times powers of 2
        series = [coefficient * 2.0 ** (degree + 1) for degree, coefficient in enumerate(numbers.exp_near)]
        grown = _series(e, rest, series, rest, "grown")
        half = e.fma(power, grown, e.fma(power, 0.5, -0.5, "power.half"), "half")
        return e.copysign(e.div(half, e.add(half, 1.0, "denominator"), "of_size"), x)


def softplus(e: Arithmetic, x: Value, name: str = "softplus") -> Value:
    """log(1 + exp(x)), as maximum(x, 0) + log(1 + exp(-|x|)). Where that is denormal, it may be 0 instead."""
    numbers = COEFFICIENTS[e.vector.dtype]
    with e.scope(name):
        limit = (e.vector.limits.maxexp - 1) / numbers.log2_e
        grown, power = _exp_of_minus(e, e.smaller(limit, e.abs(x, "size"), "size.bounded"))
        small = e.mul(grown, power, "small")
        logarithm = _series(e, small, numbers.log_wide, small, "logarithm")
        return e.add(e.larger(0.0, x, "positive"), logarithm)


def log(e: Arithmetic, x: Value, name: str = "log") -> Value:
    """The natural logarithm.

    x = 2**k * (1 + f) with sqrt(1/2) <= 1 + f <= sqrt(2), and log(x) = k * ln(2) + log(1 + f).
    """
    numbers = COEFFICIENTS[e.vector.dtype]
    with e.scope(name):
        count, f = _taken_apart(e, x)
        low = _series(e, f, (-0.5, *numbers.log_near), e.mul(count, numbers.ln2_low, "count.low"), "low")
        finite = e.fma(count, numbers.ln2_high, e.add(f, low, "of_fraction"), "finite")
        known = e.select(e.compare("<", x, float("inf"), "is_finite"), finite, x, "known")
        real = e.select(e.compare("<", x, 0.0, "is_negative"), float("nan"), known, "real")
        return e.select(e.compare("==", x, 0.0, "is_zero"), float("-inf"), real)


def sign(e: Arithmetic, x: Value, name: str = "sign") -> Value:
    """-1, 0 or 1; a zero keeps its own sign."""
    with e.scope(name):
        has_sign = e.compare(">", e.abs(x, "size"), 0.0, "has_sign")
        return e.select(has_sign, e.copysign(1.0, x, "unit"), x)


def _between(e: Arithmetic, x: Value, low: float, high: float) -> Value:
    """x, but not below `low` nor above `high`. NaN stays: both operations prefer their second operand then."""
    return e.larger(low, e.smaller(high, x, "bounded.above"), "bounded")


def _rounded(e: Arithmetic, x: Value, factor: float) -> tuple[Value, Value]:
    """An integer k, x * factor rounded, and 2**k: zero below the normal range and infinite above it.

    The sum with a number so large that its last digit counts ones is rounded by the addition itself. The last bits of
    that sum are then k plus the bias of exponents, and need only be shifted to where an exponent stands.
    """
    limits = e.vector.limits
    bias = limits.maxexp - 1
    large = 1.5 * 2.0**limits.nmant + bias
    shifted = e.fma(x, factor, large, "shifted")
    power = e.shift_left(e.bits(shifted, "shifted.bits"), limits.nmant, "power.bits")
    return e.sub(shifted, large, "count"), e.from_bits(power, "power")


def _exp_of_minus(e: Arithmetic, x: Value) -> tuple[Value, Value]:
    """Two numbers whose product is exp(-x): one near 1, and a power of 2."""
    numbers = COEFFICIENTS[e.vector.dtype]
    count, power = _rounded(e, x, -numbers.log2_e)
    rest = e.fma(count, numbers.ln2_high, x, "rest.high")
    rest = e.fma(count, numbers.ln2_low, rest, "rest")  # exp(-x) = exp(-rest) * 2**count
    series = [coefficient * (-1.0) ** degree for degree, coefficient in enumerate(numbers.exp_near)]
    return _series(e, rest, series, e.sub(1.0, rest, "linear"), "grown"), power


def _taken_apart(e: Arithmetic, x: Value) -> tuple[Value, Value]:
    """Numbers k and f with x = 2**k * (1 + f) and sqrt(1/2) <= 1 + f <= sqrt(2), for every positive x."""
    limits = e.vector.limits
    root = e.vector.bits_of(0.5**0.5)
    large = 2.0**limits.nmant  # with the last bits of its significand set to n, it is itself + n
    bias = large + limits.maxexp - 1
    is_denormal = e.compare("<", x, limits.smallest_normal, "is_denormal")
    normal = e.select(is_denormal, e.mul(x, large, "enlarged"), x, "normal")
    offset = e.select(is_denormal, bias + limits.nmant, bias, "offset")
    bits = e.add_bits(e.bits(normal, "bits"), e.vector.bits_of(1.0) - root, "bits.from_root")
    counted = e.or_bits(e.shift_right(bits, limits.nmant, "exponent"), e.vector.bits_of(large), "counted.bits")
    count = e.sub(e.from_bits(counted, "counted"), offset, "count")
    fraction = e.add_bits(e.and_bits(bits, (1 << limits.nmant) - 1, "fraction.bits"), root, "significand.bits")
    return count, e.sub(e.from_bits(fraction, "significand"), 1.0, "f")


def _series(e: Arithmetic, x: Value, coefficients: Sequence[float], first: Value, name: str) -> Value:
    """The sum of `first` and x**2 times a polynomial in x, with its coefficients from the constant one on.

    Neighbours are added up, then neighbouring sums, ..., until Horner's scheme has few operations left that wait for
    one another. `first` comes last: what was rounded before hardly counts beside it.
    """
    square = power = e.mul(x, x, f"{name}.power2")
    couples = [coefficients[start : start + 2] for start in range(0, len(coefficients), 2)]
    terms = [e.fma(x, couple[1], couple[0], name) if len(couple) > 1 else e.constant(couple[0]) for couple in couples]
    while len(terms) > 3:
        odd = terms[len(terms) & ~1 :]
        terms = [e.fma(power, high, low, name) for low, high in zip(terms[::2], terms[1::2], strict=False)] + odd
        power = e.mul(power, power, f"{name}.power")
    result = terms.pop()
    while terms:
        result = e.fma(power, result, terms.pop(), name)
    return e.fma(square, result, first, name)
