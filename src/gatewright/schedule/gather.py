"""Sums gathered by when their terms are known: W @ x + U @ h + b becomes (W @ x + b) for all steps, and + U @ h in
the loop.

Products that meet in one sum become one Product, which a code generator accumulates in one place.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gatewright.axes import show_shape
from gatewright.errors import TraceError
from gatewright.lang.ops import ELEMENTWISE, Op
from gatewright.schedule.phases import BEFORE, IN_TIME
from gatewright.schedule.program import Product, Reduction, Term, Work
from gatewright.trace.analysis import shared
from gatewright.trace.ir import Atom, Equation, Literal, Trace, Var

_SUMS = frozenset({Op.ADD, Op.SUB, Op.NEG})


@dataclass(frozen=True, slots=True)
class Gathered:
    """What is to be computed for each row, in order, and when each value is known."""

    works: tuple[Work, ...]
    phases: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class _Leaf:
    """One term of a sum."""

    negative: bool
    value: Atom


def gather(trace: Trace, roots: Iterable[Atom], phases: Mapping[str, int], *, matrices: bool = False) -> Gathered:
    """Turn the equations that `roots` need into works, with products merged; `phases` says when values are known.

    With `matrices`, an operation on matrices of single rows is a work like any other. Else it raises TraceError: a
    schedule for many rows at once cannot do it.
    """
    return _Gatherer(trace, list(roots), phases, matrices).run()


class _Gatherer:
    def __init__(self, trace: Trace, roots: list[Atom], phases: Mapping[str, int], matrices: bool) -> None:
        self.trace, self.roots, self.matrices = trace, roots, matrices
        self._define = {one.target.name: one for one in trace.equations}
        self._shared = shared(trace)
        self._needed = self._reach(roots)
        self._uses = Counter(
            arg.name
            for one in trace.equations
            if one.target.name in self._needed
            for arg in one.args
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

    def _reach(self, roots: Iterable[Atom]) -> set[str]:
        needed = {value.name for value in roots if isinstance(value, Var)}
        for equation in reversed(self.trace.equations):
            if equation.target.name in needed:
                needed |= {arg.name for arg in equation.args if isinstance(arg, Var)}
        return needed

    def _inner(self) -> set[str]:
        """Sums and products that a larger sum takes in: they are used once, there, and a product is a term of it."""
        inner: set[str] = set()
        for equation in reversed(self.trace.equations):
            name = equation.target.name
            if equation.op not in _SUMS or name not in self._needed or name in inner or name in self._shared:
                continue
            below = self._below(equation)
            if any(self._is_product(one) for one in below):
                inner |= {one.target.name for one in below}
        return inner

    def _below(self, equation: Equation) -> list[Equation]:
        """The equations that the sum at `equation` may take in."""
        found: list[Equation] = []
        for arg in equation.args:
            one = self._define.get(arg.name) if isinstance(arg, Var) else None
            if one is None or self._uses[one.target.name] > 1 or one.target.name in self._shared:
                continue
            if one.target.shape != equation.target.shape:
                continue
            if self._is_product(one):
                found.append(one)
            elif one.op in _SUMS:
                found += [one, *self._below(one)]
        return found

    def _is_product(self, equation: Equation) -> bool:
        return equation.op is Op.MATMUL

    def _add(self, equation: Equation) -> None:
        if self._is_product(equation):
            self._works.append(Product(equation.target, (self._term(equation),)))
        elif equation.op in (Op.SUM, Op.MEAN) and len(equation.args[0].shape) == 1:
            assert isinstance(equation.args[0], Var)
            self._works.append(Reduction(equation.target, equation.op, equation.args[0]))
        elif equation.op in _SUMS and any(self._is_product(one) for one in self._below(equation)):
            self._add_sum(equation)
        elif self.matrices or (_is_elementwise(equation) and len(equation.target.shape) < 2):
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
        made = self._define.get(matrix.name)
        if made is not None and made.op is Op.TRANSPOSE and isinstance(made.args[0], Var):
            return Term(made.args[0].name, True, vector)
        return Term(matrix.name, False, vector)

    def _add_sum(self, equation: Equation) -> None:
        """The sum of all terms that are known before the loop, then of those of the loop, then of those after it."""
        total: Atom | None = None
        leaves = self._leaves(equation)
        when = [self._when(leaf.value) for leaf in leaves]
        *earlier, last = (phase for phase in IN_TIME if phase in when)
        for phase in (*earlier, last):
            now = [leaf for leaf, one in zip(leaves, when, strict=True) if one == phase]
            total = self._partial(equation, total, now, phase, final=phase == last)

    def _when(self, value: Atom) -> int:
        return BEFORE if isinstance(value, Literal) else self._phase.get(value.name, BEFORE)

    def _leaves(self, equation: Equation) -> list[_Leaf]:
        inside = {one.target.name for one in self._below(equation)}
        leaves: list[_Leaf] = []

        def walk(one: Equation, negative: bool) -> None:
            for index, arg in enumerate(one.args):
                sign = negative != (one.op is Op.NEG or (one.op is Op.SUB and index == 1))
                below = self._define.get(arg.name) if isinstance(arg, Var) and arg.name in inside else None
                if below is not None and below.op in _SUMS:
                    walk(below, sign)
                else:
                    leaves.append(_Leaf(sign, arg))

        walk(equation, negative=False)
        return leaves

    def _partial(self, equation: Equation, total: Atom | None, leaves: list[_Leaf], phase: int, final: bool) -> Atom:
        """What was added up so far, and the terms of one phase. Products that are added are one; others stand alone."""
        products = {one.target.name: one for one in self._below(equation) if self._is_product(one)}
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

    def _added(self, equation: Equation, parts: list[_Leaf], phase: int, final: bool) -> Atom:
        """The sum of parts, step by step; the last step of the last phase has the equation's own name."""
        parts.sort(key=lambda leaf: leaf.negative)  # begin with a positive one where there is one
        first, *others = parts
        total = first.value
        steps: list[tuple[Op, tuple[Atom, ...]]] = [(Op.NEG, ())] if first.negative else []
        steps += [(Op.SUB if leaf.negative else Op.ADD, (leaf.value,)) for leaf in others]
        for index, (op, added) in enumerate(steps):
            args = (total, *added)
            shape = next((arg.shape for arg in args if arg.shape), ())  # scalars may be added up first
            ends = final and index == len(steps) - 1
            target = equation.target if ends else Var(f"{equation.target.name}+{phase}.{index}", shape)
            self._phase.setdefault(target.name, phase)
            self._works.append(Equation(target, op, args, (), equation.where))
            total = target
        return total


def _is_elementwise(equation: Equation) -> bool:
    return equation.op in ELEMENTWISE or equation.op in (Op.EXPAND, Op.RELABEL)
