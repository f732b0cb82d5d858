"""The lines that write down the gradient of a cell: back-propagation through time as one would derive it by hand."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace

from gatewright.axes import Shape
from gatewright.backends.formulas import tree as trees
from gatewright.backends.formulas.cell_lines import Speller, written_names
from gatewright.backends.formulas.naming import Letters, is_named, named, repeated
from gatewright.backends.formulas.probes import ProbedGradient, gradient_of
from gatewright.backends.formulas.reading import by_hand, sum_of, sum_terms
from gatewright.backends.formulas.tree import Apply, Form, Line, Mark, Name, Number, Sign, StepIndex, Tree
from gatewright.derive import adjoint
from gatewright.lang.ops import ACTIVATIONS, Op
from gatewright.lang.param import Param
from gatewright.trace.ir import Trace, Var


def gradient_lines(trace: Trace) -> tuple[Line, ...]:
    """What one step adds to the gradient; forward values go by the names that `cell_lines` gives them.

    The adjoint of a state is a running sum: at step t it begins as what the loss says of the state at t and what
    the step after has added to it.
    """
    step = named(trace)
    gradient = gradient_of(step)
    carried = {adjoint(state.name): _marked(state.name, state.shape) for state in step.states}
    names = written_names(step) | carried
    totals = _totals(step, gradient)
    names |= _inner(step, gradient) | totals
    made_up = {names[value] for value in _repeated(step, gradient, names)}
    spell = Speller(gradient.trace, names)
    lines = [*_values(gradient, names, totals, spell), *_outputs(step, gradient, spell)]
    return tuple(_inlined(lines, made_up))


def _marked(identifier: str, shape: Shape, time: StepIndex = StepIndex.NOW, mark: Mark = Mark.ADJOINT) -> Name:
    return Name(identifier, shape, time, (mark,))


def _totals(step: Trace, gradient: ProbedGradient) -> dict[str, Name]:
    """The adjoints of the new states: what is carried, and all that this step adds to it."""
    totals: dict[str, Name] = {}
    for state, value in step.updates():
        adjoint_name = gradient.adjoints.get(value.name) if isinstance(value, Var) else None
        if adjoint_name:
            totals.setdefault(adjoint_name, _marked(state.name, state.shape))
    return totals


def _inner(step: Trace, gradient: ProbedGradient) -> dict[str, Name]:
    """The adjoints of what the gates squash, called as their gates are."""
    equations = step.definitions()
    inner: dict[str, Name] = {}
    for gate, value in step.gates:
        equation = equations[value.name]
        argument = equation.args[0]
        if equation.op not in ACTIVATIONS or not isinstance(argument, Var) or is_named(argument.name):
            continue
        other = gate in equations and gate != value.name
        identifier = value.name if other and is_named(value.name) else gate
        if adjoint_name := gradient.adjoints.get(argument.name):
            inner.setdefault(adjoint_name, _marked(identifier, argument.shape, mark=Mark.INNER))
    return inner


def _repeated(step: Trace, gradient: ProbedGradient, names: dict[str, Name]) -> Iterator[str]:
    """Give a name to what would otherwise be written out again and again; yield the values whose names are made up."""
    of = {value: name for name, value in gradient.adjoints.items() if is_named(name)}
    entered = _entered(gradient.trace)
    letters = Letters([*names, *(equation.target.name for equation in step.equations)])
    taken = {name.identifier for name in names.values() if Mark.INNER in name.marks}
    shapes = {value.name: value.shape for value in gradient.trace.values()}
    leaves = {names[leaf.name] for leaf in step.leaves()}
    for value in repeated(gradient.trace, names.__contains__):
        shape, gate = shapes[value], entered.get(value)
        if value in of:
            names[value] = _marked(of[value], shape)
        elif gate and gate not in taken:
            taken.add(gate)
            names[value] = _marked(gate, shape, mark=Mark.INNER)
        else:
            tree = Speller(gradient.trace, names).result(value)
            names[value] = Name(letters.next(_common_index(tree, leaves)), shape, StepIndex.NOW)
            yield value


def _common_index(tree: Tree, leaves: set[Name]) -> frozenset[str]:
    """The index that all parameters and gates share: r in U_r h + b_r; where there are none, all values but leaves."""
    names = {node for node in trees.nodes(tree) if isinstance(node, Name)}
    of_gates = {name.identifier for name in names if Mark.INNER in name.marks}
    of_gates |= {gate for name in names if (gate := Param.parse(name.identifier).gate)}
    indices = of_gates or {name.identifier.partition("_")[2] for name in names - leaves}
    return frozenset(indices if len(indices) == 1 and "" not in indices else ())


def _entered(back: Trace) -> dict[str, str]:
    """For the adjoint of what W.g, U.g or b.g enters, that g."""
    outers = {e.target.name: e.args[0] for e in back.equations if e.op is Op.OUTER}
    entered: dict[str, str] = {}
    for param, value in back.sums:
        inner = outers.get(value.name, value) if isinstance(value, Var) else value
        if isinstance(inner, Var):
            entered.setdefault(inner.name, Param.parse(back.adjoint_of(param) or "").gate)
    return entered


def _values(
    gradient: ProbedGradient,
    names: Mapping[str, Name],
    totals: Mapping[str, Name],
    spell: Speller,
) -> Iterator[Line]:
    """The lines of the adjoints that have a name. A total adds to what is carried."""
    for equation in gradient.trace.equations:
        name = equation.target.name
        if name not in names:
            continue
        right = spell.result(name)
        if name in totals:
            terms = [term for term in sum_terms(right) if term != totals[name]]
            if terms:
                yield Line(names[name], by_hand(sum_of(terms)), Sign.ADDS)
        else:
            yield Line(names[name], by_hand(right))


def _inlined(lines: list[Line], made_up: set[Name]) -> list[Line]:
    """Lines without made-up names that, now that all is simplified, are used but once."""
    uses = Counter(node for line in lines for node in trees.nodes(line.right) if isinstance(node, Name))
    once = {line.left: line.right for line in lines if line.left in made_up and uses[line.left] == 1}
    return [replace(line, right=by_hand(trees.substitute(line.right, once))) for line in lines if line.left not in once]


def _outputs(step: Trace, gradient: ProbedGradient, spell: Speller) -> Iterator[Line]:
    """The lines of what a step of the gradient gives: to the step before, to the input, to the parameters."""
    back = gradient.trace
    emitted, summed = dict(back.emits), dict(back.sums)

    def line(left: Name, tree: Tree, sign: Sign = Sign.EQUALS) -> Iterator[Line]:
        right = by_hand(tree)
        if right != Number(0.0):
            yield Line(left, right, sign)

    for state, value in zip(step.states, back.next_states, strict=True):
        yield from line(_marked(state.name, state.shape, StepIndex.BEFORE), spell(value), Sign.ADDS)
    for leaf in step.inputs:
        yield from line(_marked(leaf.name, leaf.shape), spell(emitted[adjoint(leaf.name)]))
    for param in step.params:
        left = _marked(param.name, param.shape, StepIndex.NONE)
        yield from line(left, Apply(Form.OVER_TIME, (spell(summed[adjoint(param.name)]),), param.shape))
