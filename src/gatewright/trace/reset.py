"""Resets: where the reset is not 0, a step reads 0 in place of every state, as the first step of a sequence does."""

from dataclasses import replace

from gatewright.lang.ops import Op
from gatewright.trace.check import check
from gatewright.trace.ir import Equation, Literal, Trace, Var, with_uses

RESET = "reset?"
"""The name of the input. No equation of a cell can hold it: many cells have a gate called reset."""


def reset_trace(trace: Trace) -> Trace:
    """The trace with a further scalar input, `reset?`, by which a row's states start anew before the step.

    Every use of a state h becomes one of where(reset?, 0, h). So nothing of the steps before reaches a result, and
    nothing of the gradient reaches these steps. A mask belongs inside: `reset_trace(masked_trace(trace))` starts a row
    anew even where it takes no step. A trace that has such an input is returned as it is.
    """
    if any(value.name == RESET for value in trace.inputs):
        return trace
    reset = Var(RESET, ())
    read = {state.name: Var(f"{state.name}?", state.shape) for state in trace.states}
    started = tuple(Equation(read[state.name], Op.WHERE, (reset, Literal(0.0), state)) for state in trace.states)
    reading = with_uses(trace, lambda value: read.get(value.name, value))
    result = replace(
        reading,
        name=f"reset({trace.name})",
        inputs=(*trace.inputs, reset),
        equations=(*started, *reading.equations),
    )
    check(result)
    return result
