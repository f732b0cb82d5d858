"""What the forward run saves for the gradient, and what the gradient computes again.

The derivative of a step repeats the step's own equations. `save` cuts them out: what is dear (a product, an
activation) is given out by the forward run and handed to the gradient; what is cheap is computed again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from gatewright.derive import vjp
from gatewright.schedule.keep import CHEAP
from gatewright.trace.analysis import shared
from gatewright.trace.ir import Atom, Equation, Literal, Trace, Var
from gatewright.trace.simplify import simplify


class Save(StrEnum):
    """What a forward run saves."""

    VALUES = "values"  # every dear value that the gradient needs: the fastest gradient
    NOTHING = "nothing"  # inputs and states only; the gradient repeats the step: the least memory


@dataclass(frozen=True, slots=True)
class Choices:
    """What a schedule may choose."""

    save: Save = Save.VALUES


@dataclass(frozen=True, slots=True)
class Pair:
    """A step that saves, and its gradient that is given what was saved."""

    forward: Trace  # emits what is saved, under the names that the gradient's inputs have
    backward: Trace
    saved: tuple[str, ...]


def saved(name: str) -> str:
    """The name under which a value of the forward run is saved."""
    return f"saved({name})"


def save(trace: Trace, outputs: tuple[str, ...] | None = None, choices: Choices | None = None) -> Pair:
    """Choose what is saved between a step and its gradient by the states named in `outputs`."""
    trace = simplify(trace)
    backward = vjp(trace, outputs)
    if (choices or Choices()).save is Save.NOTHING:
        return Pair(trace, backward, ())
    own = _expressions(trace)
    chosen = _chosen(backward, _repeated(trace, backward, own))
    forward_names = {expression: name for name, expression in own.items()}
    of_backward = _expressions(backward)
    values = {equation.target.name: equation.target for equation in trace.equations}
    # a value is saved under its name in the step, which is the same for every gradient of the step
    sources = {name: values[forward_names[of_backward[name]]] for name in chosen}
    emits = tuple((saved(value.name), value) for value in sources.values())
    cut = {name: Var(saved(value.name), value.shape) for name, value in sources.items()}
    return Pair(
        forward=replace(trace, emits=(*trace.emits, *emits)),
        backward=simplify(_given(backward, cut)),
        saved=tuple(name for name, _ in emits),
    )


def _expressions(trace: Trace) -> dict[str, int]:
    """A number for each value that tells equal expressions of equal leaves, across traces."""
    numbers: dict[str, int] = {leaf.name: hash(("leaf", leaf.name)) for leaf in trace.leaves()}
    for one in trace.equations:
        args = tuple(arg.value if isinstance(arg, Literal) else numbers[arg.name] for arg in one.args)
        numbers[one.target.name] = hash((one.op, args, one.attrs))
    return numbers


def _repeated(trace: Trace, backward: Trace, own: Mapping[str, int]) -> set[str]:
    """The values of the gradient that the forward step computes as well, for each row."""
    known = {own[one.target.name] for one in trace.equations}
    for_all_rows = shared(backward)
    return {
        name for name, expression in _expressions(backward).items() if expression in known and name not in for_all_rows
    }


def _chosen(backward: Trace, repeated: set[str]) -> dict[str, tuple[str, ...]]:
    """The repeated values to hand over: the dear ones that are needed, and cheap ones that would need further dear
    ones."""
    define = {one.target.name: one for one in backward.equations}
    needed = _needed(backward, repeated, define)
    chosen = {name for name in needed if name in repeated and define[name].op not in CHEAP}
    for equation in backward.equations:
        name = equation.target.name
        if (
            name in needed
            and name in repeated
            and name not in chosen
            and not _sources(name, define, repeated) <= chosen
        ):
            chosen.add(name)
    return {one.target.name: one.target.shape for one in backward.equations if one.target.name in chosen}


def _needed(backward: Trace, repeated: set[str], define: Mapping[str, Equation]) -> set[str]:
    """The values that the gradient's own equations use, cheap ones looked through as far as they are not repeated."""
    outputs = {value.name for value in backward.outputs() if isinstance(value, Var)}
    used = {
        a.name for one in backward.equations if one.target.name not in repeated for a in one.args if isinstance(a, Var)
    }
    return {name for name in outputs | used if name in define}


def _sources(name: str, define: Mapping[str, Equation], repeated: set[str]) -> set[str]:
    """The dear values that a cheap one is made of."""
    equation = define.get(name)
    if equation is None:
        return set()
    if equation.op not in CHEAP:
        return {name}
    return set().union(*(_sources(arg.name, define, repeated) for arg in equation.args if isinstance(arg, Var)))


def _given(backward: Trace, cut: Mapping[str, Var]) -> Trace:
    """The gradient with values taken as inputs instead of computed."""

    def atom(value: Atom) -> Atom:
        return cut.get(value.name, value) if isinstance(value, Var) else value

    return replace(
        backward,
        inputs=(*backward.inputs, *cut.values()),
        equations=tuple(
            replace(one, args=tuple(map(atom, one.args))) for one in backward.equations if one.target.name not in cut
        ),
        next_states=tuple(map(atom, backward.next_states)),
        emits=tuple((name, atom(value)) for name, value in backward.emits),
        sums=tuple((name, atom(value)) for name, value in backward.sums),
    )
