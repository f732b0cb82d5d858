"""Rows in order of time: the frequency of dates, times that come twice, and times that are left out."""

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import DataError
from gatewright.tasks.data.table_times import Dates, ParsedDates
from gatewright.tasks.data.tables import Table
from gatewright.tasks.data.time_axis import TimeAxis

_SHARE_OF_HOLIDAYS = 0.1  # business days without a row, at most: markets close on about 1 in 25
_LONGEST_HOLIDAY = 6
_MOSTLY = 0.5
_UNITS = (("D", 86_400_000_000), ("h", 3_600_000_000), ("min", 60_000_000), ("s", 1_000_000), ("ms", 1000), ("us", 1))


@dataclass(frozen=True, eq=False)
class OrderedRows:
    """Rows in order of time.

    `rows` (steps,) are places in the table, -1 for a time that is left out in it.
    """

    rows: NDArray[np.int64]
    times: TimeAxis


def time_values(table: Table, columns: tuple[str, ...]) -> ParsedDates | NDArray[Any]:
    """The dates of the column of times (or of several together), its numbers, or its texts as labels.

    Raises DataError for a column of dates in which one is missing or wrong.
    """
    parsed = table.dates(columns, named=True)
    if parsed is not None:
        if parsed.wrong:
            row = parsed.wrong[0]
            raise DataError(
                f"{table.where(row, columns[0])}: this is no date",
                expected="a date as in the other rows",
                got=repr(table.texts(columns[0])[row][:60]),
                do="mend the date, or leave out the row",
            )
        return parsed
    if len(columns) == 1 and table.is_numeric(columns[0]):
        return table.numbers(columns[0])
    return np.array([" ".join(fields) for fields in zip(*map(table.texts, columns), strict=True)])


def in_order_of_time(table: Table, columns: tuple[str, ...], *, fill: bool = False) -> OrderedRows:
    """The rows of one series in order of time; labels that are no dates leave them in the order of the file.

    A time that comes twice is a DataError, and so is one that is left out, unless `fill` makes it a step.
    """
    values, name = time_values(table, columns), ",".join(columns)
    if isinstance(values, ParsedDates):
        return _dated(table, name, values, fill=fill)
    if values.dtype.kind != "f":
        return OrderedRows(np.arange(len(table)), TimeAxis(values, column=name))
    order = np.argsort(values, kind="stable")
    _check_twice(table, name, values[order], order)
    return OrderedRows(order, TimeAxis(values[order], column=name))


def _dated(table: Table, name: str, parsed: ParsedDates, *, fill: bool) -> OrderedRows:
    order = np.argsort(parsed.values, kind="stable")
    dates = parsed.values[order]
    _check_twice(table, name, dates, order)
    frequency = frequency_of(dates)
    axis = TimeAxis(dates, frequency, name, parsed.form, parsed.zone)
    if frequency is None:
        return OrderedRows(order, axis)
    whole = every_time(dates, frequency)
    left_out = len(whole) - len(dates)
    if frequency == "B" and left_out and _are_holidays(whole, dates):
        return OrderedRows(order, replace(axis, holidays=left_out))
    if left_out and not fill:
        raise _gap(table, axis, whole, order)
    rows = np.full(len(whole), -1)
    rows[np.searchsorted(whole, dates)] = order
    return OrderedRows(rows, replace(axis, values=whole))


def _check_twice(table: Table, name: str, ordered: NDArray[Any], order: NDArray[np.int64]) -> None:
    twice = np.flatnonzero(ordered[1:] == ordered[:-1])
    if len(twice):
        first, second = sorted((int(order[twice[0]]), int(order[twice[0] + 1])))
        text = " ".join(table.texts(column)[first] for column in name.split(","))
        raise DataError(
            f"{table.place(second)}: the time {text} comes twice, also in {table.place_word} {table.line(first)}",
            expected="one row for each time",
            got=f"{len(twice)} rows with a time that came before",
            do="leave out the row; or, where the table holds several series, name the column that tells them apart",
            shell="leave out the row; or, where the table holds several series, add --set id=COLUMN",
        )


