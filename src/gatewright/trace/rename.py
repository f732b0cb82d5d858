"""The same Trace with some values under other names, or with other values in their place."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from gatewright.trace.ir import Atom, Trace, Var


def renamed(trace: Trace, names: Mapping[str, str]) -> Trace:
    """The trace with the values of some equations renamed: old name -> new name. Leaves keep theirs."""

    def var(old: Var) -> Var:
        return Var(names.get(old.name, old.name), old.shape)

    new = with_uses(trace, var)
    return replace(
        new,
        equations=tuple(replace(equation, target=var(equation.target)) for equation in new.equations),
        gates=tuple((name, var(value)) for name, value in trace.gates),
    )


def with_uses(trace: Trace, new: Callable[[Var], Atom]) -> Trace:
    """The trace that uses `new(value)` wherever it used a value, in equations and outputs; what they define stays."""

    def atom(old: Atom) -> Atom:
        return new(old) if isinstance(old, Var) else old

    return replace(
        trace,
        equations=tuple(replace(equation, args=tuple(map(atom, equation.args))) for equation in trace.equations),
        next_states=tuple(map(atom, trace.next_states)),
        emits=tuple((name, atom(value)) for name, value in trace.emits),
        sums=tuple((name, atom(value)) for name, value in trace.sums),
    )
