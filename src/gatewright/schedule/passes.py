"""Which pass computes each value, and which axes one stage can go along."""

from gatewright.lang.ops import Op
from gatewright.schedule.gather import AFTER, BEFORE, LOOP, Gathered
from gatewright.schedule.program import needs_whole, operands
from gatewright.trace.ir import Trace, Var


def choose_passes(gathered: Gathered) -> dict[str, int]:
    """The pass of each value.

    Elementwise work goes into the loop, where its operands are at hand anyway, unless it dresses a product that comes
    before the loop, or is needed there; or it needs a product that comes after the loop.
    """
    early: set[str] = set()
    late: set[str] = set()
    for work in gathered.works:
        name, phase = work.target.name, gathered.phases[work.target.name]
        used = {value.name for value in operands(work) if isinstance(value, Var)}
        if phase == BEFORE and (needs_whole(work) or used & early):
            early.add(name)
        if (phase == AFTER and needs_whole(work)) or used & late:
            late.add(name)
    for work in reversed(gathered.works):
        if work.target.name in early:
            early |= {value.name for value in operands(work) if isinstance(value, Var)}
    names = (work.target.name for work in gathered.works)
    return {name: AFTER if name in late else BEFORE if name in early else LOOP for name in names}


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
