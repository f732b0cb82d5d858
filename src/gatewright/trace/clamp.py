"""Clamped gates: what a cell does when a gate has a fixed value in some units."""

from dataclasses import replace

from gatewright.lang.ops import Op
from gatewright.trace.check import check
from gatewright.trace.ir import Equation, Trace, Var

KEEP, SET = "keep", "set"
"""The spaces of the parameters that clamp a gate: g * keep.g + set.g stands wherever the equations use the gate g."""


def clamped_trace(trace: Trace) -> Trace:
    """The trace with parameters `keep.g` and `set.g` for each gate g, by unit.

    Where keep is 1 and set is 0, the gate is as before. Where keep is 0, it has the value of set. The names of the
    gates, of the states and of all other parameters stay.
    """
    gates = {gate.name: name for name, gate in trace.gates if gate.name in trace.definitions()}
    equations: list[Equation] = []
    for equation in trace.equations:
        target = equation.target
        if target.name not in gates:
            equations.append(equation)
            continue
        name = gates[target.name]
        computed, kept = Var(f"{target.name}?", target.shape), Var(f"{target.name}?{KEEP}", target.shape)
        equations += [
            replace(equation, target=computed),
            Equation(kept, Op.MUL, (computed, Var(f"{KEEP}.{name}", target.shape)), where=equation.where),
            Equation(target, Op.ADD, (kept, Var(f"{SET}.{name}", target.shape)), where=equation.where),
        ]
    shapes = {name: gate.shape for name, gate in trace.gates if gate.name in gates}
    params = (Var(f"{space}.{name}", shape) for space in (KEEP, SET) for name, shape in shapes.items())
    clamped = replace(trace, name=f"clamped({trace.name})", params=(*trace.params, *params), equations=tuple(equations))
    check(clamped)
    return clamped
