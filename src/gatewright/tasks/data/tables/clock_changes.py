"""Local times around changes of the clock (daylight saving), and times in a time zone."""

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import DataError, OptionError
from gatewright.tasks.data.tables.table import Table
from gatewright.tasks.data.tables.time_axis import offsets_in
from gatewright.tasks.data.tables.times import Dates, ParsedDates

_SUNDAY = 6
_LAST_HOUR = 3  # of the night in which clocks change

# A zone by the month of the change, in the north and in the south, and what happens in that night.
AUTUMN = (
    {10: "Europe/Berlin", 11: "America/New_York", 3: "America/Asuncion", 4: "Australia/Sydney"},
    "in that night clocks are put back, and show an hour twice",
)
SPRING = (
    {3: "Europe/Berlin", 4: "Africa/Cairo", 9: "America/Santiago", 10: "Australia/Sydney"},
    "in that night clocks are put forward, and leave out an hour",
)


class ClockChange(NamedTuple):
    """An explanation of times that come twice or are left out, and a zone in which the clock changes then."""

    explanation: str
    zone: str


def clock_change(dates: Dates, season: tuple[Mapping[int, str], str]) -> ClockChange | None:
    """The change in AUTUMN that explains dates that come twice, or in SPRING dates that are left out; None for none."""
    zones, explanation = season
    days = dates.astype("datetime64[D]")
    hours = (dates - days).astype("timedelta64[h]").astype(np.int64)
    weekdays = (days.astype(np.int64) + 3) % 7
    months = days.astype("datetime64[M]").astype(np.int64) % 12 + 1
    in_night = (hours <= _LAST_HOUR) & (weekdays == _SUNDAY) & np.isin(months, [*zones])
    has_clock = (dates != days.astype(dates.dtype)).any()
    return ClockChange(explanation, zones[int(months[0])]) if in_night.all() and has_clock else None


def in_zone(table: Table, column: str, parsed: ParsedDates, zone: str) -> ParsedDates:
    """Dates on the clock of a zone: those with an offset are put on it, others are taken as its own.

    Whole days stay what they are. Raises OptionError for an unknown zone, and DataError for a time that its clock
    leaves out.
    """
    import pandas as pd

    try:
        pd.Timestamp(0, tz=zone)
    except (KeyError, ValueError, TypeError, OSError) as error:
        raise OptionError(
            f"there is no time zone {zone!r}",
            expected="a name such as Europe/Berlin, America/New_York or UTC",
            do="write zone='Europe/Berlin', for example",
            shell="write --set zone=Europe/Berlin, for example",
        ) from error
    if parsed.offsets is not None:
        instants = parsed.values - parsed.offsets.astype("timedelta64[s]")
        offsets = offsets_in(zone, instants, in_utc=True)
        return replace(parsed, values=instants + offsets.astype("timedelta64[s]"), offsets=offsets)
    if not (parsed.values != parsed.values.astype("datetime64[D]")).any():
        return parsed
    index = pd.DatetimeIndex(parsed.values)
    first = np.ones(len(index), bool)
    left_out = np.flatnonzero(index.tz_localize(zone, ambiguous=first, nonexistent="NaT").isna())
    if len(left_out):
        row = int(left_out[0])
        raise DataError(
            f"{table.where(row, column)}: the clock of {zone} does not show this time",
            expected="a time of that zone: in this night it is put forward",
            got=repr(table.texts(column)[row]),
            do="name the zone of the times, with zone=",
            shell="name the zone of the times, with --set zone=...",
        )
    twice = index.tz_localize(zone, ambiguous="NaT").isna()
    local = index.tz_localize(zone, ambiguous=first & ~(twice & _came_before(parsed.values)))
    offsets = (parsed.values - local.tz_convert("UTC").tz_localize(None).to_numpy()).astype("timedelta64[s]")
    return replace(parsed, values=parsed.values, offsets=offsets.astype(np.int64))


def _came_before(values: Dates) -> NDArray[np.bool_]:
    """Which times occur for the second time; counted from the end where the newest row stands first."""
    backwards = len(values) > 1 and bool((np.diff(values) < np.timedelta64(0)).mean() > 0.5)
    ordered = values[::-1] if backwards else values
    again = np.ones(len(values), bool)
    again[np.unique(ordered, return_index=True)[1]] = False
    return again[::-1] if backwards else again
