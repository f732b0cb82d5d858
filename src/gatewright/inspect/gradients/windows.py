"""Windows of a long row as rows of a batch: gradients over the last steps cost the same wherever in the row they are.

A window begins with the states that the layers had there, so its gradients are those of the whole row. Models for which
that does not hold, such as those with a convolution, are recognised by their outputs and run on whole rows.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gatewright.errors import OptionError
from gatewright.inspect.activity.activations import Activations
from gatewright.inspect.activity.record import record, recurrent_layers
from gatewright.inspect.gradients.differentiable import DifferentiableRun, Initial, frozen, run_differentiable
from gatewright.inspect.gradients.reading import Reading

Target = Callable[[DifferentiableRun], Tensor | None]
"""What is differentiated: (time, rows, values)."""

_ROW_STEPS = 1 << 15  # rows times steps that are differentiated at once: bounds the memory of a graph
_CLOSE = 1e-3  # of the largest value: above rounding in float32, below what another state would change


@dataclass(frozen=True, eq=False)
class RowWindows:
    """Places in a batch, each with the steps before it.

    - `rows`, `ends` (places,): the row and the step of each place.
    - `lags`: how many steps before its place are looked at.
    """

    reading: Reading
    rows: Tensor
    ends: Tensor
    lags: int
    activations: Activations | None

    @classmethod
    def over(cls, reading: Reading, rows: Tensor, ends: Tensor, lags: int, target: Target) -> "RowWindows":
        """Windows where the model allows it, whole rows otherwise."""
        whole = cls(reading, rows, ends, lags, None)
        if reading.steps <= lags + 1 or bool((ends < 0).any()):
            return whole
        activations = record(reading.model, *reading.arguments)
        windows = cls(reading, rows, ends, lags, activations)
        probe = torch.linspace(0, len(ends) - 1, min(len(ends), 4)).long()
        return windows if _has_states(reading.model, activations) and windows.agree(probe, target) else whole

    @property
    def are_whole(self) -> bool:
        """Whether whole rows are run."""
        return self.activations is None

    def starts(self, places: Tensor) -> Tensor:
        """The first step of each window."""
        return torch.zeros_like(places) if self.are_whole else (self.ends[places] - self.lags).clamp(min=0)

    def run(self, places: Tensor) -> DifferentiableRun:
        """Run the model on the windows of some places, within `frozen`; a place may come several times."""
        rows = self.rows[places]
        if self.activations is None:
            return run_rows(self.reading, rows)
        starts = self.starts(places)
        initial = _initial(self.reading.model, self.activations, rows, starts)
        windows = self.reading.windows(rows, starts, self.lags + 1)
        return _run(windows, self.reading, initial=initial, from_start=starts == 0)

    def chunks(self, width: int = 1) -> list[Tensor]:
        """All places in groups that fit into memory, where each place is run `width` times."""
        steps = len(self.reading.time_major) if self.are_whole else self.lags + 1
        return list(torch.arange(len(self.ends)).split(max(1, _ROW_STEPS // (steps * width))))

    def by_lag(self, gradients: Tensor, places: Tensor) -> Tensor:
        """Values at steps (time, rows) as values at lags (rows, lags + 1), NaN before the start; a row is a place."""
        steps = (self.ends[places] - self.starts(places))[:, None] - torch.arange(self.lags + 1)
        taken = gradients.T.gather(1, steps.clamp(min=0).to(gradients.device))
        return torch.where((steps >= 0).to(gradients.device), taken, torch.nan)

    def agree(self, places: Tensor, target: Target) -> bool:
        """Whether windows of some places give what whole rows give at their ends."""
        try:
            with frozen(self.reading.model), torch.no_grad():
                cut = target(self.run(places))
                whole = target(run_differentiable(self.reading))
        except (RuntimeError, OptionError):  # a model that reads rows of one length or number only, as of a forecast
            return False
        if cut is None or whole is None or cut.dim() < 3 or len(cut) != self.lags + 1:
            return False
        at_ends = cut[self.ends[places] - self.starts(places), torch.arange(len(places))]
        expected = whole[self.ends[places], self.rows[places]]
        bound = _CLOSE * float(expected.abs().max().clamp(min=1e-6))
        return bool(((at_ends - expected).abs() <= bound).all())


def run_rows(reading: Reading, rows: Tensor) -> DifferentiableRun:
    """Run a model on some rows, within `frozen`. Raises OptionError where it cannot read so many rows."""
    return _run(reading.rows(rows), reading)


def _run(part: Reading, reading: Reading, **options: Any) -> DifferentiableRun:
    rows = part.lengths
    try:
        return run_differentiable(part, **options)
    except RuntimeError as error:
        if len(rows) == len(reading.lengths):
            raise
        raise OptionError(
            f"the {type(reading.model).__name__} cannot read {len(rows)} rows in place of {len(reading.lengths)}",
            expected="a model that reads any number of rows: here each row is read alone, or many times at once",
            got=str(error).partition("\n")[0],
            do="let the model begin with a state of zeros, or measure its recurrent layer alone",
        ) from error


def _has_states(model: nn.Module, activations: Activations) -> bool:
    """Whether all states of all layers are recorded, and none is read from the end."""
    layers = recurrent_layers(model).values()
    levels = sum(layer.num_layers for layer in layers)
    return (
        not any(layer.bidirectional for layer in layers)
        and levels == len(activations.layers)
        and all(len(layer.states) == len(layer.trace.states) for layer in activations)
    )


def _initial(model: nn.Module, activations: Activations, rows: Tensor, starts: Tensor) -> Initial:
    """The states before the first steps of windows, by layer."""
    initial: dict[str, tuple[Tensor, ...]] = {}
    for path, module in recurrent_layers(model).items():
        like: Any = next(module.parameters())
        names = [".".join(filter(None, (path, f"l{level}"))) for level in range(module.num_layers)]
        levels = [activations.layer(name) for name in names]
        initial[path] = tuple(
            torch.as_tensor(
                np.stack([level.states[state.name][(starts - 1).clamp(min=0), rows] for level in levels])
            ).to(like)
            for state in levels[0].trace.states
        )
    return initial
