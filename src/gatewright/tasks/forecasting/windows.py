"""The data of a forecast: windows, and the series that they are cut from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import DataError
from gatewright.tasks.data.forecasting.linear import Floats
from gatewright.tasks.data.forecasting.seasons import calendar_inputs, calendar_names, steps_back
from gatewright.tasks.data.forecasting.series import TimeSeries
from gatewright.tasks.data.forecasting.windows import Cuts, ForecastBatches, Span, WindowBatches
from gatewright.tasks.data.scaling import Scaling
from gatewright.tasks.data.tables.time_axis import TimeAxis
from gatewright.tasks.formatting import counted
from gatewright.tasks.run_data import Data

MEASURED_ROWS = 256
LEAST_SPREAD = 0.05
"""The least spread of a window, in deviations of the training part: a window that hardly moves is not blown up."""


@dataclass(frozen=True, eq=False)
class KnownInputs:
    """Inputs with a known future: columns of the table and of the calendar, with their scaling."""

    columns: tuple[str, ...] = ()
    calendar: tuple[str, ...] = ()
    scaling: Scaling | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Those of the table first."""
        return self.columns + self.calendar

    @classmethod
    def of(cls, several: Sequence[TimeSeries], cuts: Sequence[Cuts], *, calendar: bool) -> "KnownInputs":
        """The known inputs of all these series."""
        times = [series.times for series in several]
        usable = calendar and all(axis is not None and axis.is_dated and axis.frequency for axis in times)
        names: tuple[str, ...] = ()
        if usable and times[0] is not None:
            names = calendar_names(times[0].values[: cuts[0].train])
        inputs = cls(several[0].covariate_names, names)
        if not inputs.names:
            return inputs
        trained = [inputs.of_series(series)[: cut.train] for series, cut in zip(several, cuts, strict=True)]
        scaling = Scaling.of(np.concatenate(trained))
        of_table = np.arange(len(inputs.names)) < len(inputs.columns)
        mean, deviation = np.where(of_table, scaling.mean, 0.0), np.where(of_table, scaling.deviation, 1.0)
        return cls(inputs.columns, inputs.calendar, Scaling(mean, deviation))

    def of_series(self, series: TimeSeries, more: int = 0) -> Floats:
        """(steps + future, known) of a series as they were measured, with `more` steps to come at least.

        Raises DataError if the columns end earlier.
        """
        steps = len(series) + more
        parts = [series.covariates[:steps] if self.columns and more else series.covariates] if self.columns else []
        if self.columns and len(series.covariates) < steps:
            raise self.lacks_future(series.id, more, counted(len(series.covariates) - len(series), "step"))
        length = steps if more or not self.columns else len(series.covariates)
        if self.calendar:
            assert series.times is not None
            times = np.concatenate([series.times.values, series.times.continued(length - len(series)).values])
            parts.append(calendar_inputs(times.astype("datetime64[us]"), self.calendar))
        return np.concatenate(parts, 1) if parts else np.zeros((length, 0))

    def lacks_future(self, name: str, steps: int, got: str) -> DataError:
        """The error for covariates of the series `name` that end before the steps to forecast."""
        advice = "give a table whose last rows have the covariates, and no value of what is forecast"
        return DataError(
            f"the future of the covariates{f' of {name!r}' if name else ''} is needed to forecast",
            expected=f"{', '.join(self.columns)} for {counted(steps, 'step')} after the last value",
            got=got,
            do=advice,
            shell=f"{advice}, with --data",
        )

    def scaled(self, values: Floats) -> Floats:
        """The known inputs, scaled for the network."""
        return values if self.scaling is None else (values - self.scaling.mean) / self.scaling.deviation


@dataclass(frozen=True, eq=False)
class SeriesWindow:
    """The steps that a forecast reads: `values` (history, variables) as measured.

    `known` (history + horizon, known) is scaled. `times` are those of the last steps, or of the whole series.
    """

    values: Floats
    known: Floats
    scaling: Scaling
    times: TimeAxis | None = None
    id: str = ""

    def times_to_come(self, steps: int) -> TimeAxis:
        """The times to forecast: dates at the frequency of the series, numbers at its distance, or step counts."""
        return TimeAxis(np.arange(1, steps + 1)) if self.times is None else self.times.continued(steps)


@dataclass(frozen=True, eq=False)
class Track:
    """One of the series that are forecast together, and where its parts end.

    `values` (steps, variables) are as they were measured, `known` (steps, known) are scaled. `scaling` is that of the
    training part of the series.
    """

    values: Floats
    known: Floats
    cuts: Cuts
    scaling: Scaling
    times: TimeAxis | None = None
    id: str = ""

    @property
    def scaled(self) -> NDArray[np.float32]:
        """The values in standard deviations of the training part."""
        return self.scaling.apply(self.values)

    def window(self, now: int, history: int, horizon: int) -> SeriesWindow:
        """The window to forecast from the step `now` on."""
        known = self.known[now - history : now + horizon]
        return SeriesWindow(self.values[now - history : now], known, self.scaling, self.times, self.id)


@dataclass(frozen=True)
class ForecastData(Data):
    """Windows to train and to measure with, and the series that they are cut from."""

    tracks: tuple[Track, ...] = ()
    season: int = 1
    known: KnownInputs = KnownInputs()


def windows_of(
    tracks: Sequence[Track], history: int, horizon: int, season: int, rows: int, seed: int
) -> dict[str, ForecastBatches]:
    """The three parts of all series, in batches."""
    values = np.concatenate([track.scaled for track in tracks])
    known = np.concatenate([track.known for track in tracks]).astype(np.float32)
    begins = np.append(0, np.cumsum([len(track.values) for track in tracks])[:-1]).tolist()
    batches: dict[str, ForecastBatches] = {}
    for name, start, end in (("train", None, 0), ("validation", 0, 1), ("test", 1, 2)):
        spans = [
            Span(begin, begin + (0 if start is None else track.cuts[start]), begin + track.cuts[end])
            for begin, track in zip(begins, tracks, strict=True)
        ]
        options: dict[str, Any] = {"part": f"{name} part", "seed": None, "batch": MEASURED_ROWS}
        if start is None:
            options = {"part": "training part", "seed": seed, "batch": rows}
        windows = WindowBatches(values, history, horizon, spans=spans, **options)
        batches[name] = ForecastBatches(windows, values, known, steps_back(season, horizon))
    return batches