def frequency_of(dates: Dates) -> str | None:
    """The pandas offset alias of rising dates, of which some may be left out; None where they are irregular."""
    import pandas as pd

    if len(dates) < 3:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas 4 returns an offset in place of its alias
        exact: Any = pd.infer_freq(pd.DatetimeIndex(dates))
    if exact is not None:
        return str(getattr(exact, "freqstr", exact))
    return _of_months(dates) or _of_business_days(dates) or _of_equal_distances(dates)


def _of_months(dates: Dates) -> str | None:
    """Of first or last days of months."""
    days = dates.astype("datetime64[D]")
    if (dates != days.astype(dates.dtype)).any():
        return None
    months = days.astype("datetime64[M]")
    first = bool((days == months.astype("datetime64[D]")).all())
    last = bool((days + 1 == (months + 1).astype("datetime64[D]")).all())
    if not first and not last:
        return None
    distances = np.diff(months.astype(np.int64))
    step = int(np.bincount(distances).argmax())
    if step == 0 or (distances % step).any() or (distances == step).mean() < _MOSTLY:
        return None
    suffix = "S" if first else "E"
    month = days[0].astype("datetime64[M]").astype(object).strftime("%b").upper()
    return {3: f"Q{suffix}-{month}", 12: f"Y{suffix}-{month}"}.get(step, f"{step if step > 1 else ''}M{suffix}")


def _of_business_days(dates: Dates) -> str | None:
    days = dates.astype("datetime64[D]")
    weekdays = (days.astype(np.int64) + 3) % 7  # 0 is Monday
    whole = not (dates != days.astype(dates.dtype)).any()
    spans = int((days[-1] - days[0]).astype(np.int64)) >= 14
    daily = bool((np.diff(days).astype(np.int64) == 1).mean() > _MOSTLY)
    return "B" if whole and spans and daily and weekdays.max() < 5 else None


def _of_equal_distances(dates: Dates) -> str | None:
    distances = np.diff(dates).astype(np.int64)
    values, counts = np.unique(distances, return_counts=True)
    step = int(values[counts.argmax()])
    if (distances % step).any() or counts.max() < _MOSTLY * len(distances):
        return None
    unit, size = next((unit, size) for unit, size in _UNITS if step % size == 0)
    if step == 7 * size and unit == "D":
        return f"W-{dates[0].astype(object).strftime('%a').upper()}"
    return unit if step == size else f"{step // size}{unit}"


def every_time(dates: Dates, frequency: str) -> Dates:
    """All times from the first to the last at that frequency."""
    import pandas as pd

    return pd.date_range(dates[0], dates[-1], freq=frequency).to_numpy().astype(dates.dtype)


def _are_holidays(whole: Dates, dates: Dates) -> bool:
    absent = ~np.isin(whole, dates)
    runs = np.diff(np.flatnonzero(np.concatenate(([True], ~absent, [True]))))
    return bool(absent.mean() <= _SHARE_OF_HOLIDAYS and runs.max() <= _LONGEST_HOLIDAY)


def _gap(table: Table, axis: TimeAxis, whole: Dates, order: NDArray[np.int64]) -> DataError:
    absent = whole[~np.isin(whole, axis.values)]
    before = int(np.searchsorted(axis.values, absent[0])) - 1
    count = f"{len(absent)} times are" if len(absent) > 1 else "a time is"
    return DataError(
        f"{table.name}, {axis.column!r}: {count} left out: {axis.spelled(absent[:1])[0]} is the first, after "
        f"{table.place_word} {table.line(int(order[before]))}",
        expected=f"a row for each time of {axis.described}",
        do="missing='forward' or 'interpolate' fills them in",
        shell="add --set missing=interpolate, or forward, to fill them in; or add the rows",
    )
