"""exp, log, tanh and their like in C without math.h, for compilers to vectorise: no branches, no tables, one division.

They are those of the compiled kernels, with the same coefficients. NaN stays NaN; infinities and zeros give what they
should, but for a sigmoid of minus infinity, which is the least normal number. Sizes are bounded and signs put back.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np

from gatewright.backends.c99.rules import number
from gatewright.backends.coefficients import COEFFICIENTS, Dtype

LARGEST_ERRORS: Mapping[str, float] = {
    "exp": 2.0,
    "log": 1.25,
    "sigmoid": 3.0,
    "softplus": 2.5,
    "sqrt": 1.0,
    "tanh": 3.0,
}
"""How many units in the last place a result may be off, in both dtypes. Of results below the normal range
nothing is said.

That is without -ffast-math, with fused multiply-adds or without."""

OWN: Mapping[str, str] = {
    "bits": """
/* A number and its bits: sign, exponent, fraction. */
typedef union {
    REAL number;
    UINT bits;
} NAME_bits;
""",
    "infinity": """
static inline REAL NAME_infinity(void)
{
    NAME_bits y;
    y.bits = INFINITY_BITS;
    return y.number;
}
""",
    "abs": """
static inline REAL NAME_abs(REAL a)
{
    NAME_bits y;
    y.number = a;
    y.bits &= ~SIGN;
    return y.number;
}
""",
    "bounded": """
/* |a|, but at most so much. Whole numbers are compared, of which no compiler makes a branch. NaN stays. */
static inline REAL NAME_bounded(REAL a, REAL most)
{
    NAME_bits x, y;
    x.number = a;
    y.number = most;
    x.bits &= ~SIGN;
    const UINT is_nan = (x.bits + FRACTION) >> LAST_BIT;
    x.bits = (x.bits < y.bits ? x.bits : y.bits) | (0u - is_nan);
    return x.number;
}
""",
    "with_sign": """
/* A number that is not negative, with the sign of another. */
static inline REAL NAME_with_sign(REAL a, REAL sign)
{
    NAME_bits y, s;
    y.number = a;
    s.number = sign;
    y.bits |= s.bits & SIGN;
    return y.number;
}
""",
    "whole": """
/* The whole number that is nearest: a sum with so large a number has no digits behind the point. */
static inline REAL NAME_whole(REAL a)
{
#if defined(__FAST_MATH__) || defined(_M_FP_FAST) /* which would take the sum for the number itself */
    return (REAL)(INT)(a < 0 ? a - HALF : a + HALF);
#else
    const REAL sum = a + SHIFT;
    return sum - SHIFT;
#endif
}
""",
    "power_of_2": """
/* 2 to the power of a whole number: the last bits of the sum are the exponent, as floats have it. */
static inline REAL NAME_power_of_2(REAL whole)
{
    NAME_bits y;
    y.number = whole + BIASED;
    y.bits <<= DIGITS;
    return y.number;
}
""",
    "exp": """
/* a = 2 k ln 2 + r with |r| <= ln 2, and exp(a) = exp(r) 2^k 2^k: one power may be out of range. */
static inline REAL NAME_exp(REAL a)
{
    const REAL x = NAME_with_sign(NAME_bounded(a, EXP_MOST), a);
    const REAL k = NAME_whole(x * HALF_LOG2_E);
    const REAL r = (x - k * TWICE_LN2_HIGH) - k * TWICE_LN2_LOW;
    SERIES(p, r, EXP_WIDE)
    const REAL y = ONE + (r + r * r * p);
    const REAL power = NAME_power_of_2(k);
    return y * power * power;
}
""",
    "exp_of_minus": """
/* exp(-a) for an a within the range of the normal numbers. */
static inline REAL NAME_exp_of_minus(REAL a)
{
    const REAL k = NAME_whole(a * -LOG2_E);
    const REAL r = (-a - k * LN2_HIGH) - k * LN2_LOW;
    SERIES(p, r, EXP_NEAR)
    const REAL y = ONE + (r + r * r * p);
    return y * NAME_power_of_2(k);
}
""",
    "log": """
/* a = 2^k (1 + f) with sqrt(1/2) <= 1 + f <= sqrt(2), and log(a) = k ln 2 + log(1 + f). */
static inline REAL NAME_log(REAL a)
{
    const int tiny = a < LEAST_NORMAL;
    NAME_bits x, count, part;
    x.number = tiny ? a * SCALE : a;
    x.bits += ONE_BITS - ROOT_BITS;
    count.bits = (x.bits >> DIGITS) | SCALE_BITS;
    part.bits = (x.bits & FRACTION) + ROOT_BITS;
    const REAL k = count.number - (tiny ? COUNT_BIAS_TINY : COUNT_BIAS);
    const REAL f = part.number - ONE;
    SERIES(p, f, LOG_NEAR)
    const REAL low = k * LN2_LOW + f * f * (f * p - HALF);
    const REAL y = k * LN2_HIGH + (f + low);
    const REAL infinity = NAME_infinity();
    const REAL real = a < infinity ? y : a;
    const REAL not_negative = a < 0 ? infinity - infinity : real;
    return a == 0 ? -infinity : not_negative;
}
""",
    "sqrt": """
/* Half the exponent, then Newton's rule: each turn doubles the number of digits. */
static inline REAL NAME_sqrt(REAL a)
{
    const int tiny = a < LEAST_NORMAL;
    NAME_bits y;
    const REAL x = tiny ? a * SQUARE : a;
    y.number = x;
    y.bits = (y.bits >> 1) + HALF_BIAS;
    REAL root = y.number;
    for (int turn = 0; turn < TURNS; ++turn)
        root = HALF * (root + x / root);
    const REAL known = tiny ? root * ROOT_OF_SQUARE : root;
    const REAL infinity = NAME_infinity();
    const REAL real = a > 0 && a < infinity ? known : a;
    return a < 0 ? infinity - infinity : real;
}
""",
    "sigmoid": """
