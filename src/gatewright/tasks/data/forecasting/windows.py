"""Forecasting: a series cut into parts, scaled by the first of them, and read in windows."""

import math
from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import DataError, OptionError
from gatewright.tasks.data.batches.arrays import EpochOrder, Rows, check_sizes

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
        tested = round(steps * test)
        return cls(steps - tested - round(steps * validation), steps - tested, steps)

    @classmethod
    def ett_hourly(cls) -> Self:
        """12, 4 and 4 months of 30 days, as ETTh1 and ETTh2 are cut since Zhou et al. (2021); the rest is unused."""
        return cls(12 * _ETT_MONTH, 16 * _ETT_MONTH, 20 * _ETT_MONTH)


class Span(NamedTuple):
    """One part [start, end) of a series that begins at `begin`."""

    begin: int
    start: int
    end: int


class WindowBatches:
    """Windows of a series: `history` steps to read, (history, batch, variables), and the `horizon` steps after them.

    Each window with its targets in the part [start, end) comes once an epoch, in an order drawn from
    (seed, epoch), or in order of time without a seed. What is read may lie before `start`, as in the literature: a
    forecast for the first step of the test part knows the end of the validation part. Where `values` are several
    series, one after the other, `spans` are their parts, and no window reaches from one series into the next.
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
        seed: int | None = None,
        spans: Sequence[Span] | None = None,
        part: str = "part",
    ) -> None:
        check_sizes(history=history, horizon=horizon, batch=batch)
        end = len(values) if end is None else end
        if not 0 <= start <= end <= len(values):
            raise OptionError(
                "the part lies outside of the series", expected=f"0 to {len(values)}", got=f"{start}, {end}"
            )
        self._values, self._history, self._horizon, self._batch = values, history, horizon, batch
        spans = (Span(0, start, end),) if spans is None else spans
        targets = [np.arange(max(s.start, s.begin + history), s.end - horizon + 1) for s in spans]
        self.targets = np.concatenate(targets)  # the first step that each window forecasts
        if not len(self.targets):
            longest = max(spans, key=lambda span: span.end - span.start)
            raise DataError(
                f"the {part} is too short for one window",
                expected=f"{history} steps to read and {horizon} to forecast",
                got=f"{longest.end - longest.start} steps, and {longest.start - longest.begin} before them",
                do="take a shorter history or horizon, or a larger part",
                shell="take a shorter history or horizon, with --set history=... --set horizon=..., or a larger part, "
                "with --set validation=... --set test=...; or a longer series",
            )
        self._order = EpochOrder(len(self.targets), seed)

    def __len__(self) -> int:
        return math.ceil(len(self.targets) / self._batch)

    def starts(self, epoch: int, position: int) -> NDArray[np.int64]:
        """The first step that each window of that place in the epoch's order forecasts."""
        return self.targets[self._order(epoch)[position * self._batch : (position + 1) * self._batch]]

    def batch(self, epoch: int, position: int) -> Rows:
        """The windows of that place in the epoch's order."""
        now = self.starts(epoch, position)
        read = now + np.arange(-self._history, 0)[:, np.newaxis]  # (history, batch)
        return Rows(self._values[read], self._values[now + np.arange(self._horizon)[:, np.newaxis]])


class ForecastBatches:
    """Windows of what is forecast and of what is known: (history + horizon, batch, variables + known).

    In the steps to come the variables are the seasonal naive forecast, beside which errors are reported; it may repeat
    a season that lies before the window. `known` are inputs with a known future, (steps, known).
    """

    carries_state = False

    def __init__(
        self, windows: WindowBatches, values: NDArray[np.float32], known: NDArray[np.float32], naive: NDArray[np.int64]
    ) -> None:
        """`naive`: how many steps back from each step to come (horizon,) the naive forecast of it lies."""
        self._windows, self._values, self._known, self._naive = windows, values, known, naive

    def __len__(self) -> int:
        return len(self._windows)

    def batch(self, epoch: int, position: int) -> Rows:
        """The windows of that place in the epoch's order."""
        now, rows = self._windows.starts(epoch, position), self._windows.batch(epoch, position)
        steps = np.arange(-len(rows.inputs), len(rows.targets))[:, np.newaxis] + now
        to_come = steps[-len(rows.targets) :]
        # Only windows of a training part may lie less than a season after the start, and nothing is measured there.
        naive = self._values[np.maximum(to_come - self._naive[:, np.newaxis], 0)]
        return Rows(np.concatenate([np.concatenate([rows.inputs, naive]), self._known[steps]], -1), rows.targets)
