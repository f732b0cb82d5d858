"""Numbers as people write them."""

import math
from dataclasses import dataclass
from fractions import Fraction

_DIGITS = 15  # so many are always right
_LARGEST_DENOMINATOR = 64


@dataclass(frozen=True, slots=True)
class Written:
    """A number: `digits`, over `denominator`, times ten to the power of `exponent`."""

    negative: bool
    digits: str
    denominator: str = ""
    exponent: int = 0


def written(value: float) -> Written:
    """1/6 stays a fraction, 1e-05 becomes a power of ten, 0.05000000000000004 is 0.05."""
    negative, size = value < 0, abs(value)
    if not math.isfinite(size):
        return Written(negative, "∞" if math.isinf(size) else "NaN")
    digits = f"{size:.{_DIGITS}g}"
    near = Fraction(size).limit_denominator(_LARGEST_DENOMINATOR)
    if len(digits) > _DIGITS and near and math.isclose(near, size, rel_tol=1e-15):
        return Written(negative, str(near.numerator), str(near.denominator))
    mantissa, _, exponent = digits.partition("e")
    return Written(negative, mantissa, exponent=int(exponent or 0))
