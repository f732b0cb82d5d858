"""The names of what a derivative is given and gives.

Names of derivatives of derivatives nest: d(d(h)). Where one is taken already, all new names of that derivative, the
trace's own among them, are of a higher order: `jvp(jvp(trace))` has t2(x) and t2(t(x)) beside x and t(x).
"""

from collections.abc import Callable, Collection, Iterable
from itertools import count


def adjoint(name: str, order: int = 1) -> str:
    """The name of the adjoint of a value: d(h)."""
    return f"d{_spelled(order)}({name})"


def seed(name: str, order: int = 1) -> str:
    """The name of what the loss says of a value that each step gives out: d(h.out)."""
    return adjoint(f"{name}.out", order)


def tangent(name: str, order: int = 1) -> str:
    """The name of the tangent of a value: t(h)."""
    return f"t{_spelled(order)}({name})"


def free_order(new: Callable[[int], Iterable[str]], taken: Collection[str]) -> int:
    """The lowest order of which no new name is taken."""
    return next(order for order in count(1) if not set(taken).intersection(new(order)))


def _spelled(order: int) -> str:
    return "" if order == 1 else str(order)
