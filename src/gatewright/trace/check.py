"""The checker of Traces: run after every pass, so that a broken pass is found where it breaks."""

from collections.abc import Iterable, Mapping

from gatewright.axes import OPEN, show_shape
from gatewright.errors import TraceError
from gatewright.lang.ops import OPS, UnfitShapesError, result_shape
from gatewright.lang.symbol import Redraw
from gatewright.trace.ir import Atom, Equation, Literal, Trace, Var


def check(trace: Trace) -> None:
    """Hold every rule of a Trace: names are defined once and before use, shapes follow from the ops, outputs fit.

    Raises TraceError, which names the trace and the equation.
    """
    defined = _check_leaves(trace)
    for equation in trace.equations:
        check_equation(trace.name, equation, defined)
        defined[equation.target.name] = equation.target
    _check_outputs(trace, defined)


def _fault(cell: str, problem: str, expected: str, got: str) -> TraceError:
    return TraceError(f"trace {cell!r}: {problem}", expected=expected, got=got)


def _check_leaves(trace: Trace) -> dict[str, Var]:
    defined: dict[str, Var] = {}
    for leaf in trace.leaves():
        if leaf.name in defined or not leaf.name:
            raise _fault(
                trace.name, f"{leaf.name!r} is declared twice or empty", "one declaration a name", repr(leaf.name)
            )
        if any(not axis or axis == OPEN for axis in leaf.shape):
            raise _fault(trace.name, f"{leaf.name} has an axis without a name", "named axes", str(leaf.shape))
        defined[leaf.name] = leaf
    for noise in trace.noises:
        if not 0 <= noise.probability <= 1 or noise.per not in list(Redraw):
            expected = "a probability from 0 to 1, per step or sequence"
            raise _fault(
                trace.name, f"{noise.var.name} cannot be drawn", expected, f"{noise.probability} per {noise.per}"
            )
    return defined


def check_equation(cell: str, equation: Equation, defined: Mapping[str, Var]) -> None:
    """Hold the rules of one equation of a cell, given the values that are defined before it.

    Raises TraceError.
    """
    target, row = equation.target, OPS[equation.op]
    if target.name in defined:
        raise _fault(cell, f"{target.name} is assigned twice", "single assignment", f"{target.name} = {equation.op}")
    if len(equation.args) != row.arity:
        raise _fault(cell, f"{target.name} = {equation.op}", f"{row.arity} operand(s)", str(len(equation.args)))
    _check_defined(cell, equation.args, defined, f"{target.name} = {equation.op}")
    if tuple(name for name, _ in equation.attrs) != tuple(sorted(row.attrs)):
        raise _fault(cell, f"{target.name} = {equation.op}", f"attributes {row.attrs}", str(equation.attrs))
    shapes = tuple(arg.shape for arg in equation.args)
    try:
        shape = result_shape(equation.op, shapes, equation.attrs)
    except UnfitShapesError as unfit:
        got = ", ".join(map(show_shape, shapes))
        raise _fault(cell, f"{target.name} = {equation.op}", unfit.expected, got) from None
    if shape != target.shape:
        raise _fault(cell, f"{target.name} = {equation.op}", show_shape(shape), show_shape(target.shape))


def _check_defined(cell: str, values: Iterable[Atom], defined: Mapping[str, Var], what: str) -> None:
    for value in values:
        if isinstance(value, Var) and defined.get(value.name) != value:
            raise _fault(cell, what, "values that are defined before", f"{value.name} {show_shape(value.shape)}")


def _check_outputs(trace: Trace, defined: Mapping[str, Var]) -> None:
    _check_defined(trace.name, trace.outputs(), defined, "the outputs")
    _check_defined(trace.name, (value for _, value in trace.gates), defined, "the gates")
    if len(trace.next_states) != len(trace.states):
        raise _fault(trace.name, "the next states", f"{len(trace.states)}", f"{len(trace.next_states)}")
    for state, value in trace.updates():
        if value.shape != state.shape and not isinstance(value, Literal):
            raise _fault(trace.name, f"next state {state.name}", show_shape(state.shape), show_shape(value.shape))
    names = [name for name, _ in (*trace.emits, *trace.sums, *trace.gates)]
    if len(set(names)) != len(names):
        raise _fault(trace.name, "the outputs", "one output a name", ", ".join(names))
