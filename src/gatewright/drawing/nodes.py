"""What a diagram draws of a Trace: boxes with weights, operators, functions, and the values that flow between them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum

from gatewright.backends.formulas import unicode
from gatewright.backends.formulas.cell_lines import Speller, written_names
from gatewright.backends.formulas.naming import is_named, named
from gatewright.backends.formulas.tree import Name, StepIndex
from gatewright.backends.formulas.typeset import write
from gatewright.drawing import math_text
from gatewright.lang.ops import ACTIVATIONS, Op
from gatewright.trace.analysis import shared
from gatewright.trace.ir import Atom, Equation, Literal, Trace, Var

_LONGEST = 14  # printed letters of a formula in a box


class NodeKind(Enum):
    """How a node is drawn, and where it stands."""

    INPUT = "enters from below"
    STATE = "enters from the left"
    OUTPUT = "leaves to the right"
    BOX = "weights, biases and an activation"
    FUNCTION = "a function without weights"
    OPERATOR = "element by element"
    CONSTANT = "the same at every step, or drawn at random"
    JOIN = "values that enter the same boxes"


@dataclass(frozen=True, slots=True)
class DiagramNode:
    """One thing that is drawn: the text in it, the name of its value (marked as in `math_text`), and its equation."""

    key: str
    kind: NodeKind
    text: str
    label: str = ""
    equation: str = ""


@dataclass(slots=True)
class CellGraph:
    """The nodes of a cell in the order of its equations, and the edges between them as (source, target)."""

    nodes: dict[str, DiagramNode] = field(default_factory=dict[str, DiagramNode])
    edges: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    weighted: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])  # edges that end at a matrix

    def sources(self, key: str) -> list[str]:
        """The nodes that a node reads."""
        return [source for source, target in self.edges if target == key]

    def targets(self, key: str) -> list[str]:
        """The nodes that read a node."""
        return [target for source, target in self.edges if source == key]

    def of_kind(self, *kinds: NodeKind) -> list[DiagramNode]:
        """The nodes of some kinds."""
        return [node for node in self.nodes.values() if node.kind in kinds]


_FUNCTIONS = {
    Op.SIGMOID: "σ", Op.TANH: "tanh", Op.RELU: "ReLU", Op.HARD_SIGMOID: "hard σ", Op.SOFTPLUS: "softplus",
    Op.EXP: "exp", Op.LOG: "log", Op.SQRT: "√", Op.ABS: "|·|", Op.SIGN: "sign", Op.MAXIMUM: "max", Op.MINIMUM: "min",
    Op.LESS: "<", Op.WHERE: "choose", Op.SUM: "sum", Op.MEAN: "mean",
}  # fmt: skip
_SEEN_THROUGH = frozenset({Op.RELABEL, Op.EXPAND})


def state_in(name: str) -> str:
    """The key of the node of a state before the step."""
    return f"in {name}"


def state_out(name: str) -> str:
    """The key of the node of a state after the step."""
    return f"out {name}"


def graph_of(trace: Trace) -> CellGraph:
    """The graph of one step of a cell."""
    reader = _Reader(named(trace))
    graph = reader.graph
    order = {equation.target.name: index for index, equation in enumerate(reader.trace.equations)}
    graph.nodes = dict(sorted(graph.nodes.items(), key=lambda item: order.get(item[0], -1)))
    for state, value in reader.trace.updates():
        label = math_text.spell(Name(state.name, state.shape, StepIndex.NOW))
        reader.add(state_out(state.name), NodeKind.OUTPUT, label, sources=[value])
    _join_shared_inputs(graph)
    return graph


class _Reader:
    """Makes the nodes of a trace, from its outputs backwards."""

    def __init__(self, trace: Trace) -> None:
        self.trace, self.graph = trace, CellGraph()
        self._names = written_names(trace)
        self._equations = trace.definitions()
        self._constant = shared(trace)
        self._params = frozenset(param for param in trace.params if param.shape)
        self._speller = Speller(trace, self._names)
        self._uses: dict[str, int] = {}
        for atom in self._used_atoms():
            if isinstance(atom, Var):
                self._uses[atom.name] = self._uses.get(atom.name, 0) + 1
        for value in trace.inputs:
            self.add(value.name, NodeKind.INPUT, math_text.spell(self._names[value.name]))
        for value in trace.states:
            self.add(state_in(value.name), NodeKind.STATE, math_text.spell(self._names[value.name]))
        self._known = {value.name: value.name for value in trace.inputs}
        self._known |= {value.name: state_in(value.name) for value in trace.states}
        for _, value in trace.updates():
            self._visit(value)

    def _used_atoms(self) -> Iterator[Atom]:
        for equation in self.trace.equations:
            yield from equation.args
        yield from self.trace.outputs()

    def add(
        self, key: str, kind: NodeKind, text: str, sources: Iterable[Atom] = (), weighted: Iterable[Atom] = ()
    ) -> str:
        """Draw a node that reads values; `weighted` ones enter by a matrix. Returns its key."""
        edges = dict.fromkeys((self._visit(source), key) for source in sources)
        by_matrix = dict.fromkeys((self._visit(source), key) for source in weighted)
        self.graph.nodes[key] = DiagramNode(key, kind, text, self._label(key), self._equation(key))
        self.graph.weighted |= set(by_matrix)
        self.graph.edges += [edge for edge in {**by_matrix, **edges} if edge not in self.graph.edges]
        return key

    def _label(self, key: str) -> str:
        """The name of a value; that of a new state stands at the right side."""
        name = self._names.get(key)
        outputs = {value.name for _, value in self.trace.updates() if isinstance(value, Var)}
        return math_text.spell(name) if name and key in self._equations and key not in outputs else ""

    def _equation(self, key: str) -> str:
        if key not in self._equations:
            return ""
        right = write(self._speller.result(key), unicode.NOTATION).text
        return f"{unicode.spell(self._names[key])} = {right}" if key in self._names else right

    def _visit(self, atom: Atom) -> str:
        """The key of the node that gives a value."""
        if isinstance(atom, Literal) or (atom.name in self._constant and atom.name not in self._known):
            return self._visit_constant(atom)
        name = atom.name
        if name not in self._known:
            equation = self._equations.get(name)
            if equation is None:  # a random mask
                self._known[name] = self.add(name, NodeKind.CONSTANT, math_text.spell(self._names[name]))
            elif equation.op in _SEEN_THROUGH:
                self._known[name] = self._visit(equation.args[0])
            else:
                self._known[name] = self._draw(equation)
        return self._known[name]

    def _visit_constant(self, atom: Atom) -> str:
        key = f"{atom.value:g}" if isinstance(atom, Literal) else atom.name
        if key not in self.graph.nodes:
            self.graph.nodes[key] = DiagramNode(key, NodeKind.CONSTANT, self._short(atom) or "constant", "", "")
        return key

    def _short(self, atom: Atom) -> str:
        """A formula, where it is short enough for a box."""
        text = math_text.formula(self._speller(atom))
        return text if len(math_text.plain(text)) <= _LONGEST else ""

    def _draw(self, equation: Equation) -> str:
        target, op, args = equation.target, equation.op, equation.args
        if (inner := self._normalised(equation)) is not None:
            return self.add(target.name, NodeKind.FUNCTION, "norm", [inner])
        if self._is_weighted(target):
            return self._draw_box(target, target, "")
        if op in ACTIVATIONS:
            (arg,) = args
            if isinstance(arg, Var) and self._uses[arg.name] == 1 and self._is_weighted(arg):
                return self._draw_box(target, arg, _FUNCTIONS[op])
            return self.add(target.name, NodeKind.FUNCTION, _FUNCTIONS[op], args)
        return self._draw_arithmetic(equation)

    def _draw_box(self, target: Var, total: Var, function: str) -> str:
        """A box for the activation of a weighted sum: what enters it by weights, and what is added as it is."""
        weighted: list[Atom] = []
        others: list[Atom] = []
        terms = [term for _, term in self._terms(total)]
        for term in terms:
            if isinstance(term, Var) and self._is_product(term, total):
                equation = self._equations[term.name]
                (by_matrix,) = [arg for arg in equation.args if not self._is_constant(arg)]
                (weighted if equation.op is Op.MATMUL else others).append(by_matrix)
            elif not self._is_constant(term):
                others.append(term)
        if not function and len(terms) == 1:  # one matrix: its name says all
            (product,) = [term for term in terms if isinstance(term, Var)]
            (weight,) = [arg for arg in self._equations[product.name].args if self._is_constant(arg)]
            function = self._short(weight)
        return self.add(target.name, NodeKind.BOX, function or "linear", others, weighted)

    def _draw_arithmetic(self, equation: Equation) -> str:
        name, args = equation.target.name, equation.args
        varying = [arg for arg in args if not self._is_constant(arg)]
        match equation.op:
            case Op.SUB if not self._is_constant(args[1]) and self._is_constant(args[0]):
                constant = self._short(args[0])
                return self.add(name, NodeKind.OPERATOR, f"{constant}−" if constant else "−", varying)
            case Op.ADD | Op.SUB:
                return self._draw_sum(equation)
            case Op.MUL if len(varying) == 1:
                factor = next((arg for arg in args if self._is_constant(arg)), args[0])
                text = "²" if factor is args[1] and not self._is_constant(factor) else f"{self._short(factor)}·"
                return self.add(name, NodeKind.OPERATOR, text, varying)
            case Op.MUL:
                return self.add(name, NodeKind.OPERATOR, "²" if args[0] == args[1] else "×", args)
            case Op.DIV if len(varying) == 1:
                above = self._is_constant(args[0])
                text = f"{self._short(args[0])}/" if above else f"/{self._short(args[1])}"
                return self.add(name, NodeKind.OPERATOR, text, varying)
            case Op.DIV:
                return self._divide(equation)
            case Op.NEG:
                return self.add(name, NodeKind.OPERATOR, "−", args)
            case op:
                return self.add(name, NodeKind.FUNCTION, _FUNCTIONS.get(op, str(op)), args)

    def _divide(self, equation: Equation) -> str:
        """Draw a / b as a times the inverse of b: a picture has no order of operands."""
        above, below = equation.args
        name = equation.target.name
        source, inverse = self._visit(below), f"1/{name}"
        self.graph.nodes[inverse] = DiagramNode(inverse, NodeKind.OPERATOR, "1/")
        self.graph.edges.append((source, inverse))
        self.add(name, NodeKind.OPERATOR, "×", [above])
        self.graph.edges.append((inverse, name))
        return name

    def _draw_sum(self, equation: Equation) -> str:
        """One circle for a sum of several terms; what is subtracted is negated on its way."""
        name = equation.target.name
        terms = self._terms(equation.target)
        constant = [(negative, term) for negative, term in terms if self._is_constant(term)]
        varying = [(negative, term) for negative, term in terms if not self._is_constant(term)]
        if len(varying) == 1 and len(constant) == 1 and not varying[0][0]:
            negative, number = constant[0]
            return self.add(name, NodeKind.OPERATOR, f"{'−' if negative else '+'}{self._short(number)}",
                            [varying[0][1]])  # fmt: skip
        added = [term for negative, term in varying if not negative]
        negated: list[str] = []
        for number, (_, term) in enumerate(pair for pair in varying if pair[0]):
            source, key = self._visit(term), f"-{number}{name}"
            self.graph.nodes[key] = DiagramNode(key, NodeKind.OPERATOR, "−")
            self.graph.edges.append((source, key))
            negated.append(key)
        numbers = "".join(f"{'−' if negative else '+'}{self._short(term)}" for negative, term in constant)
        self.add(name, NodeKind.OPERATOR, numbers or "+", added)
        self.graph.edges += [(key, name) for key in negated]
        return name

    def _terms(self, value: Atom, negative: bool = False, inner: bool = False) -> list[tuple[bool, Atom]]:
        """The terms of a sum, through inner sums that have no name of their own; whether each is subtracted."""
        equation = None if isinstance(value, Literal) else self._equations.get(value.name)
        if equation is None or self._is_constant(value):
            return [(negative, value)]
        if inner and isinstance(value, Var) and (is_named(value.name) or self._uses[value.name] > 1):
            return [(negative, value)]
        if equation.op in (Op.ADD, Op.SUB):
            left, right = equation.args
            return [
                *self._terms(left, negative, True),
                *self._terms(right, negative != (equation.op is Op.SUB), True),
            ]
        if equation.op in _SEEN_THROUGH:
            return self._terms(equation.args[0], negative, True)
        return [(negative, value)]

    def _is_constant(self, atom: Atom) -> bool:
        return isinstance(atom, Literal) or atom.name in self._constant

    def _is_product(self, atom: Atom, total: Var) -> bool:
        """Whether a term of a sum is a weight times another value: W.r @ x, p.i * c. A named term is a node itself."""
        equation = None if isinstance(atom, Literal) else self._equations.get(atom.name)
        if equation is None or equation.op not in (Op.MATMUL, Op.MUL):
            return False
        if is_named(equation.target.name) and equation.target != total:
            return False
        constant = [arg for arg in equation.args if self._is_constant(arg)]
        return len(constant) == 1 and (equation.op is Op.MATMUL or constant[0] in self._params)

    def _is_weighted(self, value: Var) -> bool:
        """Whether a value is a sum with a weight times a value among its terms."""
        return any(self._is_product(term, value) for _, term in self._terms(value))

    def _normalised(self, equation: Equation) -> Atom | None:
        """The value a of (a - mean(a)) / sqrt(...), which is drawn as one box; None for other values."""
        if equation.op is not Op.DIV:
            return None
        above, below = equation.args
        difference = None if isinstance(above, Literal) else self._equations.get(above.name)
        root = None if isinstance(below, Literal) else self._equations.get(below.name)
        if difference is None or root is None or difference.op is not Op.SUB or root.op is not Op.SQRT:
            return None
        value, centre = difference.args
        mean = None if isinstance(centre, Literal) else self._equations.get(centre.name)
        return value if mean is not None and mean.op is Op.MEAN and mean.args == (value,) else None


def _join_shared_inputs(graph: CellGraph) -> None:
    """Boxes that multiply the same values by their matrices get them through one node: [h, x] of the textbooks."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for node in graph.of_kind(NodeKind.BOX):
        sources = tuple(sorted(source for source, target in graph.weighted if target == node.key))
        if len(sources) > 1:
            groups.setdefault(sources, []).append(node.key)
    for sources, boxes in groups.items():
        if len(boxes) < 2:
            continue
        key = f"join {' '.join(sources)}"
        graph.nodes[key] = DiagramNode(key, NodeKind.JOIN, "")
        taken = {(source, box) for source in sources for box in boxes}
        graph.edges = [edge for edge in graph.edges if edge not in taken]
        graph.edges += [(source, key) for source in sources] + [(key, box) for box in boxes]
