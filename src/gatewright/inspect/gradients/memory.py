"""How far back a state or an output depends on what was read, measured by the gradient."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gatewright.errors import DataError, OptionError
from gatewright.inspect.activity.record import recurrent_layers
from gatewright.inspect.arguments import whole_number
from gatewright.inspect.gradients.differentiable import DifferentiableRun, frozen, required_outputs
from gatewright.inspect.gradients.reading import ModelSource, Reading, readings
from gatewright.inspect.gradients.windows import RowWindows, run_rows

Values = NDArray[np.float64]
Of = Literal["state", "output"]
_POOLED = 2


@dataclass(frozen=True, eq=False)
class EffectiveMemory:
    """The mean norm of the derivative of a state (or of outputs) at a step T by what was read at step T - lag.

    - `norms` (lags + 1,): of the whole network: the Frobenius norm of d h_T / d x_(T - lag).
    - `by_unit` (lags + 1, units): of each unit: the norm of d h_T[unit] / d x_(T - lag).
    - `ends` (lags + 1,): over how many T each mean is taken; where it is 0 the means are NaN.
    - `layer`: the path of the recurrent layer whose state it is; "" for outputs, and for a model that is a layer.
    """

    norms: Values
    by_unit: Values
    ends: NDArray[np.int64]
    layer: str

    @property
    def lags(self) -> NDArray[np.int64]:
        """0, 1, 2, ..."""
        return np.arange(len(self.norms))

    def reach(self, share: float = 0.1) -> int:
        """The largest lag at which the norm is at least this share of the largest norm."""
        known = np.where(np.isnan(self.norms), 0, self.norms)
        return int(np.flatnonzero(known >= share * known.max()).max(initial=0))


def effective_memory(
    source: ModelSource,
    data: Any = None,
    *,
    lags: int = 100,
    ends: int = 16,
    of: Of = "state",
    layer: str | None = None,
    limit: int = 4,
    **reading: Any,
) -> EffectiveMemory:
    """How strongly a network depends on what it read, against how long ago that was.

        gw.inspect.effective_memory("runs/text", text=page).reach(0.01)

    - `source`, `data`: a torch module and its input, or a run and data or `text`, as for `observe`. Symbols are
      differentiated by their vectors.
    - `lags`: how many steps back.
    - `ends`: how many steps T of a batch are taken, evenly spread over those with all lags before them, or over the
      ends of rows where all rows are shorter.
    - `of`: "state", the output of a recurrent layer, or "output", what the model gives. Where it gives one answer a
      row, or a forecast, T is the last step of the row.
    - `layer`: the path of the layer in the model; by default the last one that runs.
    - `limit`: how many batches of a run's data are read.

    The derivatives are exact: those of the whole row up to T. Raises OptionError for layers that read in both
    directions or have other steps than the model reads, for a layer that does not exist, and for a model that cannot
    read other numbers of rows, DataError where the data has no rows.
    """
    if whole_number("lags", lags) < 0 or whole_number("ends", ends) < 1:
        raise OptionError("there is nothing to measure", expected="lags of 0 or more, ends of 1 or more")
    total = _NormSums(lags)
    path = ""
    for batch in readings(source, data, limit=limit, **reading):
        if batch.steps:
            target = _target(batch, of, layer)
            path = target.path
            _add(batch, target, lags, ends, total)
    if not total.count.any():
        raise DataError("there is no step to measure: the data has no rows")
    return total.means(path)


def compare_memory(models: Mapping[str, ModelSource], data: Any = None, **options: Any) -> dict[str, EffectiveMemory]:
    """The effective memory of several models on the same data, by their names."""
    return {name: effective_memory(model, data, **options) for name, model in models.items()}


@dataclass(frozen=True)
class _StateOrOutput:
    """What is differentiated: the hidden states of a layer, or the outputs."""

    path: str
    is_output: bool

    def __call__(self, run: DifferentiableRun) -> Tensor | None:
        if not self.is_output:
            hidden = run.hidden.get(self.path)
            steps = sum(map(len, run.read))
            if hidden is not None and len(hidden) != steps:
                raise OptionError(
                    f"the layer {self.path!r} has {len(hidden)} steps where the model reads {steps}: "
                    "its memory has no lags",
                    do="measure the outputs in place of the states",
                )
            return hidden
        outputs = run.outputs
        if outputs is None or outputs.dim() == _POOLED or len(outputs) == sum(map(len, run.read)):
            return outputs
        return outputs.transpose(0, 1).flatten(1)  # those of a forecast are one answer a row


class _NormSums:
    """Sums of norms by lag."""

    def __init__(self, lags: int) -> None:
        self.count = np.zeros(lags + 1, np.int64)
        self.whole: Values = np.zeros(lags + 1)
        self.by_unit: Values = np.zeros((lags + 1, 1))

    def add(self, norms: Values) -> None:
        """Norms (ends, units, lags + 1), NaN where a lag is before the start."""
        self.count += (~np.isnan(norms[:, 0])).sum(0)
        self.whole = self.whole + np.nansum(np.sqrt((norms**2).sum(1)), 0)
        self.by_unit = self.by_unit + np.nansum(norms, 0).T

    def means(self, path: str) -> EffectiveMemory:
        counts = np.where(self.count > 0, self.count, np.nan)
        return EffectiveMemory(self.whole / counts, self.by_unit / counts[:, None], self.count, path)


def _target(batch: Reading, of: Of, layer: str | None) -> _StateOrOutput:
    """What is differentiated. Raises OptionError for a layer that is not there."""
    if of not in ("state", "output"):
        raise OptionError(f"there is no memory of {of!r}", expected="state, output")
    if of == "output":
        return _StateOrOutput("", is_output=True)
    with frozen(batch.model), torch.no_grad():
        paths = list(run_rows(batch, torch.zeros(1, dtype=torch.int64)).hidden)
    path = paths[-1] if layer is None else layer
    if path not in paths:
        raise OptionError(f"the model has no recurrent layer {path!r}", expected=", ".join(map(repr, paths)))
    if any(other.bidirectional for other in recurrent_layers(batch.model).values()):
        raise OptionError(
            f"the layer {path!r} depends on both directions: its memory has no lags",
            do="measure the outputs in place of the states",
        )
    return _StateOrOutput(path, is_output=False)


def _add(batch: Reading, target: _StateOrOutput, lags: int, ends: int, total: _NormSums) -> None:
    """Add the norms of one batch."""
    rows, steps = _places(batch.lengths, lags, ends)
    windows = RowWindows.over(batch, rows, steps, lags, target)
    with frozen(batch.model), torch.no_grad():
        run = run_rows(batch, rows[:1])
        values = _required(target(run), batch, run)
    if values.dim() == _POOLED:  # one answer a row: the memory of its end
        windows = RowWindows(batch, *_row_ends(batch.lengths, ends), lags, None)
    units = values[0].numel() if values.dim() == _POOLED else values[0, 0].numel()
    for chunk in windows.chunks(units):
        total.add(_jacobian_norms(windows, chunk, units, target))


def _jacobian_norms(windows: RowWindows, places: Tensor, units: int, target: _StateOrOutput) -> Values:
    """The norms (places, units, lags + 1). Each place is run once for each unit, as a row of its own: so one backward
    pass gives the derivatives of all units.
    """
    group = len(windows.chunks()[0])  # rows that fit into memory; the units of one place may be more
    parts: list[Tensor] = []
    for pair in torch.cartesian_prod(places, torch.arange(units)).reshape(-1, 2).split(group):
        place, unit = pair.T
        with frozen(windows.reading.model):
            run = windows.run(place)
            values = _required(target(run), windows.reading, run)
            row = torch.arange(len(place))
            if values.dim() == _POOLED:
                scalars = values.flatten(1)[row, unit]
            else:
                scalars = values.flatten(2)[windows.ends[place] - windows.starts(place), row, unit]
            norms = run.gradient(scalars.sum()).double().norm(dim=-1)
        parts.append(windows.by_lag(norms, place).cpu())
    return torch.cat(parts).reshape(len(places), units, -1).numpy()


def _places(lengths: Tensor, lags: int, ends: int) -> tuple[Tensor, Tensor]:
    """Rows and steps, evenly spread over those with all lags before them; ends of rows where there are none."""
    first = torch.minimum(torch.full_like(lengths, lags), lengths.max() - 1)
    counts = (lengths - first).clamp(min=0)
    numbers = torch.linspace(0, int(counts.sum()) - 1, min(ends, int(counts.sum())), dtype=torch.float64).round().long()
    stops = counts.cumsum(0)
    rows = torch.searchsorted(stops, numbers, right=True)
    return rows, numbers - (stops[rows] - counts[rows]) + first[rows]


def _row_ends(lengths: Tensor, ends: int) -> tuple[Tensor, Tensor]:
    """The last steps of up to so many rows."""
    rows = torch.nonzero(lengths > 0)[:, 0]
    taken = rows[torch.linspace(0, len(rows) - 1, min(ends, len(rows))).round().long()]
    return taken, lengths[taken] - 1


def _required(values: Tensor | None, batch: Reading, run: DifferentiableRun) -> Tensor:
    return required_outputs(run, batch) if values is None else values
