"""What each op is in C: a table with one rule for each, expressions without needless parentheses, and numbers.

Most ops give one element of their result at a time, out of elements of their operands. Products and sums need whole
operands: they are accumulated in a loop.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from gatewright.backends.expressions import (
    CodeExpression,
    CodePrecedence,
    WriteExpression,
    infix,
    negative,
    signed,
    unchanged,
)
from gatewright.lang.ops import Op


def number(value: float, dtype: str) -> CodeExpression:
    """A number with as few digits as tell it from its neighbours."""
    rounded = np.float32(value) if dtype == "float32" else np.float64(value)
    suffix = "f" if dtype == "float32" else ""
    if not np.isfinite(rounded):  # math.h, which has names for these, may not be there
        above = "0.0" if np.isnan(rounded) else "1.0" if rounded > 0 else "-1.0"
        return CodeExpression(f"{above}{suffix} / 0.0{suffix}", CodePrecedence.PRODUCT)
    usual = rounded == 0 or 1e-4 <= abs(rounded) < 1e7
    text = (
        np.format_float_positional(rounded, trim="0")
        if usual
        else np.format_float_scientific(rounded, trim="0", exp_digits=1)
    )
    return signed(text.replace("e+", "e") + suffix)


Indices = tuple[str, ...]
"""The loop variables of one element: () of a scalar, ("i",) of a vector, ("i", "j") of a matrix."""


@dataclass(frozen=True, slots=True)
class Element:
    """One element of the result as an expression of operands' elements."""

    write: WriteExpression
    taken: Callable[[Indices], Sequence[Indices]] | None = None  # of each operand; else the element at the same place


class OpKind(Enum):
    """Ops that are no expression of operands' elements."""

    CALLED = "one element of the result by a function of operands' elements, and of the op's attributes"
    ACCUMULATED = "the sum over all elements, or over a row's products"
    COUNTED = "known from the sizes alone"


def _chosen(args: Sequence[CodeExpression]) -> CodeExpression:
    condition, yes, no = (arg.within(CodePrecedence.SUM) for arg in args)
    return CodeExpression(f"{condition} != 0 ? {yes} : {no}", CodePrecedence.CHOICE)


_TIMES = infix("*", CodePrecedence.PRODUCT)

Rule = Element | OpKind
RULES: Mapping[Op, Rule] = {
    Op.NEG: Element(negative),
    Op.ABS: OpKind.CALLED,
    Op.SIGN: OpKind.CALLED,
    Op.EXP: OpKind.CALLED,
    Op.LOG: OpKind.CALLED,
    Op.SQRT: OpKind.CALLED,
    Op.SIGMOID: OpKind.CALLED,
    Op.TANH: OpKind.CALLED,
    Op.RELU: OpKind.CALLED,
    Op.HARD_SIGMOID: OpKind.CALLED,
    Op.SOFTPLUS: OpKind.CALLED,
    Op.ADD: Element(infix("+", CodePrecedence.SUM)),
    Op.SUB: Element(infix("-", CodePrecedence.SUM)),
    Op.MUL: Element(_TIMES),
    Op.DIV: Element(infix("/", CodePrecedence.PRODUCT)),
    Op.MAXIMUM: OpKind.CALLED,
    Op.MINIMUM: OpKind.CALLED,
    Op.LESS: OpKind.CALLED,
    Op.WHERE: Element(_chosen),
    Op.MATMUL: OpKind.ACCUMULATED,
    Op.TRANSPOSE: Element(unchanged, lambda at: [at[::-1]]),
    Op.OUTER: Element(_TIMES, lambda at: [at[:1], at[1:]]),
    Op.SUM: OpKind.ACCUMULATED,
    Op.MEAN: OpKind.ACCUMULATED,
    Op.EXPAND: Element(unchanged, lambda at: [()]),
    Op.SIZE: OpKind.COUNTED,
    Op.RELABEL: Element(unchanged),
}
