"""One step of a part as statements of C."""

from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from math import prod

from gatewright.axes import Shape, bind
from gatewright.backends.c99.blocks import Block, BlockKind, StateUpdate
from gatewright.backends.c99.lines import CodeLines
from gatewright.backends.c99.names import identifier
from gatewright.backends.c99.rules import Indices
from gatewright.backends.c99.values import Values, index
from gatewright.int8 import Quantised
from gatewright.lang.ops import Op
from gatewright.schedule.program import Product, Reduction, Term
from gatewright.trace.ir import Atom, Equation, Var

LONGEST = 60
"""The longest expression that is written where it is used."""
SHORT = 16
"""The most turns of a loop that gcc may unroll before it looks for vectors."""


@dataclass(frozen=True, slots=True)
class TermSum:
    """The array in which a term is added up: that of its product, or one of its own that is to be scaled by rows."""

    name: str
    term: Term
    target: Var  # of the product
    scale: str = ""  # an array


class StepWriter:
    """Writes the statements of one part; `lines` holds them.

    The input is `x`, or the one that `symbol` is the number of; where the first state is not kept, it is put into `y`.
    """

    def __init__(self, values: Values, *, one_hot: bool = False) -> None:
        self.values, self.one_hot = values, one_hot
        self.part, self.functions, self.bounds, self.plan = values.part, values.functions, values.bounds, values.plan
        self.lines = CodeLines()
        writers = {BlockKind.PRODUCTS: self._products, BlockKind.SUMS: self._sums}
        for block in self.plan.blocks:
            self.lines.gap()
            writers.get(block.kind, self._elements)(block)
        self._late(self.plan.late)

    def _products(self, block: Block) -> None:
        sums = {work.target: self._sums_of(work) for work in block.works if isinstance(work, Product)}
        every = [term for terms in sums.values() for term in terms]
        self._declare(dict.fromkeys(f"{term.name}{self.values.brackets(term.target.shape)} = {{0}}" for term in every))
        for vector in dict.fromkeys(term.term.vector for term in every):
            self._product(vector, [term for term in every if term.term.vector == vector])
        self._scale({target: terms for target, terms in sums.items() if any(term.scale for term in terms)})

    def _sums_of(self, product: Product) -> list[TermSum]:
        quantised = {
            term.matrix for term in product.terms if isinstance(self.part.constants.get(term.matrix), Quantised)
        }
        if not quantised:
            name = self.values.product(product.target)
            return [TermSum(name, term, product.target) for term in product.terms]
        sums: list[TermSum] = []
        for term in product.terms:
            name = self.values.names.take(f"{identifier(term.matrix)}_{self.values.short(term.vector)}")
            scale = f"{self.values.constant(term.matrix)}_scale" if term.matrix in quantised else ""
            sums.append(TermSum(name, term, product.target, scale))
        return sums

    def _product(self, vector: Var, sums: Sequence[TermSum]) -> None:
        """All products with one vector."""
        j = self.values.columns
        if self.one_hot and vector == self.values.input:
            self._additions(sums, "symbol")
            return
        with self.lines.loop(j, self.bounds[vector.shape[0]]):
            factor = self.values.names.free(f"{self.values.short(vector)}_{j}")
            self.lines.add(f"const {self.functions.real} {factor} = {self.values.element(vector, (j,)).text};")
            self._additions(sums, j, f" * {factor}")

    def _additions(self, sums: Sequence[TermSum], column: str, factor: str = "") -> None:
        i = self.values.rows
        for axis in dict.fromkeys(term_sum.target.shape[0] for term_sum in sums):
            with self._along(i, axis):
                for term_sum in sums:
                    if term_sum.target.shape[0] == axis:
                        at = (column, i) if term_sum.term.transposed else (i, column)
                        element = self.values.element(Var(term_sum.term.matrix, ("", "")), at).text
                        self.lines.add(f"{term_sum.name}[{i}] += {element}{factor};")

    def _scale(self, sums: Mapping[Var, Sequence[TermSum]]) -> None:
        """Products out of their terms, where rows of a matrix are to be multiplied."""
        if not sums:
            return
        i = self.values.rows
        names = {target: self.values.product(target) for target in sums}
        self.lines.gap()
        self._declare(name + self.values.brackets(target.shape) for target, name in names.items())
        for axis in dict.fromkeys(target.shape[0] for target in sums):
            with self._along(i, axis):
                for target, name in names.items():
                    if target.shape[0] == axis:
                        terms = [
                            f"{term.scale}[{i}] * " * bool(term.scale) + f"{term.name}[{i}]" for term in sums[target]
                        ]
                        self.lines.add(f"{name}[{i}] = {' + '.join(terms)};")

    def _sums(self, block: Block) -> None:
        for work in block.works:
            assert isinstance(work, Reduction | Equation)
            operand = work.vector if isinstance(work, Reduction) else work.args[0]
            assert isinstance(operand, Var)
            name = self.values.named(work.target, f"{work.op.value}_{self.values.short(operand)}")
            self.lines.add(f"{self.functions.real} {name} = {self.values.number(0.0)};")
            self._assign(name, "+=", operand, operand.shape, indexed=False)
            if work.op is Op.MEAN:
                count = prod(bind(operand.shape, self.part.sizes))
                self.lines.add(f"{name} /= {self.values.number(float(count))};")

    def _elements(self, block: Block) -> None:
        self._declare(
            [
                self.values.named(work.target, self.values.formula(work)) + self.values.brackets(work.target.shape)
                for work in block.works
                if work.target.name in self.plan.arrays
            ]
        )
        with self._nest(block.shape) as at:
            self._equations(block, at)
            for store in block.stores:
                value = self.values.element(store.value, at).text
                self.lines.add(f"{self.values.place(store.state)}{index(at)} = {value};")

    @contextmanager
    def _nest(self, shape: Shape) -> Generator[Indices]:
        """Loops over all elements of a shape; gives their variables."""
        at = (self.values.rows, self.values.columns)[: len(shape)]
        with ExitStack() as loops:
            for variable, axis in zip(at, shape, strict=True):
                loops.enter_context(self._along(variable, axis))
            yield at

    def _along(self, variable: str, axis: str) -> AbstractContextManager[None]:
        """A loop whose turns do not wait for one another."""
        if 1 < self.part.sizes[axis] <= SHORT:
            self.lines.add(f"{self.functions.name.upper()}_ROLLED")
        return self.lines.loop(variable, self.bounds[axis])

    def _equations(self, block: Block, at: Indices) -> None:
        for work in block.works:
            assert isinstance(work, Equation)
            value = self.values.made(work, at)
            target, name = work.target, work.target.name
            if name in self.plan.arrays:
                self.lines.add(f"{self.values.short(target)}{index(at)} = {value.text};")
            elif name in self.plan.stored or (name in self.plan.inlined and len(value.text) <= LONGEST):
                self.values.inline(target, value)
            else:
                called = self.values.single(target, self.values.formula(work))
                self.lines.add(f"const {self.functions.real} {called} = {value.text};")

    def _late(self, stores: Sequence[StateUpdate]) -> None:
        """States whose old values were needed until now. What is only moved from state to state is taken out first."""
        states = set(self.plan.trace.states)
        moved = {store.value for store in stores if store.value in states}
        for value in moved:
            assert isinstance(value, Var)
            name = self.values.names.take(f"{identifier(value.name)}_old")
            self._declare([name + self.values.brackets(value.shape)])
            self._assign(name, "=", value, value.shape)
            self.values.call(value, name)
        for store in stores:
            self._assign(self.values.place(store.state), "=", store.value, store.state.shape)

    def _assign(self, place: str, sign: str, value: Atom, shape: Shape, *, indexed: bool = True) -> None:
        """Loops that bring every element of a value to a place."""
        with self._nest(shape) as at:
            self.lines.add(f"{place}{index(at) if indexed else ''} {sign} {self.values.element(value, at).text};")

    def _declare(self, arrays: Iterable[str]) -> None:
        for array in arrays:
            self.lines.add(f"{self.functions.real} {array};")
