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
class MatrixProduct:
    """A parameter times a vector."""

    name: str
    vector: "NormalForm"


@dataclass(frozen=True, slots=True)
class Activated:
    """An activation. Softsign is several ops, and `Op.DIV` stands for it here."""

    op: Op
    attrs: Attrs
    argument: "NormalForm"


@dataclass(frozen=True, slots=True)
class Bounded:
    """The larger or the smaller of a value and a number."""

    op: Op
    bound: float
    argument: "NormalForm"


@dataclass(frozen=True, slots=True)
class ElementProduct:
    """A product, element by element."""

    factors: tuple["NormalForm", ...]


@dataclass(frozen=True, slots=True)
class Unmatched:
    """A term that no known cell has. It matches nothing."""


FormTerm = Leaf | MatrixProduct | Activated | Bounded | ElementProduct | Unmatched
Constants = tuple[tuple[int, Atom], ...]
"""Parameters and numbers that are added, with their signs."""


@dataclass(frozen=True, slots=True)
class NormalForm:
    """Terms with their signs, and the parameters and numbers among them."""

    terms: tuple[tuple[int, FormTerm], ...]
    constants: Constants = ()


UNMATCHED = NormalForm(((1, Unmatched()),))


def normal_forms(trace: Trace) -> tuple[NormalForm, ...]:
    """The new value of each state, in terms of inputs, states and parameters."""
    values: dict[str, NormalForm] = {param.name: NormalForm((), ((1, param),)) for param in trace.params}
    for kind, leaves in (("input", trace.inputs), ("state", trace.states)):
        values |= {leaf.name: _single(Leaf(f"{kind} {place}")) for place, leaf in enumerate(leaves)}
    for equation in trace.equations:
        values[equation.target.name] = _form(equation, values)
    return tuple(_value(new, values) for new in trace.next_states)


def _form(equation: Equation, values: Mapping[str, NormalForm]) -> NormalForm:
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
                return _single(MatrixProduct(matrix[0][1].name, args[1]))
            return UNMATCHED
        case Op.MAXIMUM | Op.MINIMUM:
            numbers = [_number(arg) for arg in args]
            bound, argument = (numbers[0], args[1]) if numbers[1] is None else (numbers[1], args[0])
            return UNMATCHED if bound is None else _single(Bounded(equation.op, bound, argument))
        case Op.DIV if args[1] == NormalForm(((1, Activated(Op.ABS, (), args[0])),), ((1, Literal(1.0)),)):
            return _single(Activated(Op.DIV, (), args[0]))
        case op if op in ACTIVATIONS or op is Op.ABS:
            return _single(Activated(op, equation.attrs, args[0]))
        case _:
            return UNMATCHED


def _value(atom: Atom, values: Mapping[str, NormalForm]) -> NormalForm:
    return NormalForm((), ((1, atom),)) if isinstance(atom, Literal) else values[atom.name]


def _number(value: NormalForm) -> float | None:
    """The number that a value is, if it is one."""
    match value:
        case NormalForm((), ((sign, Literal(number)),)):
            return sign * number
        case _:
            return None


def _single(term: FormTerm) -> NormalForm:
    return NormalForm(((1, term),))


def _added(parts: list[tuple[int, NormalForm]]) -> NormalForm:
    terms = tuple((sign * own, term) for sign, part in parts for own, term in part.terms)
    constants = tuple((sign * own, atom) for sign, part in parts for own, atom in part.constants)
    return NormalForm(terms, constants) if len(terms) + len(constants) <= MOST_PARTS else UNMATCHED


def _multiplied(args: list[NormalForm]) -> NormalForm:
    """A product; one that is a factor is taken apart, and a sign goes before the whole."""
    sign, factors = 1, list[NormalForm]()
    for arg in args:
        if len(arg.terms) == 1 and not arg.constants:
            ((own, term),) = arg.terms
            sign *= own
            factors += term.factors if isinstance(term, ElementProduct) else (_single(term),)
        else:
            factors.append(arg)
    return NormalForm(((sign, ElementProduct(tuple(factors))),)) if len(factors) <= MOST_PARTS else UNMATCHED
