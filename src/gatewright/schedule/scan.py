"""Associative scans: the update of a state as slope * state + offset, found for all steps before the loop.

Nobody writes that form. An update is taken apart equation by equation, each of which adds, scales or chooses between
values that are affine in the state; `recurrence` says of which states this holds, and in which order.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count

from gatewright.lang.ops import Attrs, Op, result_shape
from gatewright.schedule.program import Scan, Work, operands
from gatewright.trace.analysis import needed
from gatewright.trace.identities import OpCall, Value, simplest
from gatewright.trace.ir import Atom, Equation, Literal, Trace, Var, names_of
from gatewright.trace.recurrence import recurrence


@dataclass(frozen=True, slots=True)
class ScannedStates:
    """A trace, and the states of it that are computed for all steps before its loop.

    - `trace`: the one to be planned. The scanned states are among its inputs, and so are the targets of the scans.
    - `scans`: each after those whose states its coefficients depend on.
    - `new_values`: the new value of each scanned state; it needs no scan where it does not depend on the old one.
    """

    trace: Trace
    scans: tuple[Scan, ...] = ()
    new_values: Mapping[str, Atom] = field(default_factory=dict[str, Atom])

    def coefficients(self) -> Iterator[Atom]:
        """The slopes and offsets of all scans."""
        return (value for scan in self.scans for value in (scan.slope, scan.offset))

    @property
    def known(self) -> frozenset[str]:
        """The names of what is known at every step once all scans are done."""
        return frozenset(self.new_values) | {scan.target.name for scan in self.scans}


def find_scans(trace: Trace) -> ScannedStates:
    """Find the states that scans can compute, and the coefficients of these scans."""
    finder = _Finder(trace)
    for state in recurrence(trace).order:
        finder.solve(state)
    return finder.result()


def in_order(works: Sequence[Work], scanned: ScannedStates) -> list[Work]:
    """Works and scans, each after what it needs; the old value of a state needs the scan that gives it."""
    by_name = {work.target.name: work for work in (*works, *scanned.scans)}
    ordered: dict[str, Work] = {}
    todo = list(reversed(by_name))
    while todo:
        work = by_name[todo[-1]]
        sources = (_source(value, scanned.new_values) for value in operands(work))
        missing = [name for name in sources if name in by_name and name not in ordered]
        if missing:
            todo += missing
        else:
            ordered.setdefault(todo.pop(), work)
    return list(ordered.values())


def _source(value: Atom, new_values: Mapping[str, Atom]) -> str:
    """The name of what a value comes from: a scanned state comes from its new value."""
    while isinstance(value, Var) and value.name in new_values:
        value = new_values[value.name]
    return value.name if isinstance(value, Var) else ""


class _Finder:
    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self._states = {state.name: state for state in trace.states}
        self._next = {s.name: new for s, new in trace.updates()}
        self._define = trace.definitions()
        self._taken = set(names_of(trace.values()))
        self._numbers = count()
        self._new: list[Equation] = []
        self._before: dict[str, tuple[Equation, ...]] = {}  # what stands in the place of an equation that is scanned
        self._scans: list[Scan] = []
        self._new_values: dict[str, Atom] = {}

    def solve(self, name: str) -> None:
        """Take the update of a state apart; all that it depends on beside the state is known."""
        state, new = self._states[name], self._next[name]
        affine: dict[str, tuple[Atom, Atom]] = {name: (Literal(1.0), Literal(0.0))}
        inside = needed(self.trace.equations, names_of([new]))
        for equation in self.trace.equations:
            if not affine.keys().isdisjoint(names_of(equation.args)) and equation.target.name in inside:
                affine[equation.target.name] = self._taken_apart(equation, affine)
        if not isinstance(new, Var) or new.name not in affine:
            self._new_values[name] = new
            return
        slope, offset = affine[new.name]
        target = Var(self._free(f"{name}'"), state.shape)
        if new.name in self._define:
            target = new
            self._before[new.name] = tuple(self._new)
            self._new.clear()
        self._scans.append(Scan(target, state, slope, offset))
        self._new_values[name] = target

    def result(self) -> ScannedStates:
        """The scans, and the trace that is left to be planned."""
        trace, known = self.trace, self._new_values
        pairs = [(s, new) for s, new in trace.updates() if s.name not in known]
        computed = [*(self._states[name] for name in known), *(scan.target for scan in self._scans)]
        left = replace(
            trace,
            inputs=(*trace.inputs, *computed),
            states=tuple(state for state, _ in pairs),
            next_states=tuple(new for _, new in pairs),
            equations=tuple(
                new for equation in trace.equations for new in self._before.get(equation.target.name, (equation,))
            ),
        )
        return ScannedStates(left, tuple(self._scans), known)

    def _taken_apart(self, equation: Equation, affine: Mapping[str, tuple[Atom, Atom]]) -> tuple[Atom, Atom]:
        """The slope and the offset of an equation's result. What scales or chooses does so to both of them."""
        slopes: list[Atom] = []
        offsets: list[Atom] = []
        for index, arg in enumerate(equation.args):
            scales = equation.op in (Op.MUL, Op.DIV) or (equation.op is Op.WHERE and index == 0)
            fixed: tuple[Atom, Atom] = (arg if scales else Literal(0.0), arg)
            slope, offset = affine.get(arg.name, fixed) if isinstance(arg, Var) else fixed
            slopes.append(slope)
            offsets.append(offset)
        return self._made(equation.op, slopes, equation.attrs), self._made(equation.op, offsets, equation.attrs)

    def _made(self, op: Op, args: Iterable[Atom], attrs: Attrs) -> Atom:
        """The atom that an operation gives: of what is there already, or of a new equation."""
        simple = simplest(self._definition, OpCall(op, tuple(Value(arg, arg.shape) for arg in args), attrs))
        if isinstance(simple, Value):
            return simple.atom
        atoms = tuple(arg.atom for arg in simple.args)
        shape = result_shape(simple.op, tuple(atom.shape for atom in atoms), simple.attrs)
        target = Var(self._free(next(name for n in self._numbers if (name := f"%{n}") not in self._taken)), shape)
        self._new.append(Equation(target, simple.op, atoms, simple.attrs))
        self._define[target.name] = self._new[-1]
        return target

    def _definition(self, value: Value) -> Equation | None:
        return self._define.get(value.atom.name) if isinstance(value.atom, Var) else None

    def _free(self, name: str) -> str:
        """The name, with as many primes as it takes to be a new one."""
        while name in self._taken:
            name += "'"
        self._taken.add(name)
        return name
