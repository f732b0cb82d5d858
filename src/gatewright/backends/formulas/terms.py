"""Sums of products as one would leave them by hand: what terms share taken out, squares, one number in front."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import reduce

from gatewright.axes import Shape
from gatewright.backends.formulas.tree import Apply, Form, Name, Number, Tree, nodes
from gatewright.lang.ops import Op, axes_attrs


@dataclass(frozen=True, slots=True)
class Factors:
    """number * factors / divisors"""

    number: float = 1.0
    factors: tuple[Tree, ...] = ()
    divisors: tuple[Tree, ...] = ()

    def times(self, other: "Factors") -> "Factors":
        return Factors(self.number * other.number, self.factors + other.factors, self.divisors + other.divisors)

    def over(self, other: "Factors") -> "Factors":
        return Factors(self.number / other.number, self.factors + other.divisors, self.divisors + other.factors)


def total(terms: list[Factors], shape: Shape) -> Tree:
    """The sum of terms, with what they share taken out in front."""
    if len(terms) == 1:
        return _sum(terms, shape)
    common = Factors(
        -1.0 if all(term.number < 0 for term in terms) else 1.0,
        _common([term.factors for term in terms]),
        _common([term.divisors for term in terms]),
    )
    if common.factors or common.divisors:
        divided = [_without(term, common) for term in terms]
        inner = Factors(factors=(total(divided, _widest(divided)),))
        return _sum([common.times(inner)], shape)
    return _sum(_grouped(terms), shape)


def _grouped(terms: list[Factors]) -> list[Factors]:
    """Terms that share an adjoint as one: g * a - g * b + c is g * (a - b) + c."""
    counts = Counter(factor for term in terms for factor in dict.fromkeys(term.factors) if _is_adjoint(factor))
    shared = next((factor for factor, count in counts.items() if count > 1), None)
    if shared is None or len(terms) <= counts[shared]:
        return terms
    inside = [term for term in terms if shared in term.factors]
    first = terms.index(inside[0])
    shape = _widest(inside)
    together = Factors(factors=(total(inside, shape),))
    others = [term for term in terms if shared not in term.factors]
    return _grouped([*others[:first], together, *others[first:]])


def _common(parts: list[tuple[Tree, ...]]) -> tuple[Tree, ...]:
    """The factors that every term has."""
    shared: list[Tree] = []
    for factor in parts[0]:
        if all(part.count(factor) > shared.count(factor) for part in parts):
            shared.append(factor)
    return tuple(shared)


def _without(term: Factors, common: Factors) -> Factors:
    factors, divisors = list(term.factors), list(term.divisors)
    for factor in common.factors:
        factors.remove(factor)
    for divisor in common.divisors:
        divisors.remove(divisor)
    return Factors(term.number * common.number, tuple(factors), tuple(divisors))


def _widest(terms: Iterable[Factors]) -> Shape:
    return max((tree.shape for term in terms for tree in (*term.factors, *term.divisors)), key=len, default=())


def _averaged(term: Factors) -> Factors:
    """A sum over features, divided by their number, is their mean."""
    for factor in term.factors:
        if isinstance(factor, Apply) and factor.op is Op.SUM:
            count = Apply(Op.SIZE, (), (), axes_attrs(factor.args[0].shape))
            if count in term.divisors:
                mean = replace(factor, op=Op.MEAN)
                swapped = Factors(
                    term.number, tuple(mean if other is factor else other for other in term.factors), term.divisors
                )
                return _averaged(_without(swapped, Factors(divisors=(count,))))
    return term


def _sum(terms: list[Factors], shape: Shape) -> Tree:
    """Terms added up, a positive one first."""
    terms = list(map(_averaged, terms))
    first = next((index for index, term in enumerate(terms) if term.number >= 0), 0)
    head, *others = [terms[first], *terms[:first], *terms[first + 1 :]]
    result = _product(head, shape)
    result = Apply(Op.NEG, (result,), shape) if head.number < 0 else result
    for term in others:
        result = Apply(Op.SUB if term.number < 0 else Op.ADD, (result, _product(term, shape)), shape)
    return result


def _product(term: Factors, shape: Shape) -> Tree:
    """A term without its sign: numbers first, then scalars, then adjoints, then what they are multiplied by."""
    over = _multiplied(_squared(term.factors))
    number = abs(term.number)
    if number != 1 or over is None:
        over = Number(number) if over is None else Apply(Op.MUL, (Number(number), over), over.shape)
    under = _multiplied(_squared(term.divisors))
    return over if under is None else Apply(Op.DIV, (over, under), shape)


def _multiplied(factors: list[Tree]) -> Tree | None:
    if not factors:
        return None
    ordered = sorted(factors, key=lambda tree: (bool(tree.shape), not _is_adjoint(tree)))
    return reduce(lambda a, b: Apply(Op.MUL, (a, b), a.shape or b.shape), ordered)


def _squared(factors: tuple[Tree, ...]) -> list[Tree]:
    """Pairs of equal factors as squares, in the place of the first."""
    trees: list[Tree] = []
    for factor in dict.fromkeys(factors):
        pairs, single = divmod(factors.count(factor), 2)
        trees += [Apply(Form.SQUARE, (factor,), factor.shape)] * pairs + [factor] * single
    return trees


def _is_adjoint(tree: Tree) -> bool:
    """Whether a formula speaks of a derivative of the loss."""
    return any(isinstance(node, Name) and node.marks for node in nodes(tree))