static inline REAL NAME_sigmoid(REAL a)
{
    return ONE / (ONE + NAME_exp_of_minus(NAME_with_sign(NAME_bounded(a, SIGMOID_MOST), a)));
}
""",
    "tanh": """
/* With h = (exp(2 |a|) - 1) / 2 it is h / (h + 1): exact around 0, and never beyond 1. */
static inline REAL NAME_tanh(REAL a)
{
    const REAL x = NAME_bounded(a, TANH_MOST);
    const REAL k = NAME_whole(x * TWICE_LOG2_E);
    const REAL r = x - k * HALF_LN2;
    const REAL power = NAME_power_of_2(k);
    SERIES(p, r, TANH_NEAR)
    const REAL h = power * (r + r * r * p) + (power * HALF - HALF);
    return NAME_with_sign(h / (h + ONE), a);
}
""",
    "softplus": """
/* max(a, 0) + log(1 + exp(-|a|)) */
static inline REAL NAME_softplus(REAL a)
{
    const REAL u = NAME_exp_of_minus(NAME_bounded(a, SIGMOID_MOST));
    SERIES(p, u, LOG_WIDE)
    return (a < 0 ? ZERO : a) + (u + u * u * p);
}
""",
}
"""By name, each after those that it calls. Words in capitals are numbers of the dtype."""


def filled(text: str, dtype: Dtype, words: Mapping[str, str]) -> str:
    """A function's text with the numbers of a dtype in place of the words in capitals; `words` are further ones."""

    def series(match: re.Match[str]) -> str:
        """Horner's scheme, a line for each coefficient."""
        result, x, name = match.groups()
        *lower, last = (number(coefficient, dtype).text for coefficient in _series(dtype)[name])
        lines = [f"REAL {result} = {last};"]
        lines += [f"{result} = {result} * {x} + {coefficient};" for coefficient in reversed(lower)]
        return "".join(f"    {line}\n" for line in lines).replace("+ -", "- ")

    known = {**_words(dtype), **words}
    text = re.sub(r" +SERIES\((\w), (\w), (\w+)\)\n", series, text)
    return re.sub(r"\b[A-Z][A-Z0-9_]+\b", lambda match: known.get(match[0], match[0]), text)


@cache
def _words(dtype: Dtype) -> dict[str, str]:
    own, limits = COEFFICIENTS[dtype], np.finfo(dtype)
    digits, most = int(limits.nmant), int(limits.maxexp)
    bias, bits = most - 1, int(limits.bits)
    scale = 2.0**digits
    numbers = {
        "SHIFT": 1.5 * scale,
        "BIASED": 1.5 * scale + bias,
        "EXP_MOST": (bias + digits + 2) / own.log2_e,
        "SIGMOID_MOST": bias / own.log2_e,
        "TANH_MOST": float(digits),
        "LOG2_E": own.log2_e,
        "HALF_LOG2_E": own.log2_e / 2,
        "TWICE_LOG2_E": own.log2_e * 2,
        "HALF_LN2": own.ln2 / 2,
        "LN2_HIGH": own.ln2_high,
        "LN2_LOW": own.ln2_low,
        "TWICE_LN2_HIGH": own.ln2_high * 2,
        "TWICE_LN2_LOW": own.ln2_low * 2,
        "LEAST_NORMAL": float(limits.smallest_normal),
        "SCALE": scale,
        "COUNT_BIAS": scale + bias,
        "COUNT_BIAS_TINY": scale + bias + digits,
        "SQUARE": 2.0 ** (2 * digits),
        "ROOT_OF_SQUARE": 2.0**-digits,
    }
    texts = {word: number(value, dtype).text for word, value in numbers.items()}
    texts |= {
        "TURNS": "3" if dtype == "float32" else "4",
        "DIGITS": str(digits),
        "LAST_BIT": str(bits - 1),
        "UINT": f"uint{bits}_t",
        "INT": f"int{bits}_t",
        "SIGN": _hexadecimal(1 << (bits - 1), bits),
        "FRACTION": _hexadecimal((1 << digits) - 1, bits),
        "ONE_BITS": _hexadecimal(_bits_of(1.0, dtype), bits),
        "ROOT_BITS": _hexadecimal(_bits_of(0.5**0.5, dtype), bits),
        "SCALE_BITS": _hexadecimal(_bits_of(scale, dtype), bits),
        "HALF_BIAS": _hexadecimal(_bits_of(1.0, dtype) // 2, bits),
        "INFINITY_BITS": _hexadecimal(_bits_of(np.inf, dtype), bits),
    }
    return texts


def _series(dtype: Dtype) -> dict[str, Sequence[float]]:
    own = COEFFICIENTS[dtype]
    return {
        "EXP_NEAR": own.exp_near,
        "EXP_WIDE": own.exp_wide,
        "LOG_NEAR": own.log_near,
        "LOG_WIDE": own.log_wide,
        # (exp(2 r) - 1) / 2 = r + r**2 ..., where the coefficients are those of exp times powers of 2
        "TANH_NEAR": [coefficient * 2.0 ** (degree + 1) for degree, coefficient in enumerate(own.exp_near)],
    }


def _bits_of(value: float, dtype: Dtype) -> int:
    return int(np.asarray(value, dtype).view(f"u{np.dtype(dtype).itemsize}"))


def _hexadecimal(value: int, bits: int) -> str:
    return f"UINT{bits}_C(0x{value:0{bits // 4}x})"
