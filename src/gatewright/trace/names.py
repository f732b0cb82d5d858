"""How the values of a derivative are named after those that it is the derivative of.

Names of derivatives of derivatives nest: d(d(h)). Where one is taken already, all new names of that derivative, the
trace's own among them, are of a higher order: `jvp(jvp(trace))` has t2(x) and t2(t(x)) beside x and t(x).

Names are made and read here only: everything else asks `Trace.order` and `Trace.adjoint_of`.
"""

from collections.abc import Callable, Collection, Iterable
from itertools import count
from typing import NamedTuple


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


class DerivedName(NamedTuple):
    """What a name of a derivative is made of: the value h, of order 2, for the adjoint d2(h)."""

    of: str
    order: int
    is_adjoint: bool  # else a tangent


def split_derived(name: str) -> DerivedName | None:
    """Read a name that `adjoint` or `tangent` has made; None for other names."""
    prefix, _, inner = name.partition("(")
    digits = prefix[1:]
    if not name.endswith(")") or not (digits.isdecimal() or not digits):
        return None
    order, value = int(digits or 1), inner[:-1]
    for make in (adjoint, tangent):
        if make(value, order) == name:
            return DerivedName(value, order, make is adjoint)
    return None


def _spelled(order: int) -> str:
    return "" if order == 1 else str(order)
