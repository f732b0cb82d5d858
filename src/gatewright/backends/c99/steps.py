"""One step of a part as statements of C."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from math import prod

from gatewright.axes import Shape, bind
from gatewright.backends.c99.blocks import Block, Kind, Store, is_named, plan
from gatewright.backends.c99.expressions import Expression, number
from gatewright.backends.c99.functions import Functions
from gatewright.backends.c99.lines import Lines
from gatewright.backends.c99.names import Names, identifier
from gatewright.backends.c99.parts import Part
from gatewright.backends.c99.quantised import Quantised
from gatewright.backends.c99.rules import RULES, Accumulated, Called, Counted, Indices
from gatewright.lang.ops import Op, axes_of
from gatewright.schedule.program import Product, Reduction, Term, Work
from gatewright.trace.ir import Atom, Equation, Literal, Var

LONGEST = 60
"""The longest expression that is written where it is used."""
SHORT = 16
"""The most turns of a loop that gcc may unroll before it looks for vectors."""


class Step:
    """Writes the statements of one part; `lines` holds them.

    `bounds` names the size of each axis, `constants` each array, `fields` each state in the struct. The input is `x`,
    or the one that `symbol` is the number of; where the first state is not kept, it is put into `y`.
    """

    def __init__(
        self,
        part: Part,
        functions: Functions,
        *,
        bounds: Mapping[str, str],
        constants: Mapping[str, str],
        fields: Mapping[str, str],
        one_hot: bool = False,
    ) -> None:
        self.part, self.functions, self.bounds = part, functions, bounds
        self.constants, self.fields, self.one_hot = constants, fields, one_hot
        self.plan = plan(part)
        self.ops: set[Op] = set()
        self.lines = Lines()
        self.used: dict[str, None] = {}  # the constants that are read
        words = {identifier(value.name) for value in self._values() if is_named(value.name)}
        self.rows, self.columns = (next(one for one in order if one not in words) for order in ("ikuvsq", "jmnwpl"))
        self._names = Names({self.rows, self.columns})
        self._known: dict[str, str] = {}
        self._single: set[str] = set()  # known values that hold one element, that of the loop they stand in
        self._inlined: dict[str, Expression] = {}
        self._gates = self._gate_names()
        self._write()

    def _values(self) -> Sequence[Var]:
        trace = self.plan.trace
        return [*trace.leaves(), *(equation.target for equation in trace.equations)]

    def _gate_names(self) -> dict[str, str]:
        """For unnamed values, the named one that they are summed up for."""
        names: dict[str, str] = {}
        works = [work for block in self.plan.blocks for work in block.works]
        for work in reversed(works):
            goal = work.target.name if is_named(work.target.name) else names.get(work.target.name)
            if goal is not None and isinstance(work, Equation):
                names |= {arg.name: goal for arg in work.args if isinstance(arg, Var) and not is_named(arg.name)}
        return names

    # Statements

    def _write(self) -> None:
        for block in self.plan.blocks:
            self.lines.gap()
            {Kind.PRODUCTS: self._products, Kind.SUMS: self._sums, Kind.SCALARS: self._scalars}.get(
                block.kind, self._elements
            )(block)
        self._late(self.plan.late)

    def _products(self, block: Block) -> None:
        terms: list[tuple[Term, str, Var]] = []
        declared: list[str] = []
        scaled: list[tuple[Product, list[tuple[str, str]]]] = []
        for work in block.works:
            assert isinstance(work, Product)
            scales = [self.part.constants.get(term.matrix) for term in work.terms]
            if not any(isinstance(one, Quantised) for one in scales):
                name = self._named(work.target, f"a_{self._goal(work.target)}")
                terms += [(term, name, work.target) for term in work.terms]
                declared.append(f"{name}[{self._bound(work.target.shape[0])}] = {{0}}")
                continue
            parts: list[tuple[str, str]] = []
            for term, constant in zip(work.terms, scales, strict=True):
                name = self._names.take(f"{identifier(term.matrix)}_{self._short(term.vector)}")
                terms.append((term, name, work.target))
                declared.append(f"{name}[{self._bound(work.target.shape[0])}] = {{0}}")
                scale = f"{self._constant(term.matrix)}_scale" if isinstance(constant, Quantised) else ""
                parts.append((name, scale))
            scaled.append((work, parts))
        self._declare(declared)
        for vector in dict.fromkeys(term.vector for term, _, _ in terms):
            self._product(vector, [one for one in terms if one[0].vector == vector])
        self._scale(scaled)

    def _product(self, vector: Var, terms: Sequence[tuple[Term, str, Var]]) -> None:
        """All products with one vector."""
        j = self.columns
        lookup = self.one_hot and vector == self.plan.trace.inputs[0]
        if lookup:
            self._additions([(term, name, target, "symbol", "") for term, name, target in terms])
            return
        with self.lines.loop(j, self._bound(vector.shape[0])):
            factor = f"{self._short(vector)}_{j}"
            self.lines.add(f"const {self._real} {factor} = {self._spelled(vector, (j,)).text};")
            self._additions([(term, name, target, j, f" * {factor}") for term, name, target in terms])

    def _additions(self, terms: Sequence[tuple[Term, str, Var, str, str]]) -> None:
        i = self.rows
        for axis in dict.fromkeys(target.shape[0] for _, _, target, _, _ in terms):
            with self._along(i, axis):
                for term, name, target, column, factor in terms:
                    if target.shape[0] == axis:
                        at = (column, i) if term.transposed else (i, column)
                        element = self._spelled(Var(term.matrix, ("", "")), at).text
                        self.lines.add(f"{name}[{i}] += {element}{factor};")

    def _scale(self, scaled: Sequence[tuple[Product, list[tuple[str, str]]]]) -> None:
        i = self.rows
        if not scaled:
            return
        names = {work.target.name: self._named(work.target, f"a_{self._goal(work.target)}") for work, _ in scaled}
        self.lines.gap()
        self._declare([f"{names[work.target.name]}[{self._bound(work.target.shape[0])}]" for work, _ in scaled])
        for axis in dict.fromkeys(work.target.shape[0] for work, _ in scaled):
            with self._along(i, axis):
                for work, parts in scaled:
                    if work.target.shape[0] == axis:
                        terms = [f"{scale}[{i}] * {name}[{i}]" if scale else f"{name}[{i}]" for name, scale in parts]
                        self.lines.add(f"{names[work.target.name]}[{i}] = {' + '.join(terms)};")

    def _sums(self, block: Block) -> None:
        for work in block.works:
            operand, op = (work.vector, work.op) if isinstance(work, Reduction) else self._summed(work)
            rule = RULES[op]
            assert isinstance(rule, Accumulated)
            name = self._named(work.target, f"{op.value}_{self._short(operand)}")
            self.lines.add(f"{self._real} {name} = {self._number(0.0)};")
            self._assign(name, "+=", operand, operand.shape, indexed=False)
            if rule.mean:
                count = prod(bind(operand.shape, self.part.sizes))
                self.lines.add(f"{name} /= {self._number(float(count))};")

    def _summed(self, work: Work) -> tuple[Var, Op]:
        assert isinstance(work, Equation)
        operand = work.args[0]
        assert isinstance(operand, Var)
        return operand, work.op

    def _scalars(self, block: Block) -> None:
        self._equations(block, ())
        self._stores(block, ())

    def _elements(self, block: Block) -> None:
        self._declare(
            [
                self._named(work.target, self._formula(work)) + self._brackets(work.target.shape)
                for work in block.works
                if work.target.name in self.plan.arrays
            ]
        )

        def write(at: Indices) -> None:
            self._equations(block, at)
            self._stores(block, at)

        self._nest(block.shape, write)

    def _nest(self, shape: Shape, write: Callable[[Indices], None]) -> None:
        """Loops over all elements of a shape."""
        at = (self.rows, self.columns)[: len(shape)]
        if not shape:
            write(at)
        elif len(shape) == 1:
            with self._along(at[0], shape[0]):
                write(at)
        else:
            with self._along(at[0], shape[0]), self._along(at[1], shape[1]):
                write(at)

    def _along(self, index: str, axis: str) -> AbstractContextManager[None]:
        """A loop whose turns do not wait for one another."""
        if 1 < self.part.sizes[axis] <= SHORT:
            self.lines.add(f"{self.functions.name.upper()}_ROLLED")
        return self.lines.loop(index, self._bound(axis))

    def _equations(self, block: Block, at: Indices) -> None:
        for work in block.works:
            assert isinstance(work, Equation)
            value = self._made(work, at)
            name = work.target.name
            if name in self.plan.arrays:
                self.lines.add(f"{self._known[name]}{_index(at)} = {value.text};")
            elif name in self.plan.stored or (name in self.plan.inlined and len(value.text) <= LONGEST):
                self._inlined[name] = value
            else:
                self.lines.add(f"const {self._real} {self._named(work.target, self._formula(work))} = {value.text};")
                self._single.add(name)

    def _stores(self, block: Block, at: Indices) -> None:
        for store in block.stores:
            self.lines.add(f"{self._place(store.state)}{_index(at)} = {self._spelled(store.value, at).text};")

    def _late(self, stores: Sequence[Store]) -> None:
        """States whose old values were needed until now. What is only moved from state to state is taken out first."""
        states = set(self.plan.trace.states)
        moved = {store.value for store in stores if store.value in states}
        for value in moved:
            assert isinstance(value, Var)
            name = self._names.take(f"{identifier(value.name)}_old")
            self._declare([name + self._brackets(value.shape)])
            self._assign(name, "=", value, value.shape)
            self._known[value.name] = name
        for store in stores:
            self._assign(self._place(store.state), "=", store.value, store.state.shape)

    def _assign(self, place: str, sign: str, value: Atom, shape: Shape, *, indexed: bool = True) -> None:
        """Loops that bring every element of a value to a place."""

        def write(at: Indices) -> None:
            self.lines.add(f"{place}{_index(at) if indexed else ''} {sign} {self._spelled(value, at).text};")

        self._nest(shape, write)

    def _declare(self, arrays: Sequence[str]) -> None:
        for array in arrays:
            self.lines.add(f"{self._real} {array};")

    # Expressions

    def _made(self, equation: Equation, at: Indices) -> Expression:
        """An element of what an equation gives."""
        rule = RULES[equation.op]
        assert not isinstance(rule, Accumulated)
        if isinstance(rule, Counted):
            return number(prod(bind(axes_of(str(dict(equation.attrs)["axes"])), self.part.sizes)), self.functions.dtype)
        if isinstance(rule, Called):
            self.ops.add(equation.op)
            args = [self._spelled(arg, at).text for arg in equation.args]
            args += [self._number(float(value)) for _, value in equation.attrs]
            return Expression(f"{self.functions.called(equation.op)}({', '.join(args)})")
        taken = rule.taken(at) if rule.taken else [at] * len(equation.args)
        return rule.write([self._spelled(arg, where) for arg, where in zip(equation.args, taken, strict=True)])

    def _spelled(self, atom: Atom, at: Indices) -> Expression:
        """An element of a value."""
        if isinstance(atom, Literal):
            return number(atom.value, self.functions.dtype)
        if atom.name in self._inlined:
            return self._inlined[atom.name]
        at = at[: len(atom.shape)]
        if atom.name in self._known:
            return Expression(self._known[atom.name] + ("" if atom.name in self._single else _index(at)))
        if atom.name in self.part.constants:
            return self._constant_element(atom.name, at)
        if atom == self.plan.trace.inputs[0]:
            return Expression(f"x{_index(at)}")
        return Expression(self._place(atom) + _index(at))

    def _constant_element(self, name: str, at: Indices) -> Expression:
        """Matrices lie column by column, so that the loop over a product's rows goes along memory."""
        constant = self.part.constants[name]
        if not constant.shape:
            return number(float(constant), self.functions.dtype)  # pyright: ignore[reportArgumentType]
        return Expression(self._constant(name) + _index(at[::-1]))

    def _constant(self, name: str) -> str:
        self.used[name] = None
        return self.constants[name]

    def _place(self, state: Var) -> str:
        return f"state->{self.fields[state.name]}" if state.name in self.fields else "y"

    # Names

    def _named(self, value: Var, otherwise: str) -> str:
        if value.name not in self._known:
            wanted = identifier(value.name) if is_named(value.name) else otherwise
            self._known[value.name] = self._names.take(wanted)
        return self._known[value.name]

    def _goal(self, value: Var) -> str:
        return identifier(self._gates.get(value.name, "sum")).removesuffix("_new")

    def _short(self, value: Var) -> str:
        """What a value is called in the names of others."""
        return self._known.get(value.name, "x" if value == self.plan.trace.inputs[0] else identifier(value.name))

    def _formula(self, work: Work) -> str:
        """A name for an unnamed value: r_h for r * h."""
        if isinstance(work, Equation) and work.op is Op.MUL and all(isinstance(arg, Var) for arg in work.args):
            words = [self._short(arg) for arg in work.args if isinstance(arg, Var) and arg.name not in self._inlined]
            if len(words) == 2 and all(is_named(arg.name) for arg in work.args if isinstance(arg, Var)):
                return "_".join(words)
        return "t"

    def _bound(self, axis: str) -> str:
        return self.bounds[axis]

    def _brackets(self, shape: Shape) -> str:
        return "".join(f"[{self._bound(axis)}]" for axis in shape)

    @property
    def _real(self) -> str:
        return "float" if self.functions.dtype == "float32" else "double"

    def _number(self, value: float) -> str:
        return number(value, self.functions.dtype).text


def _index(at: Indices) -> str:
    return "".join(f"[{one}]" for one in at)
