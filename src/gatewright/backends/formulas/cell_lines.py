"""The lines that write down one step of a cell."""

from collections.abc import Mapping

from gatewright.backends.formulas.naming import is_named, moving, named
from gatewright.backends.formulas.tree import Apply, Form, Line, Mark, Name, Number, Sign, StepIndex, Tree
from gatewright.lang.ops import ELEMENTWISE, Op, axes_attrs
from gatewright.lang.symbol import Redraw
from gatewright.trace.ir import Atom, Literal, Noise, Trace, Var, names_of
from gatewright.trace.names import adjoint, split_derived

_MASKS = ("m", "k", "ξ")


def cell_lines(trace: Trace) -> tuple[Line, ...]:
    """One step in the user's order and names; what has no name and is used once is written where it is used."""
    trace = named(trace)
    names = written_names(trace)
    spell = Speller(trace, names)
    drawn = () if trace.order else trace.noises  # a gradient has what the step drew
    lines = [_draw(noise, names[noise.var.name]) for noise in drawn]
    lines += [
        Line(names[e.target.name], spell.result(e.target.name)) for e in trace.equations if e.target.name in names
    ]
    for state, value in trace.updates():
        if value != Var(f"{state.name}'", state.shape):
            lines.append(Line(_marked(state.name, state, _after(state.name)), spell(value)))
    lines += [Line(_marked(name, value, StepIndex.NOW), spell(value)) for name, value in trace.emits]
    for name, value in trace.sums:
        tree = spell(value)
        lines.append(Line(_marked(name, value, StepIndex.NONE), Apply(Form.OVER_TIME, (tree,), tree.shape)))
    return tuple(lines)


def _draw(noise: Noise, name: Name) -> Line:
    """The line that says how a random mask is drawn."""
    remark = "once for the whole sequence" if noise.per == Redraw.SEQUENCE else ""
    return Line(name, Apply(Form.BERNOULLI, (Number(noise.probability),)), Sign.DRAWN, remark)


def written_names(trace: Trace) -> dict[str, Name]:
    """How every leaf and every named value of a step is written."""
    changing = moving(trace)
    carried = {state.name for state in trace.states}
    # a gradient is given the states before the step: those inputs of which it carries the adjoint
    states_before = {value.name for value in trace.inputs if adjoint(value.name, trace.order) in carried}
    new_values = {f"{name}'" for name in carried | states_before}
    masks = _mask_names(trace)
    values = [*trace.leaves(), *(e.target for e in trace.equations if is_named(e.target.name))]

    def name(value: Var) -> Name:
        if value.name in new_values:
            return _marked(value.name[:-1], value, _after(value.name))
        time = StepIndex.NONE if value.name not in changing else StepIndex.NOW
        time = _before(value.name) if value.name in carried | states_before else time
        return _marked(masks.get(value.name, value.name), value, time)

    return {value.name: name(value) for value in values}


def _before(state: str) -> StepIndex:
    """The step that a carried value comes from: the one before; adjoints are carried the other way."""
    return StepIndex.NOW if state.count("d(") % 2 else StepIndex.BEFORE


def _after(state: str) -> StepIndex:
    return StepIndex.BEFORE if _before(state) is StepIndex.NOW else StepIndex.NOW


def _marked(identifier: str, value: Atom, time: StepIndex) -> Name:
    """The name of a value; d(h) is h with a mark for its adjoint, t(h) for its tangent."""
    marks: list[Mark] = []
    while True:
        is_seed = identifier.endswith(").out")
        derived = split_derived(identifier.removesuffix(".out") if is_seed else identifier)
        if derived is None or derived.order > 1:
            break
        marks.append(Mark.ADJOINT if derived.is_adjoint else Mark.TANGENT)
        identifier = f"{derived.of}_out" if is_seed else derived.of
    return Name(identifier, value.shape, time, tuple(reversed(marks)))


def _mask_names(trace: Trace) -> Mapping[str, str]:
    """Letters for random masks: m, or m1, m2, ... where there are several."""
    taken = names_of(trace.values())
    letter = next((mask for mask in _MASKS if mask not in taken), "noise")
    many = len(trace.noises) > 1
    return {noise.var.name: f"{letter}{index}" if many else letter for index, noise in enumerate(trace.noises, 1)}


class Speller:
    """Writes a value of a trace as a tree: by its name where `names` has one, else as the operation that makes it."""

    def __init__(self, trace: Trace, names: Mapping[str, Name]) -> None:
        self._equations = trace.definitions()
        self._names = names

    def __call__(self, atom: Atom) -> Tree:
        """What stands for a value on the right side of a line."""
        return unexpanded(self._part(atom))

    def result(self, name: str) -> Tree:
        """The right side of the line that a named value has."""
        return unexpanded(self._made(name))

    def _part(self, atom: Atom) -> Tree:
        if isinstance(atom, Literal):
            return Number(atom.value)
        return self._names[atom.name] if atom.name in self._names else self._made(atom.name)

    def _made(self, name: str) -> Tree:
        equation = self._equations[name]
        args, shape = tuple(map(self._part, equation.args)), equation.target.shape
        if equation.op is Op.RELABEL:
            return args[0]  # a reader calls it the same
        if equation.op not in ELEMENTWISE:
            return Apply(equation.op, args, shape, equation.attrs)
        bare = tuple(map(unexpanded, args))
        if not shape or any(arg.shape for arg in bare):
            return plain(Apply(equation.op, bare, shape, equation.attrs))
        scalar = plain(Apply(equation.op, bare, (), equation.attrs))
        return Apply(Op.EXPAND, (scalar,), shape, axes_attrs(shape))


def unexpanded(tree: Tree) -> Tree:
    """A scalar that stands where a vector is meant needs no ones after it."""
    return unexpanded(tree.args[0]) if isinstance(tree, Apply) and tree.op is Op.EXPAND else tree


def plain(tree: Tree) -> Tree:
    """What changes no order: squares, no neutral elements, and subtracting instead of adding what is negative."""
    if not isinstance(tree, Apply):
        return tree
    match tree.op, tree.args:
        case (Op.MUL, (Number(1.0), a)) | (Op.MUL | Op.DIV, (a, Number(1.0))) | (Op.ADD, (Number(0.0), a)):
            return a
        case Op.ADD | Op.SUB, (a, Number(0.0)):
            return a
        case Op.MUL, (a, b) if a == b:
            return Apply(Form.SQUARE, (a,), tree.shape)
        case Op.ADD, (a, Number(value)) if value < 0:
            return Apply(Op.SUB, (a, Number(-value)), tree.shape)
        case Op.ADD, (a, Apply(op=Op.NEG, args=(b,))):
            return Apply(Op.SUB, (a, b), tree.shape)
        case _:
            return tree
