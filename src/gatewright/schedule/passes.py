"""Which pass computes each value, and which axes one stage can go along."""

from collections.abc import Iterable, Mapping, Sequence

from gatewright.lang.ops import Op
from gatewright.schedule.phases import AFTER, BEFORE, SCAN
from gatewright.schedule.program import Work, needs_whole, operands
from gatewright.trace.ir import Trace, Var


def choose_passes(works: Sequence[Work], phases: Mapping[str, int], ahead: Iterable[str], rest: int) -> dict[str, int]:
    """The pass of each value; of `ahead`, the new values of states that are known before the loop, an early one.

    Elementwise work goes into the pass `rest`: the loop, where its operands are at hand anyway; or what is after it,
    where there is none. But it goes before it where it dresses a product that does, or is needed there; and after it
    where it needs a product that comes after the loop.
    """
    wide: set[str] = set()
    late: set[str] = set()
    for work in works:
        name, phase = work.target.name, phases[work.target.name]
        used = {value.name for value in operands(work) if isinstance(value, Var)}
        if phase in (BEFORE, SCAN) and (needs_whole(work) or used & wide):
            wide.add(name)
        if (phase == AFTER and needs_whole(work)) or used & late:
            late.add(name)
    early = wide | set(ahead)
    for work in reversed(works):
        if work.target.name in early:
            early |= {value.name for value in operands(work) if isinstance(value, Var)}
    names = [work.target.name for work in works]
    return {name: AFTER if name in late else phases[name] if name in early else rest for name in names}


def axis_classes(trace: Trace) -> dict[str, str]:
    """One name for all axes that the equations use for one another: they have one size, and share a stage."""
    classes: dict[str, str] = {}
    for equation in trace.equations:
        if equation.op is Op.RELABEL:
            (before,), (after,) = equation.args[0].shape, equation.target.shape
            first, second = sorted((classes.get(before, before), classes.get(after, after)))
            classes = {axis: first if name == second else name for axis, name in classes.items()}
            classes |= {before: first, after: first, second: first}
    return classes
