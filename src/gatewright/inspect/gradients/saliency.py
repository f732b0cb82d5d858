"""What an output looked at: its derivative by every input, and its difference to a baseline shared out among them."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gatewright.errors import OptionError, ShapeError
from gatewright.inspect.activity.names import check_names
from gatewright.inspect.arguments import numbers_of, whole_number
from gatewright.inspect.gradients.differentiable import (
    DifferentiableRun,
    frozen,
    required_outputs,
    run_differentiable,
)
from gatewright.inspect.gradients.reading import ModelSource, Reading, first_reading
from gatewright.inspect.gradients.windows import RowWindows

Values = NDArray[np.float64]
Output = int | str | tuple[int, ...]
_POINTS = (32, 64, 128, 256)
_LEFT_OVER, _ROUNDING = 0.01, 1e-5  # of the difference, and of outputs in float32
_POOLED = 2  # axes of outputs that are one answer a row
_WITH_INTERVAL = 4  # axes of a forecast: time, rows, variables, ends of the interval


@dataclass(frozen=True, eq=False)
class Saliency:
    """The derivative of one output by what was read at each step.

    - `gradient`, `read` (time, batch, features): the derivative, and the numbers, or the vectors of the symbols.
    - `outputs` (batch,): the value of the output, which is `chosen` (batch,), the place among all outputs.
    - `steps` (batch,): the step at which it was given; None where there is one answer a row.
    - `lengths` (batch,): the steps of each row; beyond, the arrays are NaN.
    - `symbols`, `labels`: the names of the steps of each row, and of the outputs, where they have names.
    """

    gradient: Values
    read: Values
    outputs: Values
    chosen: NDArray[np.int64]
    steps: NDArray[np.int64] | None
    lengths: NDArray[np.int64]
    symbols: Sequence[Sequence[str]] | None = None
    labels: Sequence[str] | None = None

    @property
    def norms(self) -> Values:
        """How much a small change at each step moves the output, (time, batch): the norm of the gradient."""
        return np.linalg.norm(self.gradient, axis=-1)

    @property
    def products(self) -> Values:
        """Gradient times input, (time, batch): with its sign."""
        return (self.gradient * self.read).sum(-1)


@dataclass(frozen=True, eq=False)
class Attribution:
    """The difference of an output to that at a baseline, shared out among the inputs.

    - `values` (time, batch, features): the share of each. Their sum over time and features is `difference` (batch,),
      but for `error` (batch,), what the finite number of points left over.
    - `outputs`, `baseline_outputs` (batch,): the output, and the output at the baseline.
    - `chosen`, `steps`, `lengths`, `symbols`, `labels`: as those of a `Saliency`.
    """

    values: Values
    outputs: Values
    baseline_outputs: Values
    chosen: NDArray[np.int64]
    steps: NDArray[np.int64] | None
    lengths: NDArray[np.int64]
    symbols: Sequence[Sequence[str]] | None = None
    labels: Sequence[str] | None = None

    @property
    def by_step(self) -> Values:
        """The share of each step, (time, batch), with its sign."""
        return self.values.sum(-1)

    @property
    def difference(self) -> Values:
        """How much the output differs from that at the baseline, (batch,)."""
        return self.outputs - self.baseline_outputs

    @property
    def error(self) -> Values:
        """What the sum of all shares is more than the difference, (batch,)."""
        return np.nansum(self.values, axis=(0, 2)) - self.difference


@dataclass(frozen=True, eq=False)
class LaggedSaliency:
    """The saliency of the output at every step of one row.

    `values` (steps, lags + 1): at [t, k] the norm of the derivative of the output at step t by what was read at step
    t - k, NaN where that is before the start. `chosen` (steps,) is the output at each step, by its place.
    """

    values: Values
    chosen: NDArray[np.int64]
    row: int
    symbols: Sequence[str] | None = None
    labels: Sequence[str] | None = None


def saliency(
    source: ModelSource, data: Any = None, *, output: Output | None = None, step: int | None = None, **reading: Any
) -> Saliency:
    """The derivative of an output by every input of the first batch (Simonyan, Vedaldi & Zisserman 2013, 1312.6034).

        saliency = gw.inspect.saliency("runs/films", text="not bad at all", output="pos")
        saliency = gw.inspect.saliency(model, x, output=3, step=-1)

    - `source`, `data`: a torch module and its input, or a run and data or `text`, as for `observe`. For a module
      `symbols` and `labels` can name its steps and outputs, and `lengths` are the steps of its rows.
    - `output`: the place or name of the output; (variable, end) of a forecast's interval. By default the output that
      is highest, and of a forecast the middle of the first variable.
    - `step`: the step at which the output is given, or of a forecast the step ahead, from 0 on; negative from the end
      of each row. By default the last one. Models with one answer a row have no steps to choose from.

    Symbols are differentiated by their vectors. Raises OptionError for an output or step that does not exist.
    """
    batch = first_reading(source, data, **reading)
    with frozen(batch.model):
        run = run_differentiable(batch)
        outputs = _Outputs.of(run, batch, step)
        chosen = outputs.chosen(output)
        values = outputs.values(chosen)
        gradient = run.gradient(values.sum())
    return Saliency(
        _within(gradient, batch.lengths),
        _within(run.read_values, batch.lengths),
        _array(values),
        chosen.cpu().numpy(),
        outputs.step_numbers,
        batch.lengths.numpy(),
        batch.symbols,
        batch.labels,
    )


def integrated_gradients(
    source: ModelSource,
    data: Any = None,
    *,
    output: Output | None = None,
    step: int | None = None,
    baseline: float | Any = 0.0,
    points: int | None = None,
    **reading: Any,
) -> Attribution:
    """Share out the difference between an output and that at a baseline (Sundararajan, Taly & Yan 2017, 1703.01365).

    Each share is the difference of an input to the baseline, times the mean derivative on the straight line between
    them. The mean is taken at `points` Gauss-Legendre points, in place of the paper's equal steps: fewer are needed.
    By default 32, and more, up to 256, until the shares of every row add up to within 1 % of the difference. Where they
    do not, as those of a network whose gradient explodes between the baseline and the input, a warning names the rows.

    - `baseline`: what stands for "nothing": a number, or an array that fits (time, batch, features). Symbols are
      vectors here, so 0 is the vector of 0.
    - Other arguments are those of `saliency`.
    """
    if points is not None and whole_number("points", points) < 1:
        raise OptionError("the integral needs points", expected="points of 1 or more", got=str(points))
    batch = first_reading(source, data, **reading)
    fewest, *more = _POINTS if points is None else (points,)
    found = _integrated(batch, output, step, baseline, fewest)
    for count in more:
        if not len(_uneven_rows(found)):
            break
        found = _integrated(batch, output, step, baseline, count)
    rows = _uneven_rows(found)
    if len(rows):
        numbers = ", ".join(map(str, rows[:10]))
        warnings.warn(
            f"the shares of rows {numbers} do not add up to the difference of outputs: see `error`; take more points, "
            "another baseline, or saliency",
            stacklevel=2,
        )
    return found


def _uneven_rows(found: Attribution) -> NDArray[np.int64]:
    """The rows of which the shares do not add up."""
    bound = _LEFT_OVER * np.abs(found.difference) + _ROUNDING * np.abs(found.outputs)
    return np.flatnonzero(~(np.abs(found.error) <= bound))


def _integrated(batch: Reading, output: Output | None, step: int | None, baseline: Any, points: int) -> Attribution:
    """Integrated gradients at so many points."""
    nodes, weights = np.polynomial.legendre.leggauss(points)
    total: Tensor | None = None
    with frozen(batch.model):
        run = run_differentiable(batch)
        outputs = _Outputs.of(run, batch, step)
        chosen = outputs.chosen(output)
        values, read = outputs.values(chosen).detach(), run.read_values
        zero = _baseline(baseline, read)
        for share, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
            between = run_differentiable(batch, change=_Blend(float(share), zero))
            gradient = between.gradient(_Outputs.of(between, batch, step).values(chosen).sum()).double()
            total = weight * gradient + (0 if total is None else total)
        at_baseline = run_differentiable(batch, change=_Blend(0.0, zero))
        base = _Outputs.of(at_baseline, batch, step).values(chosen)
    assert total is not None, "there is a point"
    return Attribution(
        _within(total * (read - zero), batch.lengths),
        _array(values),
        _array(base),
        chosen.cpu().numpy(),
        outputs.step_numbers,
        batch.lengths.numpy(),
        batch.symbols,
        batch.labels,
    )


def _baseline(baseline: Any, read: Tensor) -> Tensor:
    """The baseline in the shape of what is read. Raises ShapeError where it does not fit."""
    values = torch.as_tensor(numbers_of("the baseline", baseline)).to(read)
    try:
        return values.broadcast_to(read.shape)
    except RuntimeError:
        expected = f"a number, or an array that fits (time, batch, features) {tuple(read.shape)}"
        raise ShapeError("the baseline does not fit", expected=expected, got=str(tuple(values.shape))) from None


def saliency_by_lag(
    source: ModelSource,
    data: Any = None,
    *,
    lags: int = 32,
    row: int = 0,
    output: Output | None = None,
    steps: int | None = None,
    **reading: Any,
) -> LaggedSaliency:
    """For the output at every step of a row how much each of the last steps moves it.

        gw.inspect.saliency_by_lag("runs/text", text=page, lags=32).values      # (steps, 33)

    The last `lags` steps and the step itself are run as a window from the state before them: the gradients are those of
    the whole row, at a cost that grows with the number of steps alone. `output` is that of `saliency`; by default the
    highest one at each step. `steps`: only so many, from the start.

    Raises OptionError for models with one answer a row, models that read several steps as one, and rows, outputs and
    lags that do not exist.
    """
    if whole_number("lags", lags) < 0:
        raise OptionError("a lag is a number of steps back", expected="lags of 0 or more", got=str(lags))
    if steps is not None and whole_number("steps", steps) < 1:
        raise OptionError("there is no step to look at", expected="steps of 1 or more", got=str(steps))
    batch = first_reading(source, data, **reading)
    if not 0 <= whole_number("row", row) < len(batch.lengths):
        raise OptionError(f"there is no row {row}", expected=f"0 to {len(batch.lengths) - 1}")
    length = int(batch.lengths[row])
    ends = torch.arange(length if steps is None else min(steps, length))
    windows = RowWindows.over(batch, torch.full_like(ends, row), ends, lags, _step_outputs)
    values: list[Tensor] = []
    places: list[Tensor] = []
    for chunk in windows.chunks():
        with frozen(batch.model):
            run = windows.run(chunk)
            outputs = _Outputs.at(run, batch, windows.ends[chunk] - windows.starts(chunk))
            chosen = outputs.chosen(output)
            norms = run.gradient(outputs.values(chosen).sum()).double().norm(dim=-1)
        values.append(windows.by_lag(norms, chunk).cpu())
        places.append(chosen.cpu())
    return LaggedSaliency(
        torch.cat(values).numpy(),
        torch.cat(places).numpy(),
        row,
        None if batch.symbols is None else batch.symbols[row][: len(ends)],
        batch.labels,
    )


@dataclass(frozen=True)
class _Blend:
    """A point on the line from a baseline to what was read."""

    share: float
    baseline: Tensor

    def __call__(self, read: Tensor) -> Tensor:
        return self.baseline + self.share * (read - self.baseline)


@dataclass(frozen=True, eq=False)
class _Outputs:
    """The outputs at one step of each row, (batch, outputs), and how the outputs are named."""

    at_step: Tensor
    shape: tuple[int, ...]
    labels: Sequence[str] | None
    steps: Tensor | None

    def __post_init__(self) -> None:
        check_names((), None, self.labels, self.shape[-1] if len(self.shape) == 1 else None)

    @classmethod
    def of(cls, run: DifferentiableRun, batch: Reading, step: int | None) -> "_Outputs":
        """Those at a step; at the last one of each row where none is given."""
        outputs = required_outputs(run, batch)
        if step is not None:
            step = whole_number("step", step)
        if outputs.dim() == _POOLED:
            if step is not None:
                raise OptionError("the model gives one answer a row, not one a step", do="leave out step")
            return cls(outputs, tuple(outputs.shape[1:]), batch.labels, None)
        ahead = len(outputs) != len(run.read_values)  # as those of a forecast, whose steps are not those of its input
        ends = torch.full_like(batch.lengths, len(outputs)) if ahead else batch.lengths
        places = ends - 1 if step is None else torch.full_like(ends, step) if step >= 0 else ends + step
        if bool(((places < 0) | (places >= ends)).any()):
            shortest = int(ends.min())
            raise OptionError(f"there is no step {step}", expected=f"{-shortest} to {shortest - 1} in the shortest row")
        return cls._taken(outputs, batch, places)

    @classmethod
    def at(cls, run: DifferentiableRun, batch: Reading, places: Tensor) -> "_Outputs":
        """Those at a step of each row, of a model that gives an output for each step that it reads."""
        outputs = required_outputs(run, batch)
        if outputs.dim() == _POOLED or len(outputs) != len(run.read_values):
            raise OptionError("the model does not give an output for each step that it reads", do="take saliency")
        return cls._taken(outputs, batch, places)

    @classmethod
    def _taken(cls, outputs: Tensor, batch: Reading, places: Tensor) -> "_Outputs":
        rows = torch.arange(outputs.shape[1])
        return cls(outputs[places, rows].flatten(1), tuple(outputs.shape[2:]), batch.labels, places)

    @property
    def step_numbers(self) -> NDArray[np.int64] | None:
        return None if self.steps is None else self.steps.numpy()

    def chosen(self, output: Output | None) -> Tensor:
        """The place of the output of each row."""
        if output is None:
            if len(self.shape) > 1:
                return self.chosen((0, self.shape[-1] // 2))
            return self.at_step.argmax(-1)
        place = self._place(output)
        return torch.full((len(self.at_step),), place, device=self.at_step.device)

    def _place(self, output: Output) -> int:
        if isinstance(output, str):
            if output not in (self.labels or ()):
                raise OptionError(
                    f"there is no output {output!r}",
                    expected=", ".join(map(repr, (self.labels or ())[:40])) or "a number: outputs have no names",
                )
            return list(self.labels or ()).index(output)
        places = tuple(whole_number("output", place) for place in (output if isinstance(output, tuple) else (output,)))
        shape = self.shape if len(places) == len(self.shape) else (self.at_step.shape[-1],)
        if len(places) != len(shape) or not all(0 <= place < size for place, size in zip(places, shape, strict=True)):
            raise OptionError(
                f"there is no output {output}", expected=" and ".join(f"0 to {size - 1}" for size in self.shape)
            )
        return int(np.ravel_multi_index(places, shape))

    def values(self, chosen: Tensor) -> Tensor:
        """The chosen output of each row."""
        return self.at_step.gather(1, chosen[:, None])[:, 0]


def _step_outputs(run: DifferentiableRun) -> Tensor | None:
    return run.outputs


def _within(values: Tensor, lengths: Tensor) -> Values:
    """Values as an array, NaN after the ends of rows."""
    outside = torch.arange(len(values))[:, None, None] >= lengths[:, None]
    return values.detach().double().cpu().masked_fill(outside, torch.nan).numpy()


def _array(values: Tensor) -> Values:
    return values.detach().double().cpu().numpy()
