"""What the values of a step are called in C, and how an element of each is spelled."""

from collections.abc import Mapping
from math import prod

from gatewright.axes import Shape, bind
from gatewright.backends.c99.blocks import BlockPlan, BlockPlanner, is_named
from gatewright.backends.c99.functions import Functions
from gatewright.backends.c99.names import PARAMETERS, Names, identifier
from gatewright.backends.c99.parts import CellPart
from gatewright.backends.c99.rules import RULES, Element, Indices, OpKind, number
from gatewright.backends.expressions import CodeExpression
from gatewright.lang.ops import Op, axes_of
from gatewright.schedule.program import Work
from gatewright.trace.ir import Atom, Equation, Literal, Var


class Values:
    """The values of one part, as far as its statements have come.

    `bounds` names the size of each axis, `constants` each array, `fields` each state in the struct.
    """

    def __init__(
        self,
        part: CellPart,
        functions: Functions,
        *,
        bounds: Mapping[str, str],
        constants: Mapping[str, str],
        fields: Mapping[str, str],
    ) -> None:
        self.part, self.functions, self.bounds = part, functions, bounds
        self.constants, self.fields = constants, fields
        self.plan = plan = BlockPlanner(part).plan()
        self.input = plan.trace.inputs[0]
        self.used: dict[str, None] = {}  # the constants that are read
        self.ops: set[Op] = set()  # those whose functions are called
        words = {identifier(value.name) for value in plan.trace.values() if is_named(value.name)}
        self.rows, self.columns = (
            next((letter for letter in order if letter not in words), f"{order[0]}_index")
            for order in ("ikuvsq", "jmnwpl")
        )
        theirs = {functions.called(op) for op in Op} | {f"{name}_scale" for name in constants.values()}
        self.names = Names({self.rows, self.columns, *PARAMETERS, *constants.values(), *bounds.values(), *theirs})
        self._known: dict[str, str] = {}
        self._single: set[str] = set()  # known values that hold one element, that of the loop they stand in
        self._inlined: dict[str, CodeExpression] = {}
        self._gates = _gate_names(plan)

    # Expressions

    def made(self, equation: Equation, at: Indices) -> CodeExpression:
        """An element of what an equation gives."""
        rule = RULES[equation.op]
        if rule is OpKind.COUNTED:
            return number(prod(bind(axes_of(equation.attrs), self.part.sizes)), self.functions.dtype)
        if rule is OpKind.CALLED:
            self.ops.add(equation.op)
            args = [self.element(arg, at).text for arg in equation.args]
            args += [self.number(float(value)) for _, value in equation.attrs]
            return CodeExpression(f"{self.functions.called(equation.op)}({', '.join(args)})")
        assert isinstance(rule, Element)
        taken = rule.taken(at) if rule.taken else [at] * len(equation.args)
        return rule.write([self.element(arg, where) for arg, where in zip(equation.args, taken, strict=True)])

    def element(self, atom: Atom, at: Indices) -> CodeExpression:
        """An element of a value."""
        if isinstance(atom, Literal):
            return number(atom.value, self.functions.dtype)
        if atom.name in self._inlined:
            return self._inlined[atom.name]
        at = at[: len(atom.shape)]
        if atom.name in self._known:
            return CodeExpression(self._known[atom.name] + ("" if atom.name in self._single else index(at)))
        if atom.name in self.part.constants:
            constant = self.part.constants[atom.name]
            if not constant.shape:
                return number(float(constant), self.functions.dtype)  # pyright: ignore[reportArgumentType]
            # Matrices lie column by column, so that the loop over a product's rows goes along memory.
            return CodeExpression(self.constant(atom.name) + index(at[::-1]))
        if atom == self.input:
            return CodeExpression(f"x{index(at)}")
        return CodeExpression(self.place(atom) + index(at))

    def number(self, value: float) -> str:
        """A number of the type that all have."""
        return number(value, self.functions.dtype).text

    # Where values lie

    def inline(self, value: Var, expression: CodeExpression) -> None:
        """Spell a value by what it is computed from, from now on."""
        self._inlined[value.name] = expression

    def call(self, value: Var, name: str) -> None:
        """Find a value under another name from now on."""
        self._known[value.name] = name

    def single(self, value: Var, otherwise: str) -> str:
        """The name of a value of which a loop holds the element that it is at."""
        self._single.add(value.name)
        return self.named(value, otherwise)

    def constant(self, name: str) -> str:
        """The array of a constant, which is read."""
        self.used[name] = None
        return self.constants[name]

    def place(self, state: Var) -> str:
        """Where a state lies."""
        return f"state->{self.fields[state.name]}" if state.name in self.fields else "y"

    def brackets(self, shape: Shape) -> str:
        """The sizes of an array, as where it is declared."""
        return "".join(f"[{self.bounds[axis]}]" for axis in shape)

    # Names

    def named(self, value: Var, otherwise: str) -> str:
        """The name of a value; where it is given one now, its own, or another where it has none."""
        if value.name not in self._known:
            self._known[value.name] = self.names.take(identifier(value.name) if is_named(value.name) else otherwise)
        return self._known[value.name]

    def product(self, value: Var) -> str:
        """The name of a product."""
        goal = identifier(self._gates.get(value.name, "sum")).removesuffix("_new")
        return self.named(value, f"a_{goal}")

    def short(self, value: Var) -> str:
        """What a value is called in the names of others."""
        return self._known.get(value.name, "x" if value == self.input else identifier(value.name))

    def formula(self, work: Work) -> str:
        """A name for an unnamed value: r_h for r * h."""
        if isinstance(work, Equation) and work.op is Op.MUL and all(isinstance(arg, Var) for arg in work.args):
            words = [self.short(arg) for arg in work.args if isinstance(arg, Var) and arg.name not in self._inlined]
            if len(words) == 2 and all(is_named(arg.name) for arg in work.args if isinstance(arg, Var)):
                return "_".join(words)
        return "t"


def index(at: Indices) -> str:
    """The brackets after an array that choose one element."""
    return "".join(f"[{variable}]" for variable in at)


def _gate_names(plan: BlockPlan) -> dict[str, str]:
    """For unnamed values, the named one that they are summed up for."""
    names: dict[str, str] = {}
    works = [work for block in plan.blocks for work in block.works]
    for work in reversed(works):
        goal = work.target.name if is_named(work.target.name) else names.get(work.target.name)
        if goal is not None and isinstance(work, Equation):
            names |= {arg.name: goal for arg in work.args if isinstance(arg, Var) and not is_named(arg.name)}
    return names
