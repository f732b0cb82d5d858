"""When the steps of a series were: dates with their frequency, numbers of steps, or labels."""

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from gatewright.tasks.data.tables.date_forms import spelled_date

Dates = NDArray[np.datetime64]
Offsets = NDArray[np.int64]

FEWEST_DATES = 3
"""The fewest dates that show a frequency or a distance."""

_NEAR = 1.5  # distances of steps are the same up to this factor
_START = datetime(1970, 1, 1, tzinfo=UTC)
_WORDS = {
    "D": "daily", "B": "on business days", "h": "hourly", "min": "every minute", "s": "every second", "W": "weekly",
    "MS": "monthly", "ME": "monthly", "BMS": "monthly", "BME": "monthly", "QS": "quarterly", "QE": "quarterly",
    "BQS": "quarterly", "BQE": "quarterly", "YS": "yearly", "YE": "yearly", "BYS": "yearly", "BYE": "yearly",
}  # fmt: skip
_SEVERAL = {
    "ms": "ms", "h": "hours", "min": "minutes", "s": "seconds", "D": "days", "W": "weeks", "MS": "months",
    "ME": "months", "QS": "quarters", "QE": "quarters", "YS": "years", "YE": "years",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class TimeAxis:
    """The times of a series' steps, in their order.

    `values` (steps,) are datetime64[us], or float64 where steps have numbers, or texts that are labels. `frequency` is
    a pandas offset alias such as "D", "MS" or "15min", see `regular_dates`, and None where steps are irregular or are
    not dates. `form` is how the file writes its dates: see `date_forms.spelled_date`; `holidays` counts business days
    that are no steps.

    Dates are what the clock of the file shows. `offsets` (steps,), where the file has them, are its seconds before UTC,
    and `zone` is the time zone that gives those of times to come; without one the last offset does. `in_utc` says that
    steps are equally long in UTC, such as hours, and not on that clock, such as days.
    """

    values: NDArray[Any]
    frequency: str | None = None
    column: str = ""
    form: str = "%Y-%m-%d"
    zone: str | None = None
    holidays: int = 0
    offsets: Offsets | None = None
    in_utc: bool = False
    note: str = ""  # for a person: what keeps the steps from having a frequency

    def __len__(self) -> int:
        return len(self.values)

    @property
    def is_dated(self) -> bool:
        """Whether the steps have dates."""
        return self.values.dtype.kind == "M"

    @property
    def instants(self) -> Dates:
        """The dates in UTC; those of a clock that no offset is known of as they are."""
        return self.values if self.offsets is None else self.values - self.offsets.astype("timedelta64[s]")

    @property
    def distance(self) -> float | None:
        """The median distance of dates in hours; None where there are too few dates."""
        if not self.is_dated or len(self) < FEWEST_DATES:
            return None
        return float(np.median(np.diff(self.instants) / np.timedelta64(1, "h")))

    @property
    def described_distance(self) -> str:
        """As in "a step every 24 hours (daily)"."""
        distance = self.distance or 0.0
        often = f"a step every {distance:g} hour{'' if distance == 1 else 's'}"
        return f"{often} ({frequency_in_words(self.frequency)})" if self.frequency else often

    @property
    def described(self) -> str:
        """As in "Date (daily)": for a person."""
        if not self.is_dated:
            kind = "numbers of steps" if self.values.dtype.kind == "f" else "labels, in the order of the file"
            return f"{self.column} ({kind})"
        holidays = f"; {self.holidays} without a row are taken as holidays" if self.holidays else ""
        parts = [frequency_in_words(self.frequency), self._described_zone, self.note]
        return f"{self.column} ({', '.join(filter(None, parts))}{holidays})"

    @property
    def _described_zone(self) -> str:
        if self.zone or self.offsets is None:
            return self.zone or ""
        several = [spelled_date(_START, "%:z", offset) for offset in dict.fromkeys(self.offsets.tolist())]
        last = spelled_date(_START, "%:z", int(self.offsets[-1]))
        if len(several) == 1:
            return "UTC" if last == "+00:00" else f"UTC{last}"
        clock = "in UTC" if self.in_utc else "on the clock of the file"
        return f"{clock}, offsets {' and '.join(several)}, of which {last} goes on"

    def continued(self, steps: int) -> Self:
        """The next steps: dates at the frequency, or numbers at the same distance.

        Where there is neither, the texts "+1", "+2" ... say how many steps after the last they are.
        """
        if self.is_dated and self.frequency and len(self):
            return self._dates_to_come(self.frequency, steps)
        if self.values.dtype.kind == "f" and len(self) > 1:
            distances = np.diff(self.values)
            if np.allclose(distances, distances[0]):
                return replace(self, values=self.values[-1] + distances[0] * np.arange(1, steps + 1))
        texts = np.array([f"+{step}" for step in range(1, steps + 1)])
        return replace(self, values=texts, frequency=None, offsets=None, zone=None)

    def _dates_to_come(self, frequency: str, steps: int) -> Self:
        last = (self.instants if self.in_utc else self.values)[-1]
        dates = regular_dates(last, frequency, steps=steps + 1)  # it begins with the last one, or after it
        dates = dates[dates > last][:steps]
        if self.offsets is None:
            return replace(self, values=dates)
        offsets = np.full(steps, self.offsets[-1])
        if self.zone:
            offsets = offsets_in(self.zone, dates, in_utc=self.in_utc)
        values = dates + offsets.astype("timedelta64[s]") if self.in_utc else dates
        return replace(self, values=values, offsets=offsets)

    def spelled(self) -> list[str]:
        """The times as the file writes them."""
        if self.is_dated:
            offsets = [0] * len(self) if self.offsets is None else self.offsets.tolist()
            dates = self.values.astype("datetime64[us]").tolist()
            return [spelled_date(date, self.form, offset) for date, offset in zip(dates, offsets, strict=True)]
        return [f"{value:g}" if self.values.dtype.kind == "f" else str(value) for value in self.values]

    def for_pandas(self) -> list[Any]:
        """The times as pandas has them: dates with offsets as Timestamps of the zone, or of their offset."""
        if self.offsets is None or not self.is_dated:
            return list(self.values)
        import pandas as pd

        instants = pd.DatetimeIndex(self.instants, tz="UTC")
        if self.zone:
            return list(instants.tz_convert(self.zone))
        zones = [timezone(timedelta(seconds=offset)) if offset else UTC for offset in self.offsets.tolist()]
        return [instant.tz_convert(zone) for instant, zone in zip(instants, zones, strict=True)]

    def take(self, places: Any) -> Self:
        """Those steps."""
        offsets = None if self.offsets is None else self.offsets[places]
        return replace(self, values=self.values[places], offsets=offsets)

    def to_json(self) -> dict[str, Any]:
        """What a model file keeps of it: column, frequency and form, not the times."""
        return {name: getattr(self, name) for name in ("column", "frequency", "form", "zone", "in_utc")}


def regular_dates(
    start: np.datetime64, frequency: str, *, steps: int | None = None, end: np.datetime64 | None = None
) -> Dates:
    """The dates from `start` on at a frequency: so many, or up to `end`. MS+14D is the 15th of each month."""
    import pandas as pd

    alias, _, days = frequency.partition("+")
    shift = np.timedelta64(int(days.removesuffix("D") or 0), "D")
    until = None if end is None else pd.Timestamp(end - shift)
    dates = pd.date_range(pd.Timestamp(start - shift), until, periods=steps, freq=alias)
    return (dates + shift).to_numpy().astype("datetime64[us]")


def same_distance(first: float, second: float) -> bool:
    """Whether two medians of distances are about the same: holidays and lengths of months make no difference."""
    return first / _NEAR < second < first * _NEAR


def offsets_in(zone: str, dates: Dates, *, in_utc: bool) -> Offsets:
    """The seconds of a zone before UTC, at dates (steps,) in UTC or of its own clock.

    Where its clock shows a time twice, it is the first of them; a time that it leaves out is one before it.
    """
    import pandas as pd

    index = pd.DatetimeIndex(dates)
    if in_utc:
        local = index.tz_localize("UTC").tz_convert(zone)
        return (local.tz_localize(None) - index).to_numpy().astype("timedelta64[s]").astype(np.int64)
    first = np.ones(len(index), bool)
    local = index.tz_localize(zone, ambiguous=first, nonexistent="shift_forward")
    shifted = (local.tz_localize(None) - local.tz_convert("UTC").tz_localize(None)).to_numpy()
    return shifted.astype("timedelta64[s]").astype(np.int64)


def frequency_in_words(alias: str | None) -> str:
    """`15min` as "every 15 min", `MS` as "monthly"; "at irregular times" for None."""
    if alias is None:
        return "at irregular times"
    matched = re.fullmatch(r"(\d*)([A-Za-z]+)(-[A-Z]+)?(\+\d+D)?", alias)
    if matched is None:
        return alias
    count, unit, *_ = matched.groups()
    if not count:
        return _WORDS.get(unit, alias)
    return f"every {count} {_SEVERAL[unit]}" if unit in _SEVERAL else alias
