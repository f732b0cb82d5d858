"""Gradient check: the derivatives of a cell against central differences and autograd, in float64, to second order."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from math import inf, nan

import numpy as np

from gatewright import cells
from gatewright.errors import GatewrightError, OptionError
from gatewright.inspect.derivatives import derived, differences
from gatewright.inspect.derivatives.point import Array, Arrays, Point, default_sizes, draw_point
from gatewright.lang import Cell
from gatewright.trace import Trace, trace_cell

GRADIENT, SECOND, FORWARD = "gradient", "second", "forward"
DERIVATIVES = (GRADIENT, SECOND, FORWARD)
DIFFERENCES, AUTOGRAD = "differences", "autograd"

THRESHOLD = 1e-6
FLOOR = {DIFFERENCES: 1e-4, AUTOGRAD: 1e-7}
"""The smallest magnitude that an error is divided by, as a share of the largest derivative: less than that is noise."""

DRAWS = 100


class GradcheckError(GatewrightError, AssertionError):
    """A derivative is wrong, or cannot be checked."""


@dataclass(frozen=True, slots=True)
class ComparedDerivative:
    """The worst element of one comparison by one leaf: an input, a parameter, an initial state, a weight of the loss.

    `error` is |derived - other| / max(|derived|, |other|, floor), where `floor` is 1e-4 (against differences) or 1e-7
    (against autograd) of the largest derivative by any leaf. So every element is held to its own size; an error can
    hide only where it is below 1e-10 (1e-13) of the largest derivative, which is what the other method cannot tell
    from noise. It is infinite where a value is missing, not finite, or has another shape.
    """

    derivative: str  # "gradient", "second" or "forward"
    against: str  # "differences" or "autograd"
    leaf: str
    where: str  # the element: W.r[2, 0]; in forward mode that of an output: W.r -> h.out[3, 1, 2]
    derived: float
    other: float
    error: float

    def __str__(self) -> str:
        other = {DIFFERENCES: "central differences", AUTOGRAD: "autograd"}[self.against]
        numbers = f"derived {self.derived:.12g}, by {other} {self.other:.12g}"
        return f"{self.derivative} by {self.where}: {numbers}, relative error {self.error:.1e}"


@dataclass(frozen=True, slots=True)
class GradcheckReport:
    """The result of a gradient check: the worst element for each derivative, each other method and each leaf."""

    cell: str
    rows: tuple[ComparedDerivative, ...]
    threshold: float
    sizes: Mapping[str, int]
    lengths: tuple[int, ...]
    seed: int  # of the point that was used
    redrawn: tuple[str, ...]  # why the points before it could not be used

    @property
    def failures(self) -> tuple[ComparedDerivative, ...]:
        """The rows above the threshold: first those of the gradient, and the worst of each derivative first."""
        wrong = [row for row in self.rows if not row.error <= self.threshold]
        return tuple(sorted(wrong, key=lambda row: (DERIVATIVES.index(row.derivative), -row.error)))

    @property
    def passed(self) -> bool:
        """Whether every derivative was compared and agrees."""
        return bool(self.rows) and not self.failures

    def worst(self, derivative: str, against: str) -> ComparedDerivative | None:
        """The row with the largest error of one kind; None where that was not compared."""
        rows = [row for row in self.rows if (row.derivative, row.against) == (derivative, against)]
        return max(rows, key=lambda row: row.error, default=None)

    def raise_if_failed(self) -> None:
        """Raise GradcheckError, which names the cell and the worst element of each leaf that fails."""
        if self.passed:
            return
        shown = [str(row) for row in self.failures[:8]]
        more = len(self.failures) - len(shown)
        raise GradcheckError(
            f"the derivatives of {self.cell} are wrong\n  "
            + "\n  ".join([*shown, *([f"and {more} more"] * (more > 0))]),
            expected=f"a relative error of at most {self.threshold:g}",
            do=f"repeat it with seed={self.seed}",
            shell=f"repeat it with --seed {self.seed}",
        )


def gradcheck(
    cell: Cell | Trace | str,
    *,
    input_size: int = 3,
    hidden_size: int = 4,
    steps: int = 5,
    batch: int = 3,
    seed: int = 0,
    sizes: Mapping[str, int] | None = None,
    threshold: float = THRESHOLD,
    autograd: bool = True,
) -> GradcheckReport:
    """Compare a cell's derivatives, as Gatewright derives them, with two other ways of computing them.

    The numbers are random, in float64, over a batch of rows of different lengths. The loss depends on every state after
    every step and at the end of each row:

    - `gradient`, reverse mode: every element of every input, parameter and initial state;
    - `second`: the gradient of the gradient along a random direction;
    - `forward`, forward mode: the change of every output when one leaf alone moves;

    each against central differences and, with `autograd`, against torch's autograd over the eager backend. Random
    values of the cell are drawn once and kept. A point is drawn again with the next seed if a kink (of relu, abs,
    maximum, ...) lies within the step of the differences, or if a value is not finite; the report says so. `steps` is
    the length of the longest row, `batch` the number of rows, `sizes` the sizes of axes besides input and hidden.

    Raises OptionError for a cell or size that is not allowed, or if torch is needed and not installed; GradcheckError
    if no point can be used.
    """
    if min(input_size, hidden_size, steps, batch) < 1:
        sizes_text = f"input_size={input_size}, hidden_size={hidden_size}, steps={steps}, batch={batch}"
        raise OptionError("a gradient check needs something to check", expected="sizes of 1 or more", got=sizes_text)
    if autograd and find_spec("torch") is None:
        raise OptionError(
            "torch is not installed, and its autograd is half of the gradient check",
            do="pip install 'gatewright[torch]', or check against differences alone with autograd=False",
            shell="pip install 'gatewright[torch]', or check against differences alone with --no-autograd",
        )
    cell = cells.get(cell) if isinstance(cell, str) else cell
    trace = trace_cell(cell) if isinstance(cell, Cell) else cell
    initial = cell.starts(param.name for param in trace.params) if isinstance(cell, Cell) else {}
    bound = default_sizes(trace, input_size, hidden_size) | dict(sizes or {})
    redrawn: list[str] = []
    for attempt in range(DRAWS):
        point = draw_point(trace, bound, steps=steps, batch=batch, seed=seed + attempt, initial=initial)
        try:
            rows = tuple(_compare(trace, point, autograd=autograd))
        except differences.UnfitPointError as unfit:
            redrawn.append(str(unfit))
            continue
        return GradcheckReport(trace.name, rows, threshold, bound, point.lengths, seed + attempt, tuple(redrawn))
    raise _no_point(trace, redrawn)


def _compare(trace: Trace, point: Point, *, autograd: bool) -> Iterator[ComparedDerivative]:
    methods = {DIFFERENCES: differences}
    if autograd:
        from gatewright.inspect.derivatives import autograd as torch_autograd

        methods[AUTOGRAD] = torch_autograd
    for derivative in DERIVATIVES:
        others: dict[str, Arrays] = {
            name: getattr(method, derivative)(trace, point) for name, method in methods.items()
        }
        ours: Arrays = getattr(derived, derivative)(trace, point)
        for against, other in others.items():
            yield from compared(derivative, against, ours, other)


def compared(derivative: str, against: str, ours: Arrays, other: Arrays) -> Iterator[ComparedDerivative]:
    """The worst element of each array by its name; `ours` are the derived ones."""
    finite = [np.abs(array[np.isfinite(array)]) for array in (*ours.values(), *other.values())]
    floor = FLOOR[against] * max((float(array.max(initial=0.0)) for array in finite), default=0.0)
    for name, wanted in other.items():
        mine = ours.get(name)
        leaf = name.partition(" -> ")[0]
        if mine is None or mine.shape != wanted.shape:
            problem = "is missing" if mine is None else f"has shape {mine.shape} instead of {wanted.shape}"
            yield ComparedDerivative(derivative, against, leaf, f"{name}, which {problem}", nan, nan, inf)
        elif mine.size:
            errors = _errors(mine, wanted, floor)
            index = np.unravel_index(int(np.argmax(errors)), errors.shape)
            where = f"{name}[{', '.join(str(int(i)) for i in index)}]" if index else name
            numbers = (float(array[index]) for array in (mine, wanted, errors))
            yield ComparedDerivative(derivative, against, leaf, where, *numbers)


def _errors(ours: Array, other: Array, floor: float) -> Array:
    """The relative error of every element."""
    sizes = np.maximum(np.maximum(np.abs(ours), np.abs(other)), floor)
    with np.errstate(invalid="ignore"):
        errors = np.abs(ours - other) / np.where(sizes == 0, 1.0, sizes)
    return np.where(np.isfinite(ours) & np.isfinite(other), errors, inf)


def _no_point(trace: Trace, reasons: list[str]) -> GradcheckError:
    kinks = sum(reason == differences.KINK for reason in reasons)
    return GradcheckError(
        f"the derivatives of {trace.name} cannot be checked: {len(reasons)} random points, and none of them fit",
        expected="a point at which every value is finite and no kink lies within the step of the differences",
        got=f"{kinks} points beside a kink, {len(reasons) - kinks} at which a value is not finite",
        do="take fewer hidden units, steps or rows, so that fewer kinks can be near"
        if kinks
        else "keep the arguments of log, sqrt and division away from 0",
    )
