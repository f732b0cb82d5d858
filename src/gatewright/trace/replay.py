"""Record the equations of a Trace once more, in a tracer that then goes on: how a derivative begins."""

from collections.abc import Callable, Mapping

from gatewright.lang.ops import Op
from gatewright.lang.symbol import Operand, Symbol
from gatewright.trace.ir import Atom, Literal, Trace
from gatewright.trace.tracer import Tracer


def replay(
    trace: Trace,
    tracer: Tracer,
    leaves: Mapping[str, Operand],
    rules: Mapping[Op, Callable[..., Operand]] | None = None,
) -> dict[str, Operand]:
    """Record a trace's equations in `tracer`, under the same names and lines. Returns all values by name.

    An op that has a rule is recorded as what its rule makes of the operands.
    """
    rules = rules or {}
    values: dict[str, Operand] = dict(leaves)
    for equation in trace.equations:
        args = tuple(operand(arg, values) for arg in equation.args)
        with tracer.at(equation.where):
            if equation.op in rules:
                value = rules[equation.op](*args, **dict(equation.attrs))
            else:
                value = tracer.emit(equation.op, args, equation.attrs)
        if isinstance(value, Symbol) and not equation.target.name.startswith("%"):
            value.name = equation.target.name
        values[equation.target.name] = value
    return values


def operand(atom: Atom, values: Mapping[str, Operand]) -> Operand:
    """The recorded value of an atom."""
    return atom.value if isinstance(atom, Literal) else values[atom.name]


def symbol_of(name: str, values: Mapping[str, Operand]) -> Symbol:
    """A recorded value that is known to be a symbol: a leaf, or an equation's result."""
    value = values[name]
    assert isinstance(value, Symbol), name
    return value
