"""Forecasting: a series cut into parts, scaled by the first of them, and read in windows."""

import math
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import DataError, OptionError
from gatewright.tasks.data.orders import EpochOrder
from gatewright.tasks.parts import Rows

Values = NDArray[np.float32] | NDArray[np.float64]

_ETT_MONTH = 30 * 24  # hours of what the papers call a month


class Cuts(NamedTuple):
    """Where the parts of a series end: train is [0, train), validation [train, validation), test [validation, test)."""

    train: int
    validation: int
    test: int

    @classmethod
    def shares(cls, steps: int, *, validation: float = 0.1, test: float = 0.2) -> Self:
        """The last share to test with, the one before it to validate, as Autoformer cuts (Wu et al. 2021)."""
        if not (validation > 0 and test > 0 and validation + test < 1):
            raise OptionError(
                "a part of the series would be empty",
                expected="validation and test above 0, together below 1",
                got=f"{validation}, {test}",
            )
        held = round(steps * test)
        return cls(steps - held - round(steps * validation), steps - held, steps)

    @classmethod
    def ett_hourly(cls) -> Self:
        """12, 4 and 4 months of 30 days, as ETTh1 and ETTh2 are cut since Zhou et al. (2021); the rest is unused."""
        return cls(12 * _ETT_MONTH, 16 * _ETT_MONTH, 20 * _ETT_MONTH)


ROUNDING = 16 * float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class Scaling:
    """Mean and standard deviation of each variable, (variables,); a variable that never changes has deviation 1.

    Changes within the rounding of float64, of 4e-15 beside the variable's largest number, are none.
    """

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]

    @classmethod
    def of(cls, values: Values) -> Self:
        """Of those steps, (steps, variables): of the training part, and of nothing that is forecast."""
        if not len(values):
            raise DataError("there are no steps to scale by")
        deviation = values.std(0, dtype=np.float64)
        # The mean of a constant is off by its rounding, and so is each difference from it: that is no deviation.
        rounding = ROUNDING * np.abs(values).max(0)
        return cls(values.mean(0, dtype=np.float64), np.where(deviation > rounding, deviation, 1.0))

    def apply(self, values: Values) -> NDArray[np.float32]:
        """Each variable with mean 0 and deviation 1 in the part that this is of."""
        return ((values - self.mean) / self.deviation).astype(np.float32)

    def undo(self, scaled: Values) -> NDArray[np.float64]:
        """The values again; the last axis is the variables."""
        return scaled * self.deviation + self.mean


class WindowBatches:
    """Windows of a series: `history` steps to read, (history, batch, variables), and the `horizon` steps after them.

    Of the part [start, end) each window whose targets lie in it comes once an epoch, in an order drawn from
    (seed, epoch), or in time without a seed. What is read may lie before `start`, as in the literature: a forecast for
    the first step of the test part knows the end of the validation part. `stride` leaves steps between windows out.
    """

    carries_state = False

    def __init__(
        self,
        values: NDArray[np.float32],
        history: int,
        horizon: int,
        batch: int,
        *,
        start: int = 0,
        end: int | None = None,
        stride: int = 1,
        seed: int | None = None,
    ) -> None:
        for name, value in (("history", history), ("horizon", horizon), ("batch", batch), ("stride", stride)):
            if value < 1:
                raise OptionError(f"{name} is too small", expected="at least 1", got=str(value))
        end = len(values) if end is None else end
        if not 0 <= start <= end <= len(values):
            raise OptionError(
                "the part lies outside of the series", expected=f"0 to {len(values)}", got=f"{start}, {end}"
            )
        self._values, self._history, self._horizon, self._batch = values, history, horizon, batch
        self.targets = np.arange(max(start, history), end - horizon + 1, stride)  # the first step that each forecasts
        if not len(self.targets):
            raise DataError(
                "the part is too short for one window",
                expected=f"{history} steps to read and {horizon} to forecast",
                got=f"{end - start} steps, and {start} before them",
                do="take a shorter history or horizon, or a larger part",
                shell="take a shorter history or horizon, with --set history=... --set horizon=...; or a longer series",
            )
        self._order = EpochOrder(len(self.targets), seed)

    def __len__(self) -> int:
        return math.ceil(len(self.targets) / self._batch)

    def batch(self, epoch: int, position: int) -> Rows:
        """The windows of that place in the epoch's order."""
        places = self._order(epoch)[position * self._batch : (position + 1) * self._batch]
        now = self.targets[places]
        read = now + np.arange(-self._history, 0)[:, np.newaxis]  # (history, batch)
        return Rows(self._values[read], self._values[now + np.arange(self._horizon)[:, np.newaxis]])


def seasonal_naive(history: Values, season: int, horizon: int) -> Values:
    """The forecast (horizon, batch, variables) that each season repeats the last one of (history, batch, variables)."""
    return history[repeated_steps(len(history), season, horizon)]


def repeated_steps(steps: int, season: int, horizon: int) -> NDArray[np.int64]:
    """Which of the `steps` that were read each step to come repeats, where the last season does: (horizon,)."""
    if not 1 <= season <= steps:
        raise OptionError(
            "the season is longer than the history that repeats it",
            expected=f"1 to {steps} steps",
            got=str(season),
            do="take a shorter season, or a longer history",
            shell="take a shorter season, or a longer history, with --set season=... or --set history=...",
        )
    return steps - season + np.arange(horizon, dtype=np.int64) % season


def best_season(values: Values, horizon: int, longest: int) -> int:
    """The season, 1 to `longest`, with which seasonal_naive forecasts those steps (steps, variables) best.

    It is a season of 1, which repeats the last value, where the steps do not come back.
    """
    if len(values) <= horizon + 1:
        raise DataError(
            "the series is too short to find its season",
            expected=f"more than {horizon + 1} steps to train on",
            got=f"{len(values)} steps",
            do="name it, or forecast fewer steps",
            shell="name it with --set season=..., or forecast fewer steps with --set horizon=...",
        )
    scale = np.where(values.std(0) > 0, values.std(0), 1.0)
    longest = min(longest, len(values) - horizon - 1)
    lags = longest + horizon
    errors = [np.inf, *(np.mean(np.abs(values[lag:] - values[:-lag]) / scale) for lag in range(1, lags))]
    steps = np.arange(1, horizon + 1)
    return min(range(1, longest + 1), key=lambda season: sum(errors[season * -(-step // season)] for step in steps))


class ForecastBatches:
    """Windows whose inputs go on with the seasonal naive forecast: (history + horizon, batch, variables)."""

    carries_state = False

    def __init__(self, windows: WindowBatches, season: int) -> None:
        self._windows, self._season = windows, season

    def __len__(self) -> int:
        return len(self._windows)

    def batch(self, epoch: int, position: int) -> Rows:
        """The windows of that place in the epoch's order."""
        found = self._windows.batch(epoch, position)
        naive = seasonal_naive(found.inputs, self._season, len(found.targets))
        return Rows(np.concatenate([found.inputs, naive]), found.targets)
