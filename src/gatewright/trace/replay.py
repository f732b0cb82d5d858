"""Record the equations of a Trace once more, in a tracer that then goes on: how a derivative begins."""

from collections.abc import Mapping

from gatewright.lang.symbol import Operand, Symbol, freeze
from gatewright.trace.ir import Atom, Literal, Trace
from gatewright.trace.tracer import Tracer


def replay(trace: Trace, tracer: Tracer, leaves: Mapping[str, Operand]) -> dict[str, Operand]:
    """Record a trace's equations in `tracer`, under the same names and lines. Returns all values by name."""
    values: dict[str, Operand] = dict(leaves)
    for equation in trace.equations:
        args = tuple(operand(arg, values) for arg in equation.args)
        with tracer.at(equation.where):
            symbol = tracer.emit(equation.op, args, freeze(dict(equation.attrs)))
        symbol.name = None if equation.target.name.startswith("%") else equation.target.name
        values[equation.target.name] = symbol
    return values


def operand(atom: Atom, values: Mapping[str, Operand]) -> Operand:
    """The recorded value of an atom."""
    return atom.value if isinstance(atom, Literal) else values[atom.name]


def symbol_of(name: str, values: Mapping[str, Operand]) -> Symbol:
    """A recorded value that is known to be a symbol: a leaf, or an equation's result."""
    value = values[name]
    assert isinstance(value, Symbol), name
    return value
