"""Sums gathered by when their terms are known: W @ x + U @ h + b becomes (W @ x + b) for all steps, and + U @ h in
the loop.

Products that meet in one sum become one Product, which a code generator accumulates in one place.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gatewright.axes import show_shape
from gatewright.errors import TraceError
from gatewright.lang.ops import ELEMENTWISE, SUMS, Op
from gatewright.schedule.program import Phase, Product, Reduction, Term, Work
from gatewright.trace.analysis import needed, shared
from gatewright.trace.ir import Atom, Equation, Trace, Var, names_of

_ALONG_ROWS = ELEMENTWISE | {Op.EXPAND, Op.RELABEL}
# The names of partial sums have these numbers. Cached kernels are found by the text of a Program, so they stay.
_NUMBERS = {Phase.BEFORE: 0, Phase.LOOP: 1, Phase.AFTER: 2, Phase.SCAN: 3}


@dataclass(frozen=True, slots=True)
class Gathered:
    """What is to be computed for each row, in order, and when each value is known."""

    works: tuple[Work, ...]
    phases: Mapping[str, Phase]


@dataclass(frozen=True, slots=True)
class _Leaf:
    """One term of a sum."""

    negative: bool
    value: Atom


def gather(trace: Trace, roots: Iterable[Atom], phases: Mapping[str, Phase], *, matrices: bool = False) -> Gathered:
    """Turn the equations that `roots` need into works, with products merged; `phases` says when values are known.

    With `matrices`, an operation on matrices of single rows is a work like any other. Else it raises TraceError: a
    schedule for many rows at once cannot do it.
    """
    return _Gatherer(trace, list(roots), phases, matrices).run()


class _Gatherer:
    def __init__(self, trace: Trace, roots: list[Atom], phases: Mapping[str, Phase], matrices: bool) -> None:
        self.trace, self.roots, self.matrices = trace, roots, matrices
        self._define = trace.definitions()
        self._shared = shared(trace)
        self._needed = needed(trace.equations, names_of(roots))
        self._uses = Counter(
            arg.name
            for equation in trace.equations
            if equation.target.name in self._needed
            for arg in equation.args
            if isinstance(arg, Var)
        )
        self._uses.update(value.name for value in roots if isinstance(value, Var))
        self._phase = dict(phases)
        self._works: list[Work] = []

    def run(self) -> Gathered:
        inner = self._inner()
        for equation in self.trace.equations:
            name = equation.target.name
            if name in self._needed and name not in self._shared and name not in inner:
                self._add(equation)
        return Gathered(tuple(self._works), {**self._phase})

    def _inner(self) -> set[str]:
        """Sums and products that a larger sum takes in: they are used once, there, and a product is a term of it."""
        inner: set[str] = set()
        # from the outermost sum inwards: a sum that a larger one takes in must not be gathered a second time
        for equation in reversed(self.trace.equations):
            name = equation.target.name
            if equation.op not in SUMS or name not in self._needed or name in inner or name in self._shared:
                continue
            below = self._below(equation)
            if any(map(_is_product, below)):
                inner |= {term.target.name for term in below}
        return inner

    def _below(self, equation: Equation) -> list[Equation]:
        """The equations that the sum at `equation` may take in."""
        terms: list[Equation] = []
        for arg in equation.args:
            term = self._define.get(arg.name) if isinstance(arg, Var) else None
            # a value that is used elsewhere too has to exist by itself; one that all rows share is computed once
            if term is None or self._uses[term.target.name] > 1 or term.target.name in self._shared:
                continue
            if term.target.shape != equation.target.shape:
                continue
            if _is_product(term):
                terms.append(term)
            elif term.op in SUMS:
                terms += [term, *self._below(term)]
        return terms

    def _add(self, equation: Equation) -> None:
        if _is_product(equation):
            self._works.append(Product(equation.target, (self._term(equation),)))
        elif equation.op in (Op.SUM, Op.MEAN) and len(equation.args[0].shape) == 1:
            assert isinstance(equation.args[0], Var)
            self._works.append(Reduction(equation.target, equation.op, equation.args[0]))
        elif equation.op in SUMS and any(map(_is_product, self._below(equation))):
            self._add_sum(equation)
        elif self.matrices or (equation.op in _ALONG_ROWS and len(equation.target.shape) < 2):
            self._works.append(equation)
        else:
            raise TraceError(
                f"trace {self.trace.name!r} computes with a matrix of each row, which no schedule can do",
                expected="matrices of parameters only",
                got=f"{equation.target.name}{show_shape(equation.target.shape)} = {equation.op}",
                do="use a backend that runs the Trace itself: backend='torch'",
            )

    def _term(self, equation: Equation) -> Term:
        matrix, vector = equation.args
        assert isinstance(matrix, Var)
        assert isinstance(vector, Var)
        transpose = self._define.get(matrix.name)
        if transpose is not None and transpose.op is Op.TRANSPOSE and isinstance(transpose.args[0], Var):
            return Term(transpose.args[0].name, True, vector)
        return Term(matrix.name, False, vector)

    def _add_sum(self, equation: Equation) -> None:
        """The sum of all terms that are known before the loop, then of those of the loop, then of those after it."""
        total: Atom | None = None
        leaves = self._leaves(equation)
        # in the order of time: all that is known early is one value when the next phase adds its own terms
        when = [
            self._phase.get(leaf.value.name, Phase.BEFORE) if isinstance(leaf.value, Var) else Phase.BEFORE
            for leaf in leaves
        ]
        phases = [phase for phase in Phase if phase in when]
        for phase in phases:
            now = [leaf for leaf, known in zip(leaves, when, strict=True) if known is phase]
            total = self._partial(equation, total, now, phase, final=phase is phases[-1])

    def _leaves(self, equation: Equation) -> list[_Leaf]:
        inside = {term.target.name for term in self._below(equation)}
        leaves: list[_Leaf] = []

        def walk(part: Equation, negative: bool) -> None:
            for index, arg in enumerate(part.args):
                sign = negative != (part.op is Op.NEG or (part.op is Op.SUB and index == 1))
                below = self._define.get(arg.name) if isinstance(arg, Var) and arg.name in inside else None
                if below is not None and below.op in SUMS:
                    walk(below, sign)
                else:
                    leaves.append(_Leaf(sign, arg))

        walk(equation, negative=False)
        return leaves

    def _partial(self, equation: Equation, total: Atom | None, leaves: list[_Leaf], phase: Phase, final: bool) -> Atom:
        """What was added up so far, and the terms of one phase. Products that are added are one; others stand alone."""
        products = {term.target.name: term for term in self._below(equation) if _is_product(term)}
        merged: list[Equation] = []
        parts = [] if total is None else [_Leaf(False, total)]
        for leaf in leaves:
            product = products.get(leaf.value.name) if isinstance(leaf.value, Var) else None
            if product is not None and not leaf.negative:
                merged.append(product)
                continue
            if product is not None:
                self._works.append(Product(product.target, (self._term(product),)))
            parts.append(leaf)
        if merged:
            alone = final and not parts
            target = equation.target if alone else merged[0].target
            self._phase[target.name] = phase
            self._works.append(Product(target, tuple(map(self._term, merged))))
            if alone:
                return target
            parts.insert(0, _Leaf(False, target))
        return self._added(equation, parts, phase, final)

    def _added(self, equation: Equation, parts: list[_Leaf], phase: Phase, final: bool) -> Atom:
        """The sum of parts, step by step; the last step of the last phase has the equation's own name."""
        parts.sort(key=lambda leaf: leaf.negative)  # a positive one first, so that nothing has to be negated
        first, *others = parts
        total = first.value
        steps: list[tuple[Op, tuple[Atom, ...]]] = [(Op.NEG, ())] if first.negative else []
        steps += [(Op.SUB if leaf.negative else Op.ADD, (leaf.value,)) for leaf in others]
        for index, (op, added) in enumerate(steps):
            args = (total, *added)
            shape = next((arg.shape for arg in args if arg.shape), ())  # scalars may be added up first
            ends = final and index == len(steps) - 1
            target = equation.target if ends else Var(f"{equation.target.name}+{_NUMBERS[phase]}.{index}", shape)
            self._phase.setdefault(target.name, phase)
            self._works.append(Equation(target, op, args, (), equation.where))
            total = target
        return total


def _is_product(equation: Equation) -> bool:
    return equation.op is Op.MATMUL
