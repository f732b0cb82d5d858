"""When each value of a trace is known, which pass computes it, and which axes one stage can go along."""

from collections.abc import Iterable, Mapping, Sequence

from gatewright.lang.ops import Op
from gatewright.schedule.program import Phase, Work, needs_whole, operands
from gatewright.schedule.scan import ScannedStates
from gatewright.trace.analysis import needed, reached, reads, split
from gatewright.trace.ir import Trace, names_of


def phases(scanned: ScannedStates) -> dict[str, Phase]:
    """When each value is known that depends on more than parameters.

    What depends on scanned states, and serves no other scan and no loop, is computed after the loop.
    """
    trace = scanned.trace
    parts, of_scans = split(trace), reached(trace.equations, scanned.known)
    read = reads(trace)
    carried = [new for state, new in trace.updates() if state.name in read]
    # what scans are made of, and what the loop carries, is needed early
    serving = needed(trace.equations, names_of([*carried, *scanned.new_values.values(), *scanned.coefficients()]))
    early = [equation.target.name for equation in parts.before]
    known = {
        name: Phase.BEFORE if name not in of_scans else Phase.SCAN if name in serving else Phase.AFTER for name in early
    }
    known |= {equation.target.name: Phase.LOOP for equation in parts.loop}
    known |= {equation.target.name: Phase.AFTER for equation in parts.after}
    known |= dict.fromkeys(scanned.known, Phase.SCAN)
    return known | {state.name: Phase.LOOP for state in trace.states}


def choose_passes(
    works: Sequence[Work], phases: Mapping[str, Phase], early: Iterable[str], default: Phase
) -> dict[str, Phase]:
    """The pass of each value. The values in `early`, new values of scanned states, are computed before the loop.

    Elementwise work goes into the pass `default`: the loop, where its operands are in registers anyway; or the pass
    after it, where there is no loop. There are two exceptions. It goes before the loop where it is added to a product
    that is computed there, or is needed there; and after the loop where it needs a product that is computed there.
    """
    wide: set[str] = set()
    late: set[str] = set()
    for work in works:
        name, phase = work.target.name, phases[work.target.name]
        used = names_of(operands(work))
        if phase in (Phase.BEFORE, Phase.SCAN) and (needs_whole(work) or used & wide):
            wide.add(name)
        if (phase is Phase.AFTER and needs_whole(work)) or used & late:
            late.add(name)
    before = wide | set(early)
    for work in reversed(works):
        if work.target.name in before:
            before |= names_of(operands(work))
    names = [work.target.name for work in works]
    return {name: Phase.AFTER if name in late else phases[name] if name in before else default for name in names}


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
