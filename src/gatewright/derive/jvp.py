"""Forward mode: from the Trace of a step to the Trace of its directional derivative, run forwards in time.

Every input, state and parameter v gets a tangent t(v) beside it; so does every output. Elementwise ops use the rules of
reverse mode, which are their own transposes; linear ops are applied to the tangents.
"""

from gatewright.derive.rules import LINEAR, RULES
from gatewright.derive.vjp import fit
from gatewright.lang.symbol import Operand, Symbol
from gatewright.trace.build import Replay, finish_trace
from gatewright.trace.ir import Atom, Equation, Trace
from gatewright.trace.names import free_order, tangent
from gatewright.trace.simplify import simplify
from gatewright.trace.tracer import Tracer


def jvp(trace: Trace) -> Trace:
    """The step together with its derivative in the direction of the tangents, as a Trace that can be derived again.

    Inputs, states and parameters are those of the step, then their tangents; so are the next states, emits and sums.
    Random values have no tangent.
    """
    order = _order(trace)
    step = Replay(trace, tangent(trace.name, order))
    tracer = step.tracer
    both: dict[str, tuple[Symbol, Symbol]] = {}
    for leaf in (*trace.inputs, *trace.states, *trace.params):
        both[leaf.name] = step.leaves[leaf.name], tracer.leaf(tangent(leaf.name, order), leaf.shape)
    tangents = {id(value): moving for value, moving in both.values()}
    tracer.params = {str(s.name): s for index in (0, 1) for s in (both[param.name][index] for param in trace.params)}
    for equation in trace.equations:
        with tracer.at(equation.where):
            _push(tracer, equation, step, tangents)

    def moved(atom: Atom) -> Operand:
        (value,) = step.operands([atom])
        return tangents.get(id(value), 0.0) if isinstance(value, Symbol) else 0.0

    def doubled(pairs: tuple[tuple[str, Atom], ...]) -> dict[str, Operand]:
        return step.outputs(pairs) | {tangent(name, order): moved(value) for name, value in pairs}

    return simplify(
        finish_trace(
            tracer,
            tangent(trace.name, order),
            inputs=[both[v.name][index] for index in (0, 1) for v in trace.inputs],
            states=[both[v.name][index] for index in (0, 1) for v in trace.states],
            params=tracer.params.values(),
            next_states=[*step.operands(trace.next_states), *map(moved, trace.next_states)],
            emits=doubled(trace.emits),
            sums=doubled(trace.sums),
            order=trace.order,
        )
    )


def _order(trace: Trace) -> int:
    """The lowest order of which no name of a new leaf or output is taken."""
    names = [leaf.name for leaf in trace.leaves()] + [name for name, _ in (*trace.emits, *trace.sums)]
    return free_order(lambda order: [tangent(name, order) for name in names], names)


def _push(tracer: Tracer, equation: Equation, step: Replay, tangents: dict[int, Symbol]) -> None:
    """Compute the tangent of one equation's result from those of its operands."""
    result, operands = step.symbol(equation.target), step.operands(equation.args)
    total: Operand | None = None
    for index, value in enumerate(operands):
        moving = tangents.get(id(value))
        if moving is None:
            continue
        # what the tangent of this operand adds to that of the result
        flow: Operand | None
        if equation.op in LINEAR:
            flow = tracer.emit(equation.op, (*operands[:index], moving, *operands[index + 1 :]), equation.attrs)
        else:
            flow = RULES[equation.op](moving, result, *operands, **dict(equation.attrs))[index]
        if flow is not None:
            total = flow if total is None else total + flow
    if total is not None:
        tangents[id(result)] = fit(tracer, total, result.shape)
