"""What each op is in C: a table with one rule for each.

Most ops give one element of their result at a time, out of elements of their operands. Products and sums need whole
operands: they are accumulated in a loop.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from gatewright.backends.c99.expressions import CPrecedence, Expression
from gatewright.lang.ops import Op

Indices = tuple[str, ...]
"""The loop variables of one element: () of a scalar, ("i",) of a vector, ("i", "j") of a matrix."""


Write = Callable[[Sequence[Expression]], Expression]


@dataclass(frozen=True, slots=True)
class Element:
    """One element of the result as an expression of operands' elements."""

    write: Write
    taken: Callable[[Indices], Sequence[Indices]] | None = None  # of each operand; else the element at the same place


@dataclass(frozen=True, slots=True)
class Called:
    """One element of the result by a function of operands' elements, and of the op's attributes."""


@dataclass(frozen=True, slots=True)
class Accumulated:
    """The sum over all elements, or over a row's products; `mean` divides it by their number."""

    mean: bool = False


@dataclass(frozen=True, slots=True)
class Counted:
    """Known from the sizes alone."""


def _infix(sign: str, binding: CPrecedence) -> Write:
    """An operator that C reads from the left: what stands to its right binds more tightly."""

    def write(args: Sequence[Expression]) -> Expression:
        left, right = args
        return Expression(f"{left.within(binding)} {sign} {right.within(CPrecedence(binding + 1))}", binding)

    return write


def _negated(args: Sequence[Expression]) -> Expression:
    return Expression(f"-{args[0].within(CPrecedence.ATOM)}", CPrecedence.SIGN)


def _chosen(args: Sequence[Expression]) -> Expression:
    condition, yes, no = (arg.within(CPrecedence.SUM) for arg in args)
    return Expression(f"{condition} != 0 ? {yes} : {no}", CPrecedence.CHOICE)


def _moved(args: Sequence[Expression]) -> Expression:
    return args[0]


_TIMES = _infix("*", CPrecedence.PRODUCT)

Rule = Element | Called | Accumulated | Counted
RULES: Mapping[Op, Rule] = {
    Op.NEG: Element(_negated),
    Op.ABS: Called(),
    Op.SIGN: Called(),
    Op.EXP: Called(),
    Op.LOG: Called(),
    Op.SQRT: Called(),
    Op.SIGMOID: Called(),
    Op.TANH: Called(),
    Op.RELU: Called(),
    Op.HARD_SIGMOID: Called(),
    Op.SOFTPLUS: Called(),
    Op.ADD: Element(_infix("+", CPrecedence.SUM)),
    Op.SUB: Element(_infix("-", CPrecedence.SUM)),
    Op.MUL: Element(_TIMES),
    Op.DIV: Element(_infix("/", CPrecedence.PRODUCT)),
    Op.MAXIMUM: Called(),
    Op.MINIMUM: Called(),
    Op.LESS: Called(),
    Op.WHERE: Element(_chosen),
    Op.MATMUL: Accumulated(),
    Op.TRANSPOSE: Element(_moved, lambda at: [at[::-1]]),
    Op.OUTER: Element(_TIMES, lambda at: [at[:1], at[1:]]),
    Op.SUM: Accumulated(),
    Op.MEAN: Accumulated(mean=True),
    Op.EXPAND: Element(_moved, lambda at: [()]),
    Op.SIZE: Counted(),
    Op.RELABEL: Element(_moved),
}
