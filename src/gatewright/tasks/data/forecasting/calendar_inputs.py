"""Where in the year, the week and the day a step lies, as numbers that a network can read."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Dates = NDArray[np.datetime64]

_DAY = np.timedelta64(1, "D")
_DAY_LENGTH = 86_400_000_000  # microseconds


class _Period(NamedTuple):
    """A length of time in which things come back: what it is called, its days, and the longest step that sees it."""

    name: str
    days: float
    step: float  # days


_PERIODS = (_Period("year", 365.25, 100), _Period("week", 7, 1.5), _Period("day", 1, 0.6))
_LEAST_PERIODS = 2  # in the training part, so that each of its phases has been seen more than once


def calendar_names(dates: Dates) -> tuple[str, ...]:
    """What of the calendar changes from step to step and comes back in these dates, such as "sin year"."""
    if len(dates) < 2:
        return ()
    step, whole = float(np.median(np.diff(dates)) / _DAY), float((dates[-1] - dates[0]) / _DAY)
    seen = [period for period in _PERIODS if step <= period.step and whole >= _LEAST_PERIODS * period.days]
    return tuple(f"{wave} {period.name}" for period in seen for wave in ("sin", "cos"))


def calendar_inputs(dates: Dates, names: tuple[str, ...]) -> Floats:
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
