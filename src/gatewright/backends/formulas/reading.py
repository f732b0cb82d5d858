"""Adjoint expressions as one would derive them by hand: factors taken out of sums, brackets [a > 0] for choices.

h̄ * h - h̄ * n            h̄ * (h - n)
where(0 < h, g, 0)        g * [h > 0]
(n̄ * (1 - z)) * (z * n)   n̄ * (1 - z) * z * n
U.h @ (-g)                -(U.h @ g)
"""

from dataclasses import replace
from functools import reduce

from gatewright.backends.formulas.terms import Factors, total
from gatewright.backends.formulas.tree import INDICATORS, Apply, Form, Number, Tree
from gatewright.lang.ops import Op

_LINEAR = frozenset({Op.MATMUL, Op.OUTER, Op.TRANSPOSE, Op.SUM, Op.MEAN, Form.OVER_TIME})
_PRODUCTS = frozenset({Op.NEG, Op.MUL, Op.DIV, Op.WHERE, Form.SQUARE})
_SUMS = frozenset({Op.ADD, Op.SUB})


def by_hand(tree: Tree) -> Tree:
    """The same value in the form in which a person would leave it."""
    if not isinstance(tree, Apply):
        return tree
    if tree.op in _SUMS | _PRODUCTS | _LINEAR:
        return total(_terms(tree), tree.shape)
    return replace(tree, args=tuple(map(by_hand, tree.args)))


def sum_terms(tree: Tree) -> list[Tree]:
    """The terms of a sum, before anything is taken out of it; those that are subtracted come negated."""
    match tree:
        case Apply(op=Op.ADD, args=(a, b)):
            return sum_terms(a) + sum_terms(b)
        case Apply(op=Op.SUB, args=(a, b)):
            return sum_terms(a) + [_negated(term) for term in sum_terms(b)]
        case Apply(op=Op.NEG, args=(a,)):
            return [_negated(term) for term in sum_terms(a)]
        case _:
            return [tree]


def sum_of(terms: list[Tree]) -> Tree:
    """The sum of terms, as it stands."""
    return reduce(lambda a, b: Apply(Op.ADD, (a, b), a.shape or b.shape), terms)


def _negated(tree: Tree) -> Tree:
    return Apply(Op.NEG, (tree,), tree.shape)


def _terms(tree: Tree) -> list[Factors]:
    """The terms of a sum, each as a product; equal ones are added up."""
    numbers: dict[Factors, float] = {}
    for term in map(_term, sum_terms(tree)):
        for factors in _opened(term):
            key = replace(factors, number=1.0)
            numbers[key] = numbers.get(key, 0.0) + factors.number
    return [replace(term, number=number) for term, number in numbers.items() if number] or [Factors(0.0)]


def _opened(term: Factors) -> list[Factors]:
    """The terms of -(a - b): a sum that stands alone needs no brackets."""
    match term.factors:
        case (Apply(op=Op.ADD | Op.SUB) as inner,) if abs(term.number) == 1 and not term.divisors:
            return [inner_term.times(Factors(term.number)) for inner_term in _terms(inner)]
        case _:
            return [term]


def _term(tree: Tree) -> Factors:
    """One term as a product."""
    match tree:
        case Number(value):
            return Factors(value)
        case Apply(op=op) if op in _LINEAR:
            return _linear(tree)
        case Apply(op=op) if op in _PRODUCTS:
            return _step(tree) or _product(tree)
        case Apply(op=op) if op in _SUMS:
            read = by_hand(tree)  # it may turn out to be a product
            return Factors(factors=(read,)) if isinstance(read, Apply) and read.op in _SUMS else _term(read)
        case _:
            return Factors(factors=(by_hand(tree),))


