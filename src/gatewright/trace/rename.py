"""The same Trace with some values under other names."""

from collections.abc import Mapping
from dataclasses import replace

from gatewright.trace.ir import Atom, Trace, Var


def renamed(trace: Trace, names: Mapping[str, str]) -> Trace:
    """The trace with the values of some equations renamed: old name -> new name. Leaves keep theirs."""

    def var(old: Var) -> Var:
        return Var(names.get(old.name, old.name), old.shape)

    def atom(old: Atom) -> Atom:
        return var(old) if isinstance(old, Var) else old

    return replace(
        trace,
        equations=tuple(
            replace(one, target=var(one.target), args=tuple(map(atom, one.args))) for one in trace.equations
        ),
        next_states=tuple(map(atom, trace.next_states)),
        emits=tuple((name, atom(value)) for name, value in trace.emits),
        sums=tuple((name, atom(value)) for name, value in trace.sums),
        gates=tuple((name, var(value)) for name, value in trace.gates),
    )
