"""Which gates keep the old state when they are 1, and which replace it: computed from the equations, not from names.

The share of the old state in the new one is what stands before it: z in z * h + (1 - z) * n. It is computed with
numbers in place of symbols, several times, for a low and for a high value of each gate.
"""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from gatewright.lang.ops import Op
from gatewright.trace.identities import fold
from gatewright.trace.ir import Atom, Equation, Literal, Trace, Var

_SQUASHING = frozenset({Op.SIGMOID, Op.HARD_SIGMOID, Op.EXP})  # what makes a number that can stand for a share
_LOW, _HIGH = 0.4, 0.8  # twice as high: what is in proportion to a gate doubles
_TRIES = 6
_TINY = 1e-9


@dataclass(frozen=True, slots=True)
class GateRoles:
    """What the gates of a cell do to its states, by the names of the gates.

    - `keeps`: more of the old state is kept where the gate is nearer to 1: f in f * c + i * g.
    - `replaces`: less of it is: z in (1 - z) * h + z * n.
    - `writes`: the gate scales what is added to a state, and leaves the old one alone: i in f * c + i * g. It is told
      with the gate that keeps or replaces that state: {"i": "f"}.

    A gate that keeps one state and replaces another is in neither.
    """

    keeps: tuple[str, ...] = ()
    replaces: tuple[str, ...] = ()
    writes: Mapping[str, str] = field(default_factory=dict[str, str])

    def signs(self) -> Mapping[str, int]:
        """Which way each gate has to go for more of the old state to be kept: {"f": 1}, {"z": -1}."""
        return dict.fromkeys(self.keeps, 1) | dict.fromkeys(self.replaces, -1)


@lru_cache(maxsize=256)
def gate_roles(trace: Trace) -> GateRoles:
    """The roles of a cell's gates: of what sigmoid, hard_sigmoid or exp gives, and has a name."""
    gates = dict(_squashed(trace))
    signs: dict[str, set[int]] = {name: set() for name in gates}
    partner: dict[str, str] = {}  # for each state a gate that decides how much of it stays
    for state in trace.states:
        for name, gate in gates.items():
            sign = _sign(trace, state, gate)
            if sign:
                signs[name].add(sign)
                partner.setdefault(state.name, name)
    writes = {
        name: partner[state.name]
        for state in trace.states
        for name, gate in gates.items()
        if state.name in partner and not signs[name] and _writes(trace, state, gate)
    }
    return GateRoles(
        keeps=tuple(name for name in gates if signs[name] == {1}),
        replaces=tuple(name for name in gates if signs[name] == {-1}),
        writes=writes,
    )


def _squashed(trace: Trace) -> Iterator[tuple[str, Var]]:
    """The gates, and other squashed values that the user named, by name."""
    ops = {equation.target.name: equation.op for equation in trace.equations}
    gates = [(name, gate) for name, gate in trace.gates if ops.get(gate.name) in _SQUASHING]
    yield from gates
    known = {gate.name for _, gate in gates}
    names = {name for name, _ in trace.gates}
    for equation in trace.equations:
        target = equation.target
        if equation.op in _SQUASHING and target.name not in known | names and not target.name.startswith("%"):
            yield target.name, target


def _sign(trace: Trace, state: Var, gate: Var) -> int:
    """1 where raising a gate keeps more of a state, -1 where it keeps less, 0 where neither is always so."""
    moves: list[float] = []
    for attempt in range(_TRIES):
        low, high = (_next(trace, state, {gate.name: value}, attempt).slope for value in (_LOW, _HIGH))
        moves.append(high - low)
    if all(move > _TINY for move in moves):
        return 1
    return -1 if all(move < -_TINY for move in moves) else 0


def _writes(trace: Trace, state: Var, gate: Var) -> bool:
    """Whether what is added to a state is in proportion to a gate, which is made for that alone.

    In n * sigmoid(n) the squashed value is a part of the candidate.
    """
    source = next(equation.args[0] for equation in trace.equations if equation.target == gate)
    if sum(source in equation.args for equation in trace.equations) > 1:
        return False
    for attempt in range(_TRIES):
        low, high = (_next(trace, state, {gate.name: g, state.name: 0.0}, attempt).value for g in (_LOW, _HIGH))
        if abs(low) < _TINY or abs(high - low * _HIGH / _LOW) > _TINY:
            return False
    return True


def added_value(trace: Trace, state: Var, gates: Mapping[str, float], attempt: int = 0) -> float:
    """The new value of one unit of a state that was 0, where gates have some values and all else is drawn."""
    fixed = {gate.name: gates[name] for name, gate in trace.gates if name in gates}
    return _next(trace, state, {**fixed, state.name: 0.0}, attempt).value


@dataclass(frozen=True, slots=True)
class _Number:
    value: float
    slope: float = 0.0  # what stands before the old state, where it comes in element by element and unsquashed


def _next(trace: Trace, state: Var, fixed: Mapping[str, float], attempt: int) -> _Number:
    """The next value of one unit of a state, and the share of the old one in it."""
    numbers = {leaf.name: _drawn(leaf.name, attempt) for leaf in trace.leaves()}
    numbers[state.name] = _Number(fixed.get(state.name, numbers[state.name].value), 1.0)

    def number(atom: Atom) -> _Number:
        return _Number(atom.value) if isinstance(atom, Literal) else numbers[atom.name]

    for equation in trace.equations:
        name = equation.target.name
        args = [number(arg) for arg in equation.args]
        numbers[name] = _Number(fixed[name]) if name in fixed else _computed(equation, args, attempt)
    return number(trace.next_states[trace.states.index(state)])


@lru_cache(maxsize=1024)
def _drawn(name: str, attempt: int) -> _Number:
    return _Number(random.Random(f"{attempt} {name}").uniform(-1.0, 1.0))


def _computed(equation: Equation, args: list[_Number], attempt: int) -> _Number:
    """What an equation gives for one unit; what depends on other units as well is any number."""
    match equation.op, args:
        case ((Op.RELABEL | Op.EXPAND), [a]):
            return a
        case Op.WHERE, [condition, a, b]:
            return a if condition.value else b
        case _:
            value = fold(equation.op, [arg.value for arg in args], equation.attrs)
    return _drawn(equation.target.name, attempt) if value is None else _Number(value, _slope(equation.op, args))


def _slope(op: Op, args: list[_Number]) -> float:
    match op, args:
        case Op.ADD, [a, b]:
            return a.slope + b.slope
        case Op.SUB, [a, b]:
            return a.slope - b.slope
        case Op.NEG, [a]:
            return -a.slope
        case Op.MUL, [a, b]:
            return a.slope * b.value + a.value * b.slope
        case Op.DIV, [a, b]:
            return a.slope / b.value
        case _:
            return 0.0
