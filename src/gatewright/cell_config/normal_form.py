"""Equations in a form that does not depend on how they were written down: sums of signed terms, products of factors.

Two traces are compared by it: the order of terms and factors, brackets and the names of values do not count.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from gatewright.lang.ops import ACTIVATIONS, Attrs, Op
from gatewright.trace.ir import Atom, Equation, Literal, Trace, Var

MOST_PARTS = 8  # no known cell has a sum or product of more


@dataclass(frozen=True, slots=True)
class Leaf:
    """An input or a state, by its place: "input 0", "state 1"."""

    role: str


@dataclass(frozen=True, slots=True)
class Matrix:
    """A parameter times a vector."""

    name: str
    vector: "Sum"


@dataclass(frozen=True, slots=True)
class Activated:
    """An activation. Softsign is several ops, and `Op.DIV` stands for it here."""

    op: Op
    attrs: Attrs
    argument: "Sum"


@dataclass(frozen=True, slots=True)
class Bounded:
    """The larger or the smaller of a value and a number."""

    op: Op
    bound: float
    argument: "Sum"


@dataclass(frozen=True, slots=True)
class Times:
    """A product, element by element."""

    factors: tuple["Sum", ...]


@dataclass(frozen=True, slots=True)
class Strange:
    """What no known cell computes: it is equal to nothing."""


Term = Leaf | Matrix | Activated | Bounded | Times | Strange
Constants = tuple[tuple[int, Atom], ...]
"""Parameters and numbers that are added, with their signs."""


@dataclass(frozen=True, slots=True)
class Sum:
    """Terms with their signs, and the parameters and numbers among them."""

    terms: tuple[tuple[int, Term], ...]
    constants: Constants = ()


STRANGE = Sum(((1, Strange()),))


def normal_forms(trace: Trace) -> tuple[Sum, ...]:
    """What the new value of each state is, in terms of inputs, states and parameters."""
    values: dict[str, Sum] = {param.name: Sum((), ((1, param),)) for param in trace.params}
    for kind, leaves in (("input", trace.inputs), ("state", trace.states)):
        values |= {leaf.name: _single(Leaf(f"{kind} {place}")) for place, leaf in enumerate(leaves)}
    for equation in trace.equations:
        values[equation.target.name] = _form(equation, values)
    return tuple(_value(new, values) for new in trace.next_states)


def _form(equation: Equation, values: Mapping[str, Sum]) -> Sum:
    args = [_value(arg, values) for arg in equation.args]
    match equation.op:
        case Op.ADD | Op.SUB | Op.NEG:
            signs = {Op.ADD: (1, 1), Op.SUB: (1, -1), Op.NEG: (-1,)}[equation.op]
            return _added(list(zip(signs, args, strict=True)))
        case Op.MUL:
            return _multiplied(args)
        case Op.MATMUL:
            matrix = args[0].constants
            if not args[0].terms and len(matrix) == 1 and isinstance(matrix[0][1], Var) and matrix[0][0] == 1:
                return _single(Matrix(matrix[0][1].name, args[1]))
            return STRANGE
        case Op.MAXIMUM | Op.MINIMUM:
            numbers = [_number(arg) for arg in args]
            bound, argument = (numbers[0], args[1]) if numbers[1] is None else (numbers[1], args[0])
            return STRANGE if bound is None else _single(Bounded(equation.op, bound, argument))
        case Op.DIV if args[1] == Sum(((1, Activated(Op.ABS, (), args[0])),), ((1, Literal(1.0)),)):
            return _single(Activated(Op.DIV, (), args[0]))
        case op if op in ACTIVATIONS or op is Op.ABS:
            return _single(Activated(op, equation.attrs, args[0]))
        case _:
            return STRANGE


def _value(atom: Atom, values: Mapping[str, Sum]) -> Sum:
    return Sum((), ((1, atom),)) if isinstance(atom, Literal) else values[atom.name]


def _number(value: Sum) -> float | None:
    """The number that a value is, if it is one."""
    match value:
        case Sum((), ((sign, Literal(number)),)):
            return sign * number
        case _:
            return None


def _single(term: Term) -> Sum:
    return Sum(((1, term),))


def _added(parts: list[tuple[int, Sum]]) -> Sum:
    terms = tuple((sign * own, term) for sign, part in parts for own, term in part.terms)
    constants = tuple((sign * own, atom) for sign, part in parts for own, atom in part.constants)
    return Sum(terms, constants) if len(terms) + len(constants) <= MOST_PARTS else STRANGE


def _multiplied(args: list[Sum]) -> Sum:
    """A product; one that is a factor is taken apart, and a sign goes before the whole."""
    sign, factors = 1, list[Sum]()
    for arg in args:
        if len(arg.terms) == 1 and not arg.constants:
            ((own, term),) = arg.terms
            sign *= own
            factors += term.factors if isinstance(term, Times) else (_single(term),)
        else:
            factors.append(arg)
    return Sum(((sign, Times(tuple(factors))),)) if len(factors) <= MOST_PARTS else STRANGE
