"""What the forward run saves for the gradient, and what the gradient computes again.

The derivative of a step repeats the step's own equations. `save` cuts them out: what is costly (a product, an
activation) is given out by the forward run and handed to the gradient; what is cheap is computed again.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from gatewright.derive import vjp
from gatewright.schedule.keep import CHEAPER_THAN_MEMORY
from gatewright.schedule.program import Choices, Save
from gatewright.trace.analysis import shared
from gatewright.trace.ir import Literal, Trace, Var, names_of, with_uses
from gatewright.trace.simplify import simplify


@dataclass(frozen=True, slots=True)
class StepPair:
    """A step that saves, and its gradient that is given what was saved."""

    forward: Trace  # emits what is saved, under the names that the gradient's inputs have
    backward: Trace
    saved: tuple[str, ...]


def saved(name: str) -> str:
    """The name under which a value of the forward run is saved."""
    return f"saved({name})"


def save(trace: Trace, outputs: tuple[str, ...] | None = None, choices: Choices | None = None) -> StepPair:
    """Choose what is saved between a step and its gradient by the states named in `outputs`."""
    trace = simplify(trace)
    backward = vjp(trace, outputs)
    if (choices or Choices()).save is Save.NOTHING:
        return StepPair(trace, backward, ())
    repeated = _repeated(trace, backward)
    # a value is saved under its name in the step, which is the same for every gradient of the step
    sources = {name: repeated[name] for name in _chosen(backward, repeated)}
    emits = {saved(value.name): value for value in sources.values()}
    cut = {name: Var(saved(value.name), value.shape) for name, value in sources.items()}
    return StepPair(
        forward=replace(trace, emits=(*trace.emits, *emits.items())),
        backward=simplify(_given(backward, cut)),
        saved=tuple(emits),
    )


def _repeated(trace: Trace, backward: Trace) -> dict[str, Var]:
    """The values of the gradient that the forward step computes as well, for each row: its value for each.

    A matrix of a row is none of them: it is only ever summed, and never kept.
    """
    numbers: dict[object, int] = {}
    own = _expressions(trace, numbers)
    kept = [equation.target for equation in trace.equations if len(equation.target.shape) < 2]
    values = {own[value.name]: value for value in kept}
    for_all_rows = shared(backward)  # computed once a call, which costs less than a saved sequence
    return {
        name: values[number]
        for name, number in _expressions(backward, numbers).items()
        if number in values and name not in for_all_rows
    }


def _expressions(trace: Trace, numbers: dict[object, int]) -> dict[str, int]:
    """A number for each value: one for equal expressions of equal leaves, in all traces that share `numbers`."""
    expressions = {leaf.name: numbers.setdefault(leaf.name, len(numbers)) for leaf in trace.leaves()}
    for equation in trace.equations:
        args = tuple(repr(arg.value) if isinstance(arg, Literal) else expressions[arg.name] for arg in equation.args)
        expressions[equation.target.name] = numbers.setdefault((equation.op, args, equation.attrs), len(numbers))
    return expressions


def _chosen(backward: Trace, repeated: Collection[str]) -> list[str]:
    """The repeated values to hand over: the costly ones that are needed, and cheap ones that would need further costly
    ones."""
    needed = _needed(backward, repeated)
    costly = {equation.target.name for equation in backward.equations if equation.op not in CHEAPER_THAN_MEMORY}
    chosen = needed & costly
    # A cheap value is computed again from its costly sources. Where these are not all saved anyway, saving the value
    # itself is one sequence in place of several.
    sources: dict[str, frozenset[str]] = {}
    for equation in backward.equations:
        name = equation.target.name
        made_of = (sources.get(arg.name, frozenset[str]()) for arg in equation.args if isinstance(arg, Var))
        sources[name] = frozenset({name}) if name in costly else frozenset[str]().union(*made_of)
        if name in needed and not sources[name] <= chosen:
            chosen.add(name)
    return [equation.target.name for equation in backward.equations if equation.target.name in chosen]


def _needed(backward: Trace, repeated: Collection[str]) -> set[str]:
    """The repeated values that the gradient gives out, or uses for what it does not repeat."""
    new = (equation for equation in backward.equations if equation.target.name not in repeated)
    return {*names_of([*backward.outputs(), *(arg for equation in new for arg in equation.args)])} & {*repeated}


def _given(backward: Trace, cut: Mapping[str, Var]) -> Trace:
    """The gradient with values taken as inputs instead of computed."""
    left = tuple(equation for equation in backward.equations if equation.target.name not in cut)
    fewer = replace(backward, inputs=(*backward.inputs, *cut.values()), equations=left)
    return with_uses(fewer, lambda value: cut.get(value.name, value))
