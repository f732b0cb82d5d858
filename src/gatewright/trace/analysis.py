"""Static analysis of a Trace: dependencies, what has to stay in the loop over time, and cost."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from gatewright.axes import bind
from gatewright.lang.ops import Op
from gatewright.trace.ir import Equation, Trace, names_of

_FREE_OF_WORK = frozenset({Op.TRANSPOSE, Op.EXPAND, Op.SIZE, Op.RELABEL})


def depends_on_state(trace: Trace) -> frozenset[str]:
    """The names of the states, and of every value that one of them reaches."""
    return reached(trace.equations, (state.name for state in trace.states))


def shared(trace: Trace) -> frozenset[str]:
    """The names of the parameters and of what depends on nothing else: the same for all rows and steps."""
    changing = [*trace.inputs, *trace.states, *(noise.var for noise in trace.noises)]
    values = [*trace.params, *(equation.target for equation in trace.equations)]
    return names_of(values) - reached(trace.equations, names_of(changing))


def reads(trace: Trace) -> frozenset[str]:
    """The names of the states whose old value is used; the output state of SRU and QRNN is not."""
    used = names_of(arg for equation in trace.equations for arg in equation.args) | names_of(trace.outputs())
    return used & {state.name for state in trace.states}


def matrices_that_only_multiply(trace: Trace) -> frozenset[str]:
    """The names of the matrices that multiply vectors and do nothing else: they may be kept in another form."""
    factors = {equation.args[0] for equation in trace.equations if equation.op is Op.MATMUL}
    others = {arg for equation in trace.equations for arg in equation.args[equation.op is Op.MATMUL :]}
    return names_of(factors) - names_of(others | set(trace.next_states))


@dataclass(frozen=True, slots=True)
class Split:
    """The equations of a step, in their order, by when they can be computed."""

    before: tuple[Equation, ...]  # for all time steps at once: no state reaches them
    loop: tuple[Equation, ...]  # one step after the other: a state reaches them, and they reach the next value of one
    after: tuple[Equation, ...]  # for all time steps at once: they only need the states of every step


def split(trace: Trace) -> Split:
    """Take out of the loop what need not be in it. The next value of a state that is not read need not be."""
    stepwise, read = depends_on_state(trace), reads(trace)
    carried = names_of(new for state, new in trace.updates() if state.name in read)
    inner = stepwise & needed(trace.equations, carried)
    outer = stepwise - inner
    return Split(
        before=tuple(equation for equation in trace.equations if equation.target.name not in stepwise),
        loop=tuple(equation for equation in trace.equations if equation.target.name in inner),
        after=tuple(equation for equation in trace.equations if equation.target.name in outer),
    )


def parameter_count(trace: Trace, sizes: Mapping[str, int]) -> int:
    """How many numbers the parameters hold.

    Raises OptionError where an axis has no size.
    """
    return sum(prod(bind(param.shape, sizes)) for param in trace.params)


def flops(trace: Trace, sizes: Mapping[str, int]) -> int:
    """The floating-point operations of one row and one step.

    A product of an m by n matrix and a vector counts 2mn (a product and an addition an entry), an outer
    product mn, a sum or mean one an element, every other op, `exp` as `add`, one an element of its result.
    Moving values (transpose, expand, size, relabel) counts nothing, nor does what only parameters go into.

    Raises OptionError where an axis has no size.
    """
    once = shared(trace)
    return sum(_work(equation, sizes) for equation in trace.equations if equation.target.name not in once)


def _work(equation: Equation, sizes: Mapping[str, int]) -> int:
    if equation.op in _FREE_OF_WORK:
        return 0
    if equation.op is Op.MATMUL:
        return 2 * prod(bind(equation.args[0].shape, sizes))
    counted = equation.args[0] if equation.op in (Op.SUM, Op.MEAN) else equation.target
    return prod(bind(counted.shape, sizes))


def reached(equations: Iterable[Equation], sources: Iterable[str]) -> frozenset[str]:
    """The sources and everything computed from them."""
    names = set(sources)
    for equation in equations:
        if not names.isdisjoint(names_of(equation.args)):
            names.add(equation.target.name)
    return frozenset(names)


def needed(equations: Sequence[Equation], outputs: Iterable[str]) -> frozenset[str]:
    """The outputs and everything that they are computed from."""
    names = set(outputs)
    for equation in reversed(equations):
        if equation.target.name in names:
            names |= names_of(equation.args)
    return frozenset(names)
