"""A Trace as text: one line for each declaration, equation and output.

    gatewright-trace 1
    cell "rnn"
    input x(input)
    state h(hidden)
    param W.h(hidden, input)
    param U.h(hidden, hidden)
      %0(hidden) = matmul W.h x
      %1(hidden) = matmul U.h h
      %2(hidden) = add %0 %1
      h'(hidden) = tanh %2
    next h = h'
    gate h = h'
    end

Further lines are `noise mask(hidden) 0.5 per step`, `emit d(x) = %3` and `sum d(W.h) = %4`. The attributes of an
op follow its operands: `hard_sigmoid %0 slope=0.2`. The lines of a user's file that the equations were written
on are not part of it.
"""

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import replace

from gatewright.axes import show_shape
from gatewright.errors import TraceError
from gatewright.trace.ir import Atom, Equation, Literal, Role, Trace, Var, renamed
from gatewright.trace.parse import FIRST_LINE, INFINITIES, LONGEST_NAME, is_axis, is_name, parse

__all__ = ["parse", "structural_hash", "to_text"]


def to_text(trace: Trace) -> str:
    """The text of a Trace; `parse` gives back an equal one.

    Raises TraceError where a name or a number cannot be written.
    """
    return "".join(f"{line}\n" for line in _lines(trace))


def structural_hash(trace: Trace) -> str:
    """A SHA-256 that is the same for Traces that compute the same by the same operations.

    It depends on the leaves, the operations in their order, and the outputs; not on the names of the values in
    between, on the cell's name, or on the lines that the equations were written on.
    """
    prefix = "%"
    while any(leaf.name.startswith(prefix) for leaf in trace.leaves()):
        prefix += "%"
    names = {equation.target.name: f"{prefix}{number}" for number, equation in enumerate(trace.equations)}
    return hashlib.sha256(to_text(replace(renamed(trace, names), name="")).encode()).hexdigest()


def _lines(trace: Trace) -> Iterator[str]:
    yield FIRST_LINE
    yield f"cell {json.dumps(trace.name)}"
    yield from (f"{role} {_declared(value)}" for role, value in trace.roles() if role is not Role.NOISE)
    yield from (f"{Role.NOISE} {_declared(n.var)} {_number(n.probability)} per {n.per}" for n in trace.noises)
    yield from map(_equation, trace.equations)
    for state, value in trace.updates():
        yield f"next {state.name} = {_atom(value)}"
    for kind, outputs in (("emit", trace.emits), ("sum", trace.sums), ("gate", trace.gates)):
        yield from (f"{kind} {_name(name)} = {_atom(value)}" for name, value in outputs)
    yield "end"


def _equation(equation: Equation) -> str:
    attrs = ((key, f'"{value}"' if isinstance(value, str) else _number(value)) for key, value in equation.attrs)
    attributes = (f"{key}={value}" for key, value in attrs)
    words = [equation.op, *map(_atom, equation.args), *attributes]
    return f"  {_declared(equation.target)} = {' '.join(words)}"


def _declared(value: Var) -> str:
    odd = next((axis for axis in value.shape if not is_axis(axis)), None)
    if odd is not None:
        raise _unwritable(f"axis {odd!r} of {value.name!r}")
    return f"{_name(value.name)}{show_shape(value.shape)}"


def _atom(atom: Atom) -> str:
    return _number(atom.value) if isinstance(atom, Literal) else _name(atom.name)


def _name(name: str) -> str:
    if not is_name(name):
        raise _unwritable(f"the name {name!r}")
    return name


def _number(value: float) -> str:
    if math.isnan(value):
        raise _unwritable("the number nan")
    return INFINITIES.get(value) or repr(float(value))


def _unwritable(what: str) -> TraceError:
    return TraceError(
        f"{what[:LONGEST_NAME]} cannot be written in the text of a trace",
        expected=f"names of at most {LONGEST_NAME} printable characters without spaces, quotes, commas and '=', "
        "that do not begin like a number; axes without parentheses; numbers that are not nan",
    )
