"""Which saved values a gradient may read in 16 bits: those that are only factors, and are not carried from step to step.

A factor that is rounded to bfloat16 changes a gradient about as much as the rounded operand of a product does. There
are two kinds of values that stay as they are:

- Coefficients of the way back in time, such as the forget gate of an LSTM: `d(c)' = d(c) * f`. Many steps multiply
  them with one another. A gate of 0.9985 would become 1, and after 1000 steps a gradient 4.5 times as large.
- Values that anything else than a product of elements reads. A difference of rounded numbers may lose all digits.
"""

from collections.abc import Iterator

from gatewright.lang.ops import SUMS, Op
from gatewright.schedule.program import Program, Storage
from gatewright.schedule.residuals import StepPair
from gatewright.trace.analysis import needed, reached
from gatewright.trace.ir import Equation, Literal, Trace, Var, names_of


def narrow_saved(pair: StepPair, forward: Program) -> frozenset[str]:
    """The names of the saved values that may be stored in bfloat16; `forward` is the Program of the step that saves.

    The forward run itself does not read them again: its gates and states are those of float32.
    """
    emits, exact = dict(pair.forward.emits), carry_coefficients(pair.backward)
    results = names_of(value for name, value in emits.items() if name not in pair.saved)
    read = results | _read_later(forward)
    return frozenset(
        name
        for name in pair.saved
        if isinstance(value := emits[name], Var)
        and len(value.shape) == 1
        and forward.storage[value.name] is Storage.SEQUENCE
        and value.name not in read
        and name not in exact
        and _is_factor(pair.backward, name)
    )


def carry_coefficients(trace: Trace) -> frozenset[str]:
    """What multiplies a carried state on its way to itself at a later step, element by element, and all that this is
    computed from. Ways through matrix products do not count: these round their operands too.
    """
    by_element = [equation for equation in trace.equations if equation.op is not Op.MATMUL]
    new = {state.name: value.name for state, value in trace.updates() if isinstance(value, Var)}
    reach = {name: reached(by_element, [name]) for name in new}
    coefficients: set[str] = set()
    for start in new:
        for end in new:
            if new[end] in reach[start] and _leads_to(end, start, new, reach):
                inner = reach[start] & needed(by_element, [new[end]])
                scaling = (e for e in by_element if e.target.name in inner and e.op not in SUMS)
                coefficients |= {name for e in scaling for name in names_of(e.args) - reach[start]}
    return needed(by_element, coefficients)


def _leads_to(first: str, last: str, new: dict[str, str], reach: dict[str, frozenset[str]]) -> bool:
    """Whether a state reaches another one over any number of steps; itself in none."""
    known, todo = {first}, [first]
    while todo:
        own = reach[todo.pop()]
        following = {name for name, value in new.items() if value in own} - known
        known |= following
        todo += following
    return last in known


def _read_later(program: Program) -> frozenset[str]:
    """The values that a stage reads which has not computed them itself, and those that are summed over rows."""
    sums = (value for total in program.row_sums for value in (total.left, total.right) if value)
    return names_of([*sums, *_read_by_others(program)])


def _read_by_others(program: Program) -> Iterator[Var | Literal]:
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
