"""Sums over rows and steps: what can be summed first is, so that the rest is done once and not for every row.

The sum of outer products is one matrix product after the loop; what is linear around it (a transpose, a factor that is
shared by all rows) is applied to the sum.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from gatewright.axes import Shape
from gatewright.errors import TraceError
from gatewright.lang.ops import SUMS, Attrs, Op
from gatewright.schedule.program import RowSum
from gatewright.trace.analysis import shared
from gatewright.trace.ir import Atom, Equation, Literal, Trace, Var

_SUMMED = SUMS | {Op.TRANSPOSE, Op.EXPAND, Op.SUM, Op.RELABEL}
_FACTOR = frozenset({Op.MUL, Op.OUTER})


@dataclass(slots=True)
class Lifted:
    """The sums of a trace, as sums of rows and equations on them."""

    row_sums: list[RowSum] = field(default_factory=list[RowSum])
    epilogue: list[Equation] = field(default_factory=list[Equation])
    sums: list[tuple[str, Atom]] = field(default_factory=list[tuple[str, Atom]])


def lift_sums(trace: Trace) -> Lifted:
    """Move the sums over rows as far inwards as they go.

    Raises TraceError for a matrix of a row that is neither an outer product nor linear in one.
    """
    lifter = _Lifter(trace)
    for name, value in trace.sums:
        lifter.result.sums.append((name, lifter.lift(value)))
    return lifter.result


class _Lifter:
    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.result = Lifted()
        self._define = trace.definitions()
        self._shared = shared(trace)
        self._done: dict[str, Atom] = {}

    def lift(self, value: Atom) -> Atom:
        """The sum of a value over all rows and steps."""
        if isinstance(value, Literal):
            if value.value == 0:
                return value
            raise self._unsupported(f"the number {value.value}")
        if value.name in self._shared:
            raise self._unsupported(f"{value.name}, which is the same for all rows")
        if value.name not in self._done:
            self._done[value.name] = self._lifted(value)
        return self._done[value.name]

    def _lifted(self, value: Var) -> Atom:
        equation = self._define.get(value.name)
        if equation is None or (len(value.shape) == 1 and equation.op is not Op.EXPAND):
            return self._sum(value, value)
        op, args = equation.op, equation.args
        once = [self._is_shared(arg) for arg in args]
        if op is Op.OUTER and not any(once):
            left, right = args
            assert isinstance(left, Var)
            assert isinstance(right, Var)
            return self._sum(value, left, right)
        if op in _SUMMED and self._can_lift(args):
            return self._equation(value.shape, op, tuple(map(self.lift, args)), equation.attrs)
        if op is Op.WHERE and once[0] and self._can_lift(args[1:]):
            return self._equation(value.shape, op, (args[0], *map(self.lift, args[1:])))
        if (op in _FACTOR and any(once)) or (op is Op.DIV and once[1]):
            return self._equation(value.shape, op, tuple(a if self._is_shared(a) else self.lift(a) for a in args))
        if len(value.shape) < 2:
            return self._sum(value, value)
        raise self._unsupported(f"{value.name} = {op} of matrices")

    def _can_lift(self, atoms: Iterable[Atom]) -> bool:
        return all(atom == Literal(0.0) if self._is_shared(atom) else True for atom in atoms)

    def _is_shared(self, atom: Atom) -> bool:
        return isinstance(atom, Literal) or atom.name in self._shared

    def _sum(self, value: Var, left: Var, right: Var | None = None) -> Var:
        target = Var(f"sum of {value.name}", value.shape)
        self.result.row_sums.append(RowSum(target, left, right))
        return target

    def _equation(self, shape: Shape, op: Op, args: tuple[Atom, ...], attrs: Attrs = ()) -> Var:
        target = Var(f"total {len(self.result.epilogue)}", shape)
        self.result.epilogue.append(Equation(target, op, args, attrs))
        return target

    def _unsupported(self, what: str) -> TraceError:
        return TraceError(
            f"trace {self.trace.name!r} sums over rows what no schedule can sum",
            expected="outer products, vectors, and what is linear in them",
            got=what,
            do="use a backend that runs the Trace itself: backend='torch'",
        )
