"""The same Trace with fewer operations: folded numbers, no neutral elements, nothing computed in vain.

Every number stays the same to the last bit, but for the sign of a zero; for functions of numbers alone,
which are taken in double precision; and for a literal 0: what is multiplied by it, or divides it, gives 0
even where it was not finite. Derivatives bring such zeros about, and mean "nothing flows here" by them.
No sum is reassociated.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

from gatewright.lang.ops import ELEMENTWISE, Attrs, Op, axes_attrs, result_shape
from gatewright.lang.symbol import Where
from gatewright.trace.analysis import needed
from gatewright.trace.check import check
from gatewright.trace.identities import OpCall, Value, simplest
from gatewright.trace.ir import Atom, Equation, Literal, Trace, Var, names_of, renamed

_COMMUTATIVE = frozenset({Op.ADD, Op.MUL, Op.MAXIMUM, Op.MINIMUM})


@lru_cache(maxsize=256)
def simplify(trace: Trace) -> Trace:
    """The trace without what it need not compute. Simplifying again changes nothing.

    Inputs and states stay, and every output under its name and in its shape. Parameters and random values
    that no output needs, not even for its shape, are dropped, and so is a gate that has become a number.
    """
    return substitute(trace, {})


def without(trace: Trace, space: str) -> Trace:
    """The trace with every parameter of a space taken as 0, simplified: `without(trace, "b")` has no bias."""
    return substitute(trace, {param.name: Literal(0.0) for param in trace.spaces().get(space, ())})


def without_chance(trace: Trace) -> Trace:
    """The trace as a trained network runs it: every random value is its mean, simplified."""
    return substitute(trace, {noise.var.name: Literal(noise.probability) for noise in trace.noises})


def substitute(trace: Trace, values: Mapping[str, Literal]) -> Trace:
    """The trace with some of its leaves taken as numbers, simplified."""
    rewriter = _Rewriter(trace, values)
    for equation in trace.equations:
        rewriter.rewrite(equation)
    gates = [(name, rewriter.output(value, number=True)) for name, value in trace.gates]
    new = replace(
        trace,
        next_states=tuple(rewriter.output(value, number=True) for value in trace.next_states),
        emits=tuple((name, rewriter.output(value)) for name, value in trace.emits),
        sums=tuple((name, rewriter.output(value)) for name, value in trace.sums),
        gates=tuple((name, value) for name, value in gates if isinstance(value, Var)),
    )
    result = renamed(_live(replace(new, equations=tuple(rewriter.equations))), rewriter.user_names)
    check(result)
    return result


class _Rewriter:
    """Goes through the equations once, in order, and makes `equations`, the new ones."""

    def __init__(self, trace: Trace, known: Mapping[str, Literal]) -> None:
        self.equations: list[Equation] = []
        self.user_names: dict[str, str] = {}  # for values that were named only where they were computed again
        self._values = {leaf.name: Value(known.get(leaf.name, leaf), leaf.shape) for leaf in trace.leaves()}
        self._used = set(self._values)
        self._reserved = names_of(trace.values())
        self._computed: dict[object, Var] = {}
        self._made: dict[str, Equation] = {}

    def rewrite(self, equation: Equation) -> None:
        """Find what the value of an old equation becomes."""
        target = equation.target
        call = OpCall(equation.op, tuple(map(self._value, equation.args)), equation.attrs)
        atom = self._make(call, target.name, equation.where)
        value = self._values[target.name] = Value(atom, target.shape, target.name)
        new = definition.target if (definition := self.definition(value)) else None
        if new and new.shape == target.shape and new.name.startswith("%") and not target.name.startswith("%"):
            self.user_names.setdefault(new.name, target.name)

    def output(self, old: Atom, number: bool = False) -> Atom:
        """What is given out in place of `old`, in its full shape, unless it may be a bare number."""
        value = self._value(old)
        return value.atom if number and isinstance(value.atom, Literal) else self._whole(value, None)

    def definition(self, value: Value) -> Equation | None:
        """The new equation that makes a value, if one does."""
        return self._made.get(value.atom.name) if isinstance(value.atom, Var) else None

    def _value(self, old: Atom) -> Value:
        return Value(old, ()) if isinstance(old, Literal) else self._values[old.name]

    def _make(self, call: OpCall, name: str, where: Where | None) -> Atom:
        """The atom that holds the result of a call."""
        simple = simplest(self.definition, call)
        if isinstance(simple, Value):
            return simple.atom
        atoms = tuple(arg.atom if simple.op in ELEMENTWISE else self._whole(arg, where) for arg in simple.args)
        return self._compute(simple.op, atoms, simple.attrs, name, where)

    def _whole(self, value: Value, where: Where | None) -> Atom:
        """A value in its full shape."""
        if value.atom.shape == value.shape:
            return value.atom
        return self._compute(Op.EXPAND, (value.atom,), axes_attrs(value.shape), value.name, where)

    def _compute(self, op: Op, args: tuple[Atom, ...], attrs: Attrs, name: str, where: Where | None) -> Var:
        """The value of an equation: that of an earlier one which is the same, or a new one's."""
        spelled = [(arg.name, "") if isinstance(arg, Var) else ("", repr(arg.value)) for arg in args]
        key = (op, tuple(sorted(spelled) if op in _COMMUTATIVE else spelled), attrs)
        if key not in self._computed:
            target = Var(self._free(name), result_shape(op, tuple(arg.shape for arg in args), attrs))
            self._computed[key] = target
            self._made[target.name] = Equation(target, op, args, attrs, where)
            self.equations.append(self._made[target.name])
        return self._computed[key]

    def _free(self, name: str) -> str:
        number = 0
        while not name or name in self._used:
            name = f"%{number}" if f"%{number}" not in self._reserved else ""
            number += 1
        self._used.add(name)
        return name


def _live(trace: Trace) -> Trace:
    """The trace without equations, parameters and random values that no output or gate needs.

    A parameter by which the gradient is the plain number 0 stays: it tells the shape of that gradient.
    """
    used = needed(trace.equations, names_of([*trace.outputs(), *(value for _, value in trace.gates)]))
    used |= {of for name, value in trace.sums if isinstance(value, Literal) and (of := trace.adjoint_of(name))}
    return replace(
        trace,
        params=tuple(param for param in trace.params if param.name in used),
        noises=tuple(noise for noise in trace.noises if noise.var.name in used),
        equations=tuple(equation for equation in trace.equations if equation.target.name in used),
    )
