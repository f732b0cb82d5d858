"""How the values of a derivative are named after those that it is the derivative of.

Names of derivatives of derivatives nest: d(d(h)). Where one is taken already, all new names of that derivative, the
trace's own among them, are of a higher order: `jvp(jvp(trace))` has t2(x) and t2(t(x)) beside x and t(x).

Names are made here, and read nowhere but in `parse`: everything else asks `Trace.order` and `Trace.adjoint_of`.
"""

from collections.abc import Callable, Collection, Iterable
from itertools import count


def adjoint(name: str, order: int = 1) -> str:
    """The name of the adjoint of a value: d(h)."""
    return f"d{_spelled(order)}({name})"


def seed(name: str, order: int = 1) -> str:
    """The name of the loss's gradient by a value that each step gives out: d(h.out)."""
    return adjoint(f"{name}.out", order)


def tangent(name: str, order: int = 1) -> str:
    """The name of the tangent of a value: t(h)."""
    return f"t{_spelled(order)}({name})"


def free_order(new: Callable[[int], Iterable[str]], taken: Collection[str]) -> int:
    """The lowest order of which no new name is taken."""
    return next(order for order in count(1) if not set(taken).intersection(new(order)))


def split_adjoint(name: str) -> tuple[str, int] | None:
    """The value and the order that `adjoint` made a name of: ("h", 2) of d2(h). None where it made no such name."""
    prefix, _, inner = name.partition("(")
    digits = prefix[1:]
    if not name.endswith(")") or not (digits.isdecimal() or not digits):
        return None
    order, value = int(digits or 1), inner[:-1]
    return (value, order) if adjoint(value, order) == name else None


def _spelled(order: int) -> str:
    return "" if order == 1 else str(order)
