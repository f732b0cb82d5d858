"""A step linearised in its states, where each unit recurs by itself: what Newton's iterations over all steps need.

A step `s' = f(s)` recurs unit by unit where element i of every new state needs element i of the old states only. Its
Jacobian is then one small matrix a unit: a number for a cell of one state, 2 x 2 for an LSTM without matrices of the
states. Around values g that stand for the states, `f(s)` is about `J s + (f(g) - J g)`, and that is an affine
recurrence, which a scan computes for all steps at once.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache

from gatewright.derive import jvp
from gatewright.lang.ops import ELEMENTWISE, Op, result_shape
from gatewright.schedule.passes import axis_classes
from gatewright.trace.analysis import needed, reached, reads, shared, split
from gatewright.trace.ir import Atom, Equation, Literal, Trace, Var, names_of, renamed
from gatewright.trace.recurrence import spelled
from gatewright.trace.simplify import simplify, substitute

_UNIT_BY_UNIT = ELEMENTWISE | {Op.RELABEL, Op.EXPAND, Op.SIZE}


@dataclass(frozen=True, slots=True)
class UnitRecurrence:
    """Whether the units of a cell recur each by itself.

    - `states`: the states that are read, which are coupled within a unit.
    - `obstacle`: why a unit needs others as well; empty where none does.
    """

    states: tuple[Var, ...]
    obstacle: str = ""


@dataclass(frozen=True, slots=True)
class LinearizedStep:
    """The new values of the states of one step, and their Jacobian.

    - `states`: the n states that are read.
    - `known`: what no state reaches and is more than elementwise, as a trace without states. It emits the inputs of
      `trace` that it computes, under their names.
    - `trace`: takes inputs of the step, what `known` emits, parameters, the states before the step under their names,
      and the states after it as `after(h)`. It has no states, and computes what is named below.
    - `new`: the n new states.
    - `slopes`: n rows of n values: the derivatives of a new state by each old state.
    - `offsets`: each new state less its row of slopes times the old states.
    - `is_affine`: no slope depends on a state. Then new states are slopes times old ones plus offsets exactly.
    """

    states: tuple[Var, ...]
    known: Trace
    trace: Trace
    new: tuple[Atom, ...]
    slopes: tuple[tuple[Atom, ...], ...]
    offsets: tuple[Atom, ...]
    is_affine: bool


def after(state: str) -> str:
    """The name of a state's value after the step, as an input of a linearised step."""
    return f"after({state})"


def unit_recurrence(trace: Trace) -> UnitRecurrence:
    """Tell whether each unit of a cell recurs by itself, and in which states."""
    read = reads(trace)
    states = tuple(state for state in trace.states if state.name in read)
    alias = axis_classes(trace)
    axes = {tuple(alias.get(axis, axis) for axis in state.shape) for state in states}
    if not states:
        return UnitRecurrence((), "no state is read")
    if len(axes) > 1 or any(len(state.shape) > 1 for state in states):
        names = ", ".join(f"{state.name}({', '.join(state.shape)})" for state in states)
        return UnitRecurrence(states, f"the states are not along one axis: {names}")
    moving = reached(trace.equations, names_of(states))
    for equation in split(trace).loop:
        used = [arg for arg in equation.args if isinstance(arg, Var) and arg.name in moving]
        across = equation.op not in _UNIT_BY_UNIT or any(
            tuple(alias.get(axis, axis) for axis in value.shape) not in axes for value in used
        )
        if across:
            return UnitRecurrence(states, f"a unit reaches others through {spelled(equation)}")
    return UnitRecurrence(states)


@lru_cache(maxsize=64)
def linearized(trace: Trace) -> LinearizedStep:
    """The linearised step of a trace for which `unit_recurrence` finds no obstacle."""
    states = unit_recurrence(trace).states
    # values that become inputs need names of their own: a derivative counts its own values from %0 again
    names = {equation.target.name: f"known {index}" for index, equation in enumerate(split(trace).before)}
    trace = renamed(trace, {name: new for name, new in names.items() if name.startswith("%")})
    parts = split(trace)
    new = tuple(value for state, value in trace.updates() if state in states)
    wide = _wide(trace, parts.before)
    narrow = tuple(equation for equation in parts.before if equation.target.name not in wide)
    reached_by = needed([*narrow, *parts.loop], names_of(new))
    equations = tuple(equation for equation in (*narrow, *parts.loop) if equation.target.name in reached_by)
    step = Trace(
        name=f"linearized({trace.name})",
        inputs=_sources(trace, equations, new),
        states=states,
        params=(),
        noises=(),
        equations=equations,
        next_states=new,
    )
    return _assembled(step, _Jacobian(step), _known(trace, wide, step.inputs))


def _wide(trace: Trace, before: Iterable[Equation]) -> frozenset[str]:
    """Of the values that no state reaches, those to be computed before: all that is not elementwise for each row, or
    goes into that. The others are cheap to compute again in each iteration, and not cheap to load."""
    before = tuple(before)
    once = shared(trace)
    wide = {
        equation.target.name
        for equation in before
        if equation.op not in _UNIT_BY_UNIT or equation.target.name in once or len(equation.target.shape) > 1
    }
    return needed(before, wide) & {equation.target.name for equation in before}


