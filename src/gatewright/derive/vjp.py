"""Reverse mode: from the Trace of a step to the Trace of its gradient.

The gradient of a cell is a cell run backwards in time. What it is given and what it gives is told by name:

- inputs: the step's own inputs; the states before the step, under their own names; `d(h.out)`, what the loss says of
  the value of `h` that this step gave out;
- random values: those that the step was given, under their own names;
- states: `d(h)`, the adjoint of state h, carried from the step after;
- emits `d(x)` for every input; sums `d(W.r)` for every parameter.
"""

from collections.abc import Iterable

from gatewright.axes import Shape
from gatewright.derive.rules import RULES
from gatewright.errors import OptionError
from gatewright.lang.functions import sum as sum_of
from gatewright.lang.ops import Op, axes_attrs
from gatewright.lang.symbol import Operand, Symbol
from gatewright.trace.build import Replay, finish_trace
from gatewright.trace.ir import Atom, Trace, Var
from gatewright.trace.names import adjoint, free_order, seed
from gatewright.trace.simplify import simplify
from gatewright.trace.tracer import Tracer


def vjp(trace: Trace, outputs: Iterable[str] | None = None) -> Trace:
    """The gradient of one step, as a Trace that is run backwards in time and can be derived again.

    `outputs` names the states whose value at every step the loss sees, by default the first: what a layer emits. Every
    value that the trace emits or sums is seen as well, but for plain numbers, through which nothing flows.

    Raises OptionError where a name is not a state.
    """
    seen = _seen(trace, outputs)
    order = _order(trace, seen)
    step = Replay(trace, adjoint(trace.name, order))
    tracer, leaves = step.tracer, step.leaves
    seeds = {name: tracer.leaf(seed(name, order), value.shape) for name, value in _given_out(trace, seen)}
    carried = {state.name: tracer.leaf(adjoint(state.name, order), state.shape) for state in trace.states}
    summed = {name: tracer.leaf(adjoint(name, order), value.shape) for name, value in _flowing(trace.sums)}
    tracer.params |= {str(leaf.name): leaf for leaf in summed.values()}
    adjoints = _Adjoints(tracer)
    with tracer.at(None):  # these operations are nobody's line, least of all the caller's
        for state, value in trace.updates():
            if isinstance(value, Var):
                adjoints.add(step.symbol(value), carried[state.name])
                if state.name in seen:
                    adjoints.add(step.symbol(value), seeds[state.name])
        for name, value in _flowing(trace.emits):
            adjoints.add(step.symbol(value), seeds[name])
        for name, value in _flowing(trace.sums):
            adjoints.add(step.symbol(value), summed[name])
    for equation in reversed(trace.equations):
        with tracer.at(equation.where):
            adjoints.through(step.symbol(equation.target), step.operands(equation.args))
    return simplify(
        finish_trace(
            tracer,
            adjoint(trace.name, order),
            inputs=[*(leaves[v.name] for v in (*trace.inputs, *trace.states)), *seeds.values()],
            states=carried.values(),
            params=tracer.params.values(),
            next_states=[adjoints.of(leaves[state.name]) for state in trace.states],
            emits={adjoint(value.name, order): adjoints.of(leaves[value.name]) for value in trace.inputs},
            sums={adjoint(param.name, order): adjoints.of(leaves[param.name]) for param in trace.params},
            order=order,
        )
    )


def _order(trace: Trace, seen: tuple[str, ...]) -> int:
    """The lowest order of which no name of a new leaf is taken."""

    def new(order: int) -> list[str]:
        carried = [state.name for state in trace.states] + [name for name, _ in trace.sums]
        given_out = [name for name, _ in _given_out(trace, seen)]
        return [*(adjoint(name, order) for name in carried), *(seed(name, order) for name in given_out)]

    return free_order(new, {leaf.name for leaf in trace.leaves()})


def _seen(trace: Trace, outputs: Iterable[str] | None) -> tuple[str, ...]:
    states = tuple(state.name for state in trace.states)
    seen = states[:1] if outputs is None else tuple(outputs)
    unknown = [name for name in seen if name not in states]
    if unknown:
        raise OptionError(
            f"trace {trace.name!r} has no state {unknown[0]!r} to derive by",
            expected=", ".join(states),
            got=unknown[0],
        )
    return seen


def _given_out(trace: Trace, seen: tuple[str, ...]) -> list[tuple[str, Var]]:
    states = [(state.name, state) for state in trace.states if state.name in seen]
    return [*states, *_flowing(trace.emits)]


def _flowing(outputs: Iterable[tuple[str, Atom]]) -> list[tuple[str, Var]]:
    """The outputs that are computed. The shape of a number 0 in place of a gradient is not that of the gradient."""
    return [(name, value) for name, value in outputs if isinstance(value, Var)]


class _Adjoints:
    """Collects what flows back into every value."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._of: dict[int, Symbol] = {}

    def of(self, value: Symbol) -> Operand:
        """The adjoint of a value; 0 where nothing flows back."""
        return self._of.get(id(value), 0.0)

    def add(self, value: Symbol, flow: Symbol) -> None:
        """Let `flow` into a value."""
        before = self._of.get(id(value))
        self._of[id(value)] = flow if before is None else before + flow

    def through(self, result: Symbol, operands: tuple[Operand, ...]) -> None:
        """Pass the adjoint of an equation's result on to its operands. Broadcasting is undone: what was repeated is
        summed, what was summed is repeated."""
        g = self._of.get(id(result))
        if g is None or result.op is None:
            return
        flows = RULES[result.op](g, result, *operands, **dict(result.attrs))
        for value, flow in zip(operands, flows, strict=True):
            if isinstance(value, Symbol) and flow is not None:
                repeated = isinstance(flow, Symbol) and flow.shape and not value.shape
                self.add(value, fit(self._tracer, sum_of(flow) if repeated else flow, value.shape))


def fit(tracer: Tracer, value: Operand, shape: Shape) -> Symbol:
    """A value that stands for all elements of `shape`, as one of that shape."""
    if isinstance(value, Symbol) and value.shape == shape:
        return value
    return tracer.emit(Op.EXPAND, (value,), axes_attrs(shape))
