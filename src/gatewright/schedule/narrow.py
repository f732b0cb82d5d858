"""Which saved values a gradient may read in 16 bits, and in which form they are stored.

A factor that is rounded to bfloat16 changes a gradient about as much as the rounded operand of a product does. Two
kinds of values are more sensitive:

- Coefficients that carry the gradient back in time, such as the forget gate of an LSTM: `d(c)' = d(c) * f`. Many steps
  multiply them with one another. A gate of 0.9985 would be rounded to 1, and after 1000 steps the gradient would be 4.5
  times as large. So such a gate is stored as its distance from 1: the relative error of `1 - f` is at most 2^-9, and
  whatever the number of steps that of the carried gradient is no more than that of its first value times 2^-9.
  A coefficient of another kind is stored as it is, in float32.
- Values that anything else than a product of elements reads. A difference of rounded numbers may lose all digits.
"""

from collections.abc import Iterator, Mapping
from enum import StrEnum

from gatewright.lang.ops import SUMS, Op
from gatewright.schedule.program import Program, Storage
from gatewright.schedule.residuals import StepPair
from gatewright.trace.analysis import needed, reached
from gatewright.trace.ir import Atom, Equation, Literal, Trace, Var, names_of


class NarrowForm(StrEnum):
    """What is rounded to bfloat16."""

    VALUE = "value"
    FROM_ONE = "1 - value"


Narrow = Mapping[str, NarrowForm]
"""The values that are stored in bfloat16, by their names."""
_FROM_0_TO_1 = (Op.SIGMOID, Op.HARD_SIGMOID)


def narrow_saved(pair: StepPair, forward: Program) -> dict[str, NarrowForm]:
    """The saved values that may be stored in bfloat16, by the names that the gradient has for them; `forward` is the
    Program of the step that saves.

    The forward run itself does not read them again: its gates and states are those of float32.
    """
    emits, carry = dict(pair.forward.emits), _Carry(pair.backward)
    gates = {equation.target.name for equation in pair.forward.equations if equation.op in _FROM_0_TO_1}
    read = names_of(value for name, value in emits.items() if name not in pair.saved) | _read_later(forward)
    forms: dict[str, NarrowForm] = {}
    for name in pair.saved:
        value = emits[name]
        if not isinstance(value, Var) or len(value.shape) != 1 or value.name in read:
            continue
        if forward.storage[value.name] is not Storage.SEQUENCE or not _is_factor(pair.backward, name):
            continue
        if name not in carry.coefficients:
            forms[name] = NarrowForm.VALUE
        elif value.name in gates and name in carry.gate_forms:
            forms[name] = carry.gate_forms[name]
    return forms


def stored_names(pair: StepPair, narrow: Narrow) -> dict[str, NarrowForm]:
    """The same values by the names that the step has for them."""
    values = dict(pair.forward.emits)
    return {value.name: form for name, form in narrow.items() if isinstance(value := values[name], Var)}


class _Carry:
    """How the states of a gradient get from step to step, element by element.

    - `coefficients`: what multiplies a state on its way to itself at a later step, and all that this is computed from.
      Ways through matrix products do not count: these round their operands too.
    - `gate_forms`: those that are the only factor of a state's way, as they are or as `1 - gate`; and how to store them
      so that this factor's distance from 1 is exact to 8 bits.
    """

    def __init__(self, trace: Trace) -> None:
        self._define = trace.definitions()
        self._equations = [equation for equation in trace.equations if equation.op is not Op.MATMUL]
        self._new = {state.name: value.name for state, value in trace.updates() if isinstance(value, Var)}
        self._reach = {name: reached(self._equations, [name]) for name in self._new}
        factors: set[str] = set()
        gates: set[tuple[str, NarrowForm] | None] = set()
        for start, end in self._ways():
            inner = self._reach[start] & needed(self._equations, [self._new[end]])
            scaling = [e for e in self._equations if e.target.name in inner and e.op not in SUMS]
            factors |= {name for e in scaling for name in names_of(e.args) - self._reach[start]}
            if scaling:
                gates.add(self._gate_of(start, scaling) if start == end else None)
        self.coefficients = needed(self._equations, factors)
        forms = dict(gate for gate in gates if gate)
        self.gate_forms = forms if None not in gates and len(forms) == len(gates) else {}

    def _ways(self) -> Iterator[tuple[str, str]]:
        """The ways of a step from one state to another that leads back to the first one, perhaps over others."""
        for start, reach in self._reach.items():
            for end, value in self._new.items():
                if value in reach and self._leads_to(end, start):
                    yield start, end

    def _leads_to(self, first: str, last: str) -> bool:
        known, todo = {first}, [first]
        while todo:
            reach = self._reach[todo.pop()]
            following = {name for name, value in self._new.items() if value in reach} - known
            known |= following
            todo += following
        return last in known

    def _gate_of(self, state: str, scaling: list[Equation]) -> tuple[str, NarrowForm] | None:
        """The gate that is the only factor of the only way from a state to its new value, if there is one: with a
        second factor, or as one of several terms, a state could become larger, and its error with it."""
        if len(scaling) != 1 or scaling[0].op is not Op.MUL or self._count_ways(state) != 1:
            return None
        (factor,) = names_of(scaling[0].args) - self._reach[state] or {""}
        defined = self._define.get(factor)
        if defined is None:
            return factor, NarrowForm.FROM_ONE
        if defined.op is Op.SUB and defined.args[0] == Literal(1.0) and isinstance(defined.args[1], Var):
            return defined.args[1].name, NarrowForm.VALUE
        return None

    def _count_ways(self, state: str) -> int:
        counts = {state: 1}
        for equation in self._equations:
            counts[equation.target.name] = sum(counts.get(arg.name, 0) for arg in equation.args if isinstance(arg, Var))
        return counts[self._new[state]]


def _read_later(program: Program) -> frozenset[str]:
    """The values that a stage reads which has not computed them itself, and those that are summed over rows."""
    sums = [value for total in program.row_sums for value in (total.left, total.right) if value]
    return names_of([*sums, *_read_by_others(program)])


def _read_by_others(program: Program) -> Iterator[Atom]:
    for _, stages in program.passes():
        for stage in stages:
            own = {work.target.name for work in stage.works()}
            yield from (value for value in stage.reads() if isinstance(value, Var) and value.name not in own)


def _is_factor(trace: Trace, name: str) -> bool:
    """Whether a value, and its difference from a number, is only read as a factor of elements."""
    if name in names_of(trace.outputs()):
        return False
    readers = [equation for equation in trace.equations if name in names_of(equation.args)]
    return all(
        equation.op is Op.MUL or (_has_offset(equation) and _is_factor(trace, equation.target.name))
        for equation in readers
    )


def _has_offset(equation: Equation) -> bool:
    """Whether an equation adds a number to a value, or subtracts one of them from the other, as `1 - z` does."""
    return equation.op in SUMS and sum(isinstance(arg, Var) for arg in equation.args) == 1