def _product(tree: Apply) -> Factors:
    match tree.op, tree.args:
        case Op.NEG, (a,):
            return Factors(-1.0).times(_term(a))
        case Op.MUL, (a, b):
            return _term(a).times(_term(b))
        case Op.DIV, (a, b):
            return _term(a).over(_term(b))
        case Form.SQUARE, (a,):
            return _term(a).times(_term(a))
        case Op.WHERE, (condition, a, Number(0.0)):
            return _term(a).times(Factors(factors=(_indicator(condition),)))
        case Op.WHERE, (condition, Number(0.0), b):
            return _term(b).times(Factors(factors=(_complement(condition),)))
        case _:
            return Factors(factors=(replace(tree, args=tuple(map(by_hand, tree.args))),))


def _linear(tree: Apply) -> Factors:
    """Numbers stand in front of what is linear; of a sum over features all that is the same for every feature does."""
    if tree.op in (Op.SUM, Op.MEAN):
        return _over_features(tree)
    scaled = [_scaled(by_hand(arg)) for arg in tree.args]
    number = reduce(lambda a, b: a * b, (number for number, _ in scaled))
    match replace(tree, args=tuple(arg for _, arg in scaled)):
        case Apply(op=Op.TRANSPOSE, args=(Apply(op=Op.OUTER, args=(a, b)),)):
            return Factors(number, (Apply(Op.OUTER, (b, a), tree.shape),))
        case plain:
            return Factors(number, (plain,))


def _over_features(tree: Apply) -> Factors:
    terms = _terms(tree.args[0])
    shared, inside = _split(terms[0]) if len(terms) == 1 else (Factors(), None)
    inner = total([inside], tree.args[0].shape) if inside else by_hand(tree.args[0])
    return shared.times(Factors(factors=(replace(tree, args=(inner,)),)))


def _split(term: Factors) -> tuple[Factors, Factors]:
    """What of a term is one number for all features, and the rest."""
    scalars, vectors = (
        [tuple(tree for tree in trees if bool(tree.shape) == has_axes) for trees in (term.factors, term.divisors)]
        for has_axes in (False, True)
    )
    return Factors(term.number, *scalars), Factors(1.0, *vectors)


def _scaled(tree: Tree) -> tuple[float, Tree]:
    """The number in front of a formula, and what is after it."""
    match tree:
        case Apply(op=Op.NEG, args=(a,)):
            number, rest = _scaled(a)
            return -number, rest
        case Apply(op=Op.MUL, args=(Number(value), a)):
            return value, a
        case _:
            return 1.0, tree


def _step(tree: Apply) -> Factors | None:
    """Half of what the larger of two takes: 0.5 * ([b < a] + 1 - [a < b]) is a step at a = b."""
    match tree:
        case Apply(op=Op.MUL, args=(Number(0.5), Apply(op=Op.SUB, args=(Apply(op=Op.ADD, args=(above, one)), below)))):
            match above, one, below:
                case Apply(op=Op.LESS, args=(b, a)), Number(1.0), Apply(op=Op.LESS, args=(c, d)) if (a, b) == (c, d):
                    difference = by_hand(Apply(Op.SUB, (a, b), tree.shape))
                    return Factors(factors=(Apply(Form.STEP, (difference,), tree.shape),))
                case _:
                    return None
        case _:
            return None


def _indicator(condition: Tree) -> Tree:
    """A number that is 1 where the condition is not 0, else 0."""
    if isinstance(condition, Apply) and condition.op in INDICATORS:
        return condition
    match condition:
        case Apply(op=Op.MUL, args=(Apply(op=Op.LESS, args=(a, b)), Apply(op=Op.LESS, args=(c, d)))) if b == c:
            return Apply(Form.BETWEEN, (a, b, d), condition.shape)
        case _:
            return Apply(Form.NONZERO, (condition,), condition.shape)


def _complement(condition: Tree) -> Tree:
    if isinstance(condition, Apply) and condition.op is Op.LESS:
        return Apply(Form.NOT_LESS, condition.args, condition.shape)
    return Apply(Form.ZERO, (condition,), condition.shape)
