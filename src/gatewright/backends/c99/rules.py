"""What each op is in C: a table with one rule for each, expressions without needless parentheses, and numbers.

Most ops give one element of their result at a time, out of elements of their operands. Products and sums need whole
operands: they are accumulated in a loop.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum

import numpy as np

from gatewright.lang.ops import Op


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


Indices = tuple[str, ...]
"""The loop variables of one element: () of a scalar, ("i",) of a vector, ("i", "j") of a matrix."""


Write = Callable[[Sequence[Expression]], Expression]


@dataclass(frozen=True, slots=True)
class Element:
    """One element of the result as an expression of operands' elements."""

    write: Write
    taken: Callable[[Indices], Sequence[Indices]] | None = None  # of each operand; else the element at the same place


class OpKind(Enum):
    """Ops that are no expression of operands' elements."""

    CALLED = "one element of the result by a function of operands' elements, and of the op's attributes"
    ACCUMULATED = "the sum over all elements, or over a row's products"
    COUNTED = "known from the sizes alone"


def _infix(sign: str, binding: CPrecedence) -> Write:
    """An operator that C reads from the left: what stands to its right binds more tightly."""

    def write(args: Sequence[Expression]) -> Expression:
        left, right = args
        return Expression(f"{left.within(binding)} {sign} {right.within(CPrecedence(binding + 1))}", binding)

    return write


def _chosen(args: Sequence[Expression]) -> Expression:
    condition, yes, no = (arg.within(CPrecedence.SUM) for arg in args)
    return Expression(f"{condition} != 0 ? {yes} : {no}", CPrecedence.CHOICE)


def _moved(args: Sequence[Expression]) -> Expression:
    return args[0]


_TIMES = _infix("*", CPrecedence.PRODUCT)

Rule = Element | OpKind
RULES: Mapping[Op, Rule] = {
    Op.NEG: Element(lambda args: Expression(f"-{args[0].within(CPrecedence.ATOM)}", CPrecedence.SIGN)),
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
    Op.ADD: Element(_infix("+", CPrecedence.SUM)),
    Op.SUB: Element(_infix("-", CPrecedence.SUM)),
    Op.MUL: Element(_TIMES),
    Op.DIV: Element(_infix("/", CPrecedence.PRODUCT)),
    Op.MAXIMUM: OpKind.CALLED,
    Op.MINIMUM: OpKind.CALLED,
    Op.LESS: OpKind.CALLED,
    Op.WHERE: Element(_chosen),
    Op.MATMUL: OpKind.ACCUMULATED,
    Op.TRANSPOSE: Element(_moved, lambda at: [at[::-1]]),
    Op.OUTER: Element(_TIMES, lambda at: [at[:1], at[1:]]),
    Op.SUM: OpKind.ACCUMULATED,
    Op.MEAN: OpKind.ACCUMULATED,
    Op.EXPAND: Element(_moved, lambda at: [()]),
    Op.SIZE: OpKind.COUNTED,
    Op.RELABEL: Element(_moved),
}
