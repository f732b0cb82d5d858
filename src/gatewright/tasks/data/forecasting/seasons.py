"""The season of a series, the forecast that repeats it, and where in the year, week and day a step lies."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import DataError
from gatewright.tasks.data.scaling import Values

Dates = NDArray[np.datetime64]

_COMPARED = 64
"""How many seasons are compared exactly: those with the smallest squared errors, which an FFT gives at once."""
_AS_GOOD = 1.02
"""The shortest season with an error within this factor of the best is taken: 7, not 14 or 21."""
_DAY = np.timedelta64(1, "D")
_DAY_LENGTH = 86_400_000_000  # microseconds


def steps_back(season: int, horizon: int) -> NDArray[np.int64]:
    """How many steps before each step to come that lies which the naive forecast repeats: (horizon,)."""
    return season * (1 + np.arange(horizon, dtype=np.int64) // season)


def best_season(series: Sequence[Values], horizon: int, longest: int) -> tuple[int, float]:
    """The season, 1 to `longest`, with which the naive forecast of these series (steps, variables) best.

    Of those that are about as good it is the shortest: 1, which repeats the last value, where the steps do not come
    back. Beside it stands its mean absolute error, in deviations.
    """
    scaled = [values / np.where(values.std(0) > 0, values.std(0), 1.0) for values in series]
    steps = max(map(len, scaled))
    if steps <= horizon + 1:
        raise DataError(
            "the series is too short to find its season",
            expected=f"more than {horizon + 1} steps to train on",
            got=f"{steps} steps",
            do="name it, or forecast fewer steps",
            shell="name it with --set season=..., or forecast fewer steps with --set horizon=...",
        )
    longest = min(longest, steps - horizon - 1)
    squares = _squares(scaled, longest + horizon)
    likely = sorted(range(1, longest + 1), key=lambda season: squares[steps_back(season, horizon)].sum())[:_COMPARED]
    errors = {season: _error(scaled, steps_back(season, horizon)) for season in sorted(likely)}
    least = min(errors.values())
    season = next(season for season, error in errors.items() if error <= least * _AS_GOOD)
    return season, errors[season]


def _squares(series: Sequence[Values], lags: int) -> NDArray[np.float64]:
    """The mean squared difference over each lag from 0 to `lags`, by a Fourier transform of the values."""
    total, count = np.zeros(lags + 1), np.zeros(lags + 1)
    for values in series:
        steps, most = len(values), min(lags + 1, len(values))
        size = 1 << (2 * steps - 1).bit_length()
        spectrum = np.fft.rfft(values - values.mean(0), size, axis=0)
        products = np.fft.irfft(np.abs(spectrum) ** 2, size, axis=0)[:most].sum(1)
        sums = np.append(0.0, ((values - values.mean(0)) ** 2).sum(1).cumsum())
        pairs = steps - np.arange(most)
        total[:most] += sums[pairs] + sums[steps] - sums[steps - pairs] - 2 * products
        count[:most] += pairs
    return np.where(count > 0, total / np.maximum(count, 1), np.inf)


def _error(scaled: Sequence[Values], lags: NDArray[np.int64]) -> float:
    """The mean absolute error of repeating what lies so many steps back."""
    errors = [
        [float(np.abs(values[lag:] - values[:-lag]).mean()) for values in scaled if len(values) > lag]
        for lag in lags.tolist()
    ]
    return float(np.mean([sum(of_period) / len(of_period) for of_period in errors]))


_PERIODS = {"year": (365.25, 100), "week": (7, 1.5), "day": (1, 0.6)}
"""Periods of the calendar: their length, and the longest step that shows them, both in days."""
_LEAST_PERIODS = 2  # in the training part, so that each of its phases has been seen more than once


def calendar_names(dates: Dates) -> tuple[str, ...]:
    """What of the calendar changes from step to step and comes back in these dates, such as "sin year"."""
    if len(dates) < 2:
        return ()
    step, whole = float(np.median(np.diff(dates)) / _DAY), float((dates[-1] - dates[0]) / _DAY)
    seen = [name for name, (days, most) in _PERIODS.items() if step <= most and whole >= _LEAST_PERIODS * days]
    return tuple(f"{wave} {name}" for name in seen for wave in ("sin", "cos"))


def calendar_inputs(dates: Dates, names: tuple[str, ...]) -> NDArray[np.float64]:
    """(steps,) -> (steps, names): sine and cosine of 2 pi times the share of the year, week or day that has passed.

    A year begins on 1 January at 0:00, a week on Monday, a day at 0:00.
    """
    days = dates.astype("datetime64[D]")
    years = days.astype("datetime64[Y]")
    length = (years + 1).astype("datetime64[D]") - years.astype("datetime64[D]")
    of_day = (dates.astype("datetime64[us]") - days).astype(np.int64) / _DAY_LENGTH
    share = {
        "year": (dates - years) / length,
        "week": ((days - np.datetime64("1970-01-05")).astype(np.int64) % 7 + of_day) / 7,
        "day": of_day,
    }
    waves = {"sin": np.sin, "cos": np.cos}
    columns = [waves[wave](2 * np.pi * share[period]) for wave, period in (name.split() for name in names)]
    return np.stack(columns, 1) if columns else np.zeros((len(dates), 0))