def _known(trace: Trace, wide: frozenset[str], inputs: Iterable[Var]) -> Trace:
    """The trace that computes what the linearised step takes and no leaf is."""
    return simplify(
        Trace(
            name=f"known({trace.name})",
            inputs=trace.inputs,
            states=(),
            params=trace.params,
            noises=trace.noises,
            equations=tuple(equation for equation in trace.equations if equation.target.name in wide),
            next_states=(),
            emits=tuple((value.name, value) for value in inputs if value.name in wide),
        )
    )


def _sources(trace: Trace, equations: Iterable[Equation], outputs: Iterable[Atom]) -> tuple[Var, ...]:
    """What equations and outputs take from elsewhere, states aside, in the order of the trace."""
    equations = tuple(equations)
    used = names_of(arg for equation in equations for arg in equation.args) | names_of(outputs)
    inside = {equation.target.name for equation in equations} | {state.name for state in trace.states}
    return tuple(value for value in trace.values() if value.name in used - inside)


class _Jacobian:
    """New states and their derivatives by each old state, by forward mode once a state.

    Each time repeats the equations of the step; simplifying joins them.
    """

    def __init__(self, step: Trace) -> None:
        count, both = len(step.states), jvp(step)
        tangents = dict(zip(both.states[:count], both.states[count:], strict=True))
        still = {value.name: Literal(0.0) for value in both.inputs[len(step.inputs) :]}
        self.equations: list[Equation] = []
        self.columns: list[tuple[Atom, ...]] = []
        self.new: tuple[Atom, ...] = ()
        for index, moving in enumerate(step.states):
            unit = {tangents[state].name: Literal(float(state is moving)) for state in step.states}
            column = substitute(both, still | unit)
            if index:
                again = {e.target.name: f"{e.target.name} by {moving.name}" for e in column.equations}
                column = renamed(column, again)
            self.equations += column.equations
            self.columns.append(column.next_states[count:])
            self.new = self.new or column.next_states[:count]


def _assembled(step: Trace, jacobian: _Jacobian, known: Trace) -> LinearizedStep:
    """Add offsets to new states and slopes, and simplify all of it as one trace."""
    equations = list(jacobian.equations)
    rows = range(len(step.states))
    slopes = [[jacobian.columns[column][row] for column in rows] for row in rows]
    is_affine = names_of(atom for row in slopes for atom in row).isdisjoint(reached(equations, names_of(step.states)))

    def compute(op: Op, *args: Atom) -> Var:
        shape = result_shape(op, tuple(arg.shape for arg in args), ())
        equations.append(Equation(Var(f"offset {len(equations)}", shape), op, args))
        return equations[-1].target

    def offset(row: int) -> Atom:
        value = jacobian.new[row]
        for slope, old in zip(slopes[row], step.states, strict=True):
            value = value if slope == Literal(0.0) else compute(Op.SUB, value, compute(Op.MUL, slope, old))
        return value

    emits: dict[str, Atom] = {f"new {row}": jacobian.new[row] for row in rows}
    emits |= {f"slope {row} {column}": slopes[row][column] for row in rows for column in rows}
    if not is_affine:
        emits |= {f"offset {row}": offset(row) for row in rows}
    afters = tuple(Var(after(state.name), state.shape) for state in step.states)
    inputs = (*step.inputs, *step.states, *afters)
    whole = replace(step, inputs=inputs, states=(), equations=tuple(equations), next_states=())
    if is_affine:  # offsets are the new states where the old ones are 0: nothing cancels
        zeros = {state.name: Literal(0.0) for state in step.states}
        origin = substitute(replace(whole, emits=tuple((f"offset {row}", jacobian.new[row]) for row in rows)), zeros)
        origin = renamed(origin, {e.target.name: f"{e.target.name} at 0" for e in origin.equations})
        emits |= dict(origin.emits)
        whole = replace(whole, equations=(*equations, *origin.equations))
    whole = simplify(replace(whole, emits=tuple(emits.items())))
    result = _numbers(whole)
    return LinearizedStep(
        states=step.states,
        known=known,
        trace=whole,
        new=tuple(result[f"new {row}"] for row in rows),
        slopes=tuple(tuple(result[f"slope {row} {column}"] for column in rows) for row in rows),
        offsets=tuple(result[f"offset {row}"] for row in rows),
        is_affine=is_affine,
    )


def _numbers(trace: Trace) -> dict[str, Atom]:
    """What a trace emits, by name; a number that is only spread over the units is that number."""
    define = trace.definitions()
    result = dict(trace.emits)
    for name, value in trace.emits:
        equation = define.get(value.name) if isinstance(value, Var) else None
        if equation and equation.op is Op.EXPAND and isinstance(equation.args[0], Literal):
            result[name] = equation.args[0]
    return result
