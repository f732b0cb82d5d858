"""Whether a cell is parallel in time: whether each state is an affine function of its old value, element by element."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from gatewright.lang.ops import SUMS, Op
from gatewright.lang.param import Param
from gatewright.trace.analysis import reads
from gatewright.trace.ir import Atom, Equation, Trace, Var

_KEEPS_AFFINE = SUMS | {Op.RELABEL}


@dataclass(frozen=True, slots=True)
class Recurrence:
    """How each state that is read reaches the step after.

    - `order`: states whose next value is a * state + b, element by element, where neither a nor b depends on
      a state, but for those earlier in the order. An associative scan can compute each for all time steps at
      once, after those before it.
    - `reasons`: why not, for each of the other states that are read.

    A state that is not read (the output of SRU or QRNN) is in neither: it is computed of the others, for all
    steps at once.
    """

    order: tuple[str, ...]
    reasons: Mapping[str, str]

    @property
    def is_parallel(self) -> bool:
        """Whether the whole cell can be computed without a loop over time."""
        return not self.reasons

    @property
    def reason(self) -> str:
        """Why the cell is not parallel in time; empty where it is."""
        return "; ".join(self.reasons.values())


def recurrence(trace: Trace) -> Recurrence:
    """Tell for every state that is read whether an associative scan may compute it."""
    read = reads(trace)
    waiting = {s.name: new for s, new in trace.updates() if s.name in read}
    order: list[str] = []
    while waiting:
        obstacles = {state: _obstacle(trace, state, new, waiting) for state, new in waiting.items()}
        solved = [state for state, obstacle in obstacles.items() if obstacle is None]
        if not solved:
            return Recurrence(tuple(order), {state: str(obstacle) for state, obstacle in obstacles.items()})
        order += solved
        waiting = {state: new for state, new in waiting.items() if state not in solved}
    return Recurrence(tuple(order), {})


def _obstacle(trace: Trace, state: str, new: Atom, unsolved: Collection[str]) -> str | None:
    """Why the next value of a state is not affine in it, where all states but the unsolved ones are known."""
    affine = {state}
    faults = {other: f"{other} reaches the update of {state}" for other in unsolved if other != state}
    for equation in trace.equations:
        names = [arg.name for arg in equation.args if isinstance(arg, Var)]
        inherited = next((faults[name] for name in names if name in faults), None)
        if inherited is not None:
            through = f" through {spelled(equation)}" if " through " not in inherited else ""
            faults[equation.target.name] = inherited + through
        elif _is_affine(equation, affine):
            affine.add(equation.target.name)
        elif not affine.isdisjoint(names):
            faults[equation.target.name] = f"{state} reaches its own update through {spelled(equation)}"
    return faults.get(new.name) if isinstance(new, Var) else None


def _is_affine(equation: Equation, affine: Collection[str]) -> bool:
    """Whether a value depends on affine values, and is affine again."""
    moving = [isinstance(arg, Var) and arg.name in affine for arg in equation.args]
    match equation.op:
        case Op.MUL:
            return sum(moving) == 1
        case Op.DIV:
            return moving == [True, False]
        case Op.WHERE:
            return any(moving) and not moving[0]
        case _:
            return any(moving) and equation.op in _KEEPS_AFFINE


def spelled(equation: Equation) -> str:
    """An equation in a few words: "matmul U.r, line 12"."""
    parameters = [arg.name for arg in equation.args if isinstance(arg, Var) and Param.parse(arg.name).gate]
    line = f", line {equation.where.line}" if equation.where else ""
    return " ".join([equation.op, *parameters[:1]]) + line
