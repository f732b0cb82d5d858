"""The one fold over a Trace: a backend is a table of rules, one for each op."""

from collections.abc import Callable, Iterable, Mapping, MutableMapping
from typing import Any, TypeVar

from gatewright.lang.ops import Op
from gatewright.lang.symbol import Operand, Symbol, freeze
from gatewright.trace.ir import Equation, Literal, Trace, Var
from gatewright.trace.tracer import Tracer

Value = TypeVar("Value")
Rules = Mapping[Op, Callable[..., Any]]
"""For each op a function of the operands' values and, by keyword, of the op's attributes."""


def interpret(equations: Iterable[Equation], rules: Rules, values: MutableMapping[str, Any]) -> None:
    """Compute every equation in order. `values` holds the leaves by name; the results are added to it."""
    for equation in equations:
        args = (arg.value if isinstance(arg, Literal) else values[arg.name] for arg in equation.args)
        values[equation.target.name] = rules[equation.op](*args, **dict(equation.attrs))


def replay(trace: Trace, tracer: Tracer, leaves: Mapping[str, Operand]) -> dict[str, Operand]:
    """Record a trace's equations once more in `tracer`, under the same names and lines: all values by name."""
    values: dict[str, Operand] = dict(leaves)
    for equation in trace.equations:
        args = tuple(operand(arg, values) for arg in equation.args)
        with tracer.at(equation.where):
            symbol = tracer.emit(equation.op, args, freeze(dict(equation.attrs)))
        symbol.name = None if equation.target.name.startswith("%") else equation.target.name
        values[equation.target.name] = symbol
    return values


def operand(atom: Var | Literal, values: Mapping[str, Operand]) -> Operand:
    """The recorded value of an atom."""
    return atom.value if isinstance(atom, Literal) else values[atom.name]


def symbol_of(name: str, values: Mapping[str, Operand]) -> Symbol:
    """A recorded value that is known to be a symbol: a leaf, or an equation's result."""
    value = values[name]
    assert isinstance(value, Symbol), name
    return value
