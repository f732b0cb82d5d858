"""Expressions of C, with no more parentheses than they need, and numbers as C writes them."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np


class CPrecedence(IntEnum):
    """How tightly the outermost operator of an expression binds."""

    CHOICE = 0
    COMPARISON = 1
    SUM = 2
    PRODUCT = 3
    SIGN = 4
    ATOM = 5


@dataclass(frozen=True, slots=True)
class Expression:
    """A text, and what may stand around it without parentheses."""

    text: str
    binding: CPrecedence = CPrecedence.ATOM

    def within(self, binding: CPrecedence) -> str:
        """The text for a place where only what binds at least so tightly may stand."""
        return self.text if self.binding >= binding else f"({self.text})"


def number(value: float, dtype: str) -> Expression:
    """A number with as few digits as tell it from its neighbours."""
    rounded = np.float32(value) if dtype == "float32" else np.float64(value)
    suffix = "f" if dtype == "float32" else ""
    if not np.isfinite(rounded):  # math.h, which has names for these, may not be there
        above = "0.0" if np.isnan(rounded) else "1.0" if rounded > 0 else "-1.0"
        return Expression(f"{above}{suffix} / 0.0{suffix}", CPrecedence.PRODUCT)
    usual = rounded == 0 or 1e-4 <= abs(rounded) < 1e7
    text = (
        np.format_float_positional(rounded, trim="0")
        if usual
        else np.format_float_scientific(rounded, trim="0", exp_digits=1)
    )
    return Expression(
        text.replace("e+", "e") + suffix, CPrecedence.SIGN if rounded < 0 or text[0] == "-" else CPrecedence.ATOM
    )
