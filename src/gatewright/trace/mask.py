"""Masked steps: where the mask is 0, every state keeps its value."""

from dataclasses import replace

from gatewright.lang.ops import Op
from gatewright.trace.check import check
from gatewright.trace.ir import Equation, Trace, Var

MASK = "mask"


def masked_trace(trace: Trace) -> Trace:
    """The trace with a further scalar input, `mask`, by which a row's states advance or stay.

    It is `gw.masked` for a cell that is known by its trace only. A trace that has such an input is given back as it is.
    """
    if any(value.name == MASK for value in trace.inputs):
        return trace
    mask = Var(MASK, ())
    chosen = tuple(Var(f"{state.name}'?", state.shape) for state in trace.states)
    keep = tuple(
        Equation(target, Op.WHERE, (mask, new, state))
        for target, new, state in zip(chosen, trace.next_states, trace.states, strict=True)
    )
    masked = replace(
        trace,
        name=f"masked({trace.name})",
        inputs=(*trace.inputs, mask),
        equations=(*trace.equations, *keep),
        next_states=chosen,
    )
    check(masked)
    return masked
