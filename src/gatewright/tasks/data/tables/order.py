"""Rows in order of time: the frequency of dates, times that come twice, and times that are left out."""

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import DataError
from gatewright.tasks.columns import StepColumns, TimeColumns, Undated
from gatewright.tasks.data.tables.clock_changes import AUTUMN, SPRING, clock_change, in_zone
from gatewright.tasks.data.tables.table import RowGroup, Table, open_table
from gatewright.tasks.data.tables.time_axis import FEWEST_DATES, TimeAxis, offsets_in, regular_dates
from gatewright.tasks.data.tables.times import Dates, ParsedDates
from gatewright.tasks.formatting import counted

_DAY = 86_400_000_000  # microseconds
_NEARLY = 0.9
_SHORT = re.compile(r"\d*(h|min|s|ms|us|ns)")  # frequencies below a day
_YEAR = re.compile(r"(?<!\d)(1[89]|20|21)\d\d(?!\d)")
_DIGITS = re.compile(r"\d+")
_LAST_DAY = 27  # from 0 on, that every month has
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


def open_dated(source: object, columns: TimeColumns | StepColumns) -> Table:
    """The table of a file or a DataFrame with a row for each step in time, read as the settings say."""
    return open_table(
        source,
        encoding=columns.encoding,
        header=columns.header,
        decimal=columns.decimal,
        dayfirst=columns.dayfirst,
        zone=columns.zone,
    )


def time_values(table: Table, columns: tuple[str, ...]) -> ParsedDates | NDArray[Any]:
    """The dates of the column of times (or of several together), its numbers, or its texts as labels.

    Raises DataError where a date of the column is missing or wrong.
    """
    parsed = table.dates(columns, named=True)
    if parsed is not None:
        if parsed.wrong:
            raise _no_time(table, columns[0], parsed.wrong, "date")
        zone = table.zone_of(columns[0])
        return in_zone(table, columns[0], parsed, zone) if zone else parsed
    if len(columns) == 1 and table.is_mostly_numeric(columns[0]):
        if without := table.rows_without_number(columns[0]):
            raise _no_time(table, columns[0], without, "number")
        return table.numbers(columns[0])
    labels = [" ".join(fields) for fields in zip(*map(table.texts, columns), strict=True)]
    if _fall(labels):  # the series would be read backwards
        raise DataError(
            f"{table.name}, {columns[0]!r}: these seem to be dates, the newest first, in a notation that is not read",
            expected="dates such as 2020-01-31, 31.01.2020, Jan 2020 or 2020Q1",
            got=f"{labels[0][:40]!r} to {labels[-1][:40]!r}",
            do="write the dates in such a notation, or put the oldest row first",
        )
    return np.array(labels)


def dated_rows(table: Table, columns: tuple[str, ...], undated: Undated) -> Table:
    """The table, with undated="drop" without the rows that have no time; a remark says how many were dropped."""
    if not columns or undated != "drop":
        return table
    parsed = table.dates(columns, named=True)
    counts = parsed is None and len(columns) == 1 and table.is_mostly_numeric(columns[0])
    wrong = parsed.wrong if parsed else table.rows_without_number(columns[0]) if counts else []
    if not wrong:
        return table
    dropped = table.take(wrong)
    texts = ", ".join(dict.fromkeys(" ".join(fields) for fields in zip(*map(dropped.texts, columns), strict=True)))
    remark = f"undated=drop: {counted(len(dropped), 'row')} without a time left out: {texts[:60]!r}"
    kept = table.take(np.delete(np.arange(len(table)), wrong))
    return replace(kept, remarks=(*kept.remarks, remark))


def _no_time(table: Table, column: str, wrong: list[int], kind: str) -> DataError:
    text = table.texts(column)[wrong[0]]
    last = ", in the last row" if wrong == [len(table) - 1] else ""
    more = f", and {counted(len(wrong) - 1, 'more row')} without a {kind}" if len(wrong) > 1 else ""
    return DataError(
        f"{table.where(wrong[0], column)}: this is no {kind}",
        expected=f"a {kind} as in the other rows",
        got=f"{text[:60]!r}{last}{more}",
        do=f"leave out the rows that have no {kind}, with undated='drop'; or mend the {kind}",
        shell=f"add --set undated=drop to leave out the rows that have no {kind}; or mend the {kind}",
    )


def _fall(labels: list[str]) -> bool:
    """Whether labels with a year fall: their years, or of those that differ in numbers only, these."""
    years = [int(match.group()) for text in labels if (match := _YEAR.search(text))]
    if 2 * len(years) <= len(labels):
        return False
    if years[0] > years[-1] and (np.diff(years) <= 0).all():
        return True
    rises = [rise for pair in pairwise(labels) if (rise := _rise(*pair))]
    return 2 * len(rises) > len(labels) and min(years) == max(years) and sum(rises) < -_NEARLY * len(rises)


def _rise(before: str, after: str) -> int:
    """1 or -1 where the first number that differs rises or falls; 0 where the labels differ in more than numbers."""
    if _DIGITS.sub("0", before) != _DIGITS.sub("0", after):
        return 0
    numbers = zip(map(int, _DIGITS.findall(before)), map(int, _DIGITS.findall(after)), strict=True)
    return next((1 if second > first else -1 for first, second in numbers if first != second), 0)


def in_order_of_time(table: Table, columns: tuple[str, ...], *, fill: bool = False, id: str = "") -> OrderedRows:
    """The rows of one series in order of time; labels that are no dates leave them in the order of the file.

    A time that comes twice is a DataError, and so is one that is left out, unless `fill` makes it a step. A message
    names the series by its `id`.
    """
    values, name = time_values(table, columns), ",".join(columns)
    if isinstance(values, ParsedDates):
        zone = table.zone_of(columns[0]) if values.offsets is not None else ""
        axis = TimeAxis(values.values, None, name, values.form, zone or None, offsets=values.offsets)
        return _dated(table, axis, fill=fill, id=id)
    if values.dtype.kind != "f":
        return OrderedRows(np.arange(len(table)), TimeAxis(values, column=name))
    order = np.argsort(values, kind="stable")
    axis = TimeAxis(values[order], column=name)
    _check_twice(table, axis, order, id)
    return OrderedRows(order, axis)


def group_in_order(table: Table, group: RowGroup, columns: tuple[str, ...], *, fill: bool) -> NDArray[np.int64]:
    """The rows of a group in order of time; -1 is a time that is left out, where `fill` makes it a step."""
    if not columns:
        return group.rows
    places = in_order_of_time(table.take(group.rows), columns, fill=fill, id=group.id).rows
    return np.where(places < 0, -1, group.rows[places])


def _dated(table: Table, axis: TimeAxis, *, fill: bool, id: str) -> OrderedRows:
    order = np.argsort(axis.instants, kind="stable")
    axis = axis.take(order)
    _check_twice(table, axis, order, id)
    axis = _with_frequency(axis)
    if axis.frequency is None:
        return OrderedRows(order, replace(axis, note=_irregular(axis)))
    dates = axis.instants if axis.in_utc else axis.values
    whole = regular_dates(dates[0], axis.frequency, end=dates[-1])
    left_out = len(whole) - len(dates)
    if axis.frequency == "B" and left_out and _are_holidays(whole, dates):
        return OrderedRows(order, replace(axis, holidays=left_out))
    places = np.searchsorted(whole, dates)
    rows, known = np.full(len(whole), -1), np.zeros(len(whole), np.int64)
    rows[places], known[places] = order, np.arange(len(dates))
    every = _with_times(axis, whole, np.maximum.accumulate(known))
    if left_out and not fill:
        raise _gap(table, axis, every.take(rows < 0), order)
    return OrderedRows(rows, every)


def _with_times(axis: TimeAxis, whole: Dates, before: NDArray[np.int64]) -> TimeAxis:
    """The axis with every time; one that is left out has the offset of the one before it, or that of the zone."""
    if axis.offsets is None:
        return replace(axis, values=whole)
    offsets = offsets_in(axis.zone, whole, in_utc=axis.in_utc) if axis.zone else axis.offsets[before]
    values = whole + offsets.astype("timedelta64[s]") if axis.in_utc else whole
    return replace(axis, values=values, offsets=offsets)


def _with_frequency(axis: TimeAxis) -> TimeAxis:
    """Days and longer steps are those of the clock that the file shows, shorter ones are equally long in UTC."""
    shown = frequency_of(axis.values)
    if axis.offsets is None or (shown and not _SHORT.fullmatch(shown)):
        return replace(axis, frequency=shown)
    in_utc = frequency_of(axis.instants)
    return replace(axis, frequency=in_utc or shown, in_utc=in_utc is not None)


def with_usual_frequency(several: Sequence[OrderedRows]) -> list[OrderedRows]:
    """Series that are too short to have a frequency with the one that the others have, where these have the same."""
    known = {(steps.times.frequency, steps.times.in_utc) for steps in several if steps.times.frequency}
    if len(known) != 1:
        return list(several)
    ((frequency, in_utc),) = known
    return [
        replace(steps, times=replace(steps.times, frequency=frequency, in_utc=in_utc))
        if steps.times.is_dated and len(steps.times) < FEWEST_DATES
        else steps
        for steps in several
    ]


def _irregular(axis: TimeAxis) -> str:
    """What keeps steps that are mostly equally long from a frequency."""
    distances = np.diff(axis.instants).astype(np.int64)
    values, counts = np.unique(distances, return_counts=True)
    if len(values) < 2 or counts.max() < _NEARLY * len(distances):
        return ""
    usual = int(values[counts.argmax()])
    first = int(np.flatnonzero(distances != usual)[0])
    note = f"mostly {_hours(usual)} apart, but {_hours(distances[first])} after {axis.take([first]).spelled()[0]}"
    around = (usual == _DAY) and bool(np.isin(np.abs(values - _DAY), (0, _DAY // 24)).all())
    return f"{note}; if these are days of a time zone, name it, as in --set zone=Europe/Berlin" if around else note


def _hours(distance: int) -> str:
    return f"{distance / (_DAY / 24):.6g} hours"


def _check_twice(table: Table, axis: TimeAxis, order: NDArray[np.int64], id: str) -> None:
    ordered = axis.instants if axis.is_dated else axis.values
    twice = np.flatnonzero(ordered[1:] == ordered[:-1])
    if not len(twice):
        return
    first, second = sorted((int(order[twice[0]]), int(order[twice[0] + 1])))
    text = " ".join(table.texts(column)[first] for column in axis.column.split(","))
    change = clock_change(axis.values[twice], AUTUMN) if axis.is_dated and axis.offsets is None else None
    of = f" of {id!r}" if id else ""
    leave_out = "leave out the row" if id else "leave out the row; or, where the table holds several series, "
    raise DataError(
        f"{table.place(second)}: the time {text}{of} comes twice, also in {table.place_word} {table.line(first)}",
        expected="one row for each time",
        got=f"{counted(len(twice), 'row')} with a time that came before{f'; {change.explanation}' if change else ''}",
        do=f"name the zone of the times, as in zone={change.zone!r}"
        if change
        else leave_out + "name the column that tells them apart" * (not id),
        shell=f"name the zone of the times: add --set zone={change.zone}, or the zone that it is"
        if change
        else leave_out + "add --set id=COLUMN" * (not id),
    )


def frequency_of(dates: Dates) -> str | None:
    """The pandas offset alias of rising dates, which may have gaps; None where they are irregular."""
    import pandas as pd

    if len(dates) < FEWEST_DATES or (np.diff(dates) <= np.timedelta64(0)).any():  # a clock put back repeats an hour
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas 4 returns an offset in place of its alias
        exact: Any = pd.infer_freq(pd.DatetimeIndex(dates))
    if exact is not None:
        return str(getattr(exact, "freqstr", exact))
    return _of_months(dates) or _of_business_days(dates) or _of_equal_distances(dates)


def _of_months(dates: Dates) -> str | None:
    """Of last days of months, or of another day, the same in all of them."""
    days = dates.astype("datetime64[D]")
    if (dates != days.astype(dates.dtype)).any():
        return None
    months = days.astype("datetime64[M]")
    last = bool((days + 1 == (months + 1).astype("datetime64[D]")).all())
    day = (days - months.astype("datetime64[D]")).astype(np.int64)
    if not last and (day.min() < day.max() or day[0] > _LAST_DAY):
        return None
    distances = np.diff(months.astype(np.int64))
    step = int(np.bincount(distances).argmax())
    if step == 0 or (distances % step).any() or (distances == step).mean() < _MOSTLY:
        return None
    suffix = "E" if last else "S"
    behind = f"+{day[0]}D" if suffix == "S" and day[0] else ""
    month = days[0].astype("datetime64[M]").astype(object).strftime("%b").upper()
    longer = {3: f"Q{suffix}-{month}", 12: f"Y{suffix}-{month}"}
    return longer.get(step, f"{step if step > 1 else ''}M{suffix}") + behind


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


def _are_holidays(whole: Dates, dates: Dates) -> bool:
    absent = ~np.isin(whole, dates)
    runs = np.diff(np.flatnonzero(np.concatenate(([True], ~absent, [True]))))
    return bool(absent.mean() <= _SHARE_OF_HOLIDAYS and runs.max() <= _LONGEST_HOLIDAY)


def _gap(table: Table, axis: TimeAxis, absent: TimeAxis, order: NDArray[np.int64]) -> DataError:
    before = int(np.searchsorted(axis.instants, absent.instants[0])) - 1
    count = f"{len(absent)} times are" if len(absent) > 1 else "a time is"
    change = clock_change(absent.values, SPRING) if axis.offsets is None else None
    fills = "missing='forward' or 'interpolate' fills them in"
    in_shell = "add --set missing=interpolate, or forward, to fill them in; or add the rows"
    return DataError(
        f"{table.name}, {axis.column!r}: {count} left out: {absent.spelled()[0]} is the first, after "
        f"{table.place_word} {table.line(int(order[before]))}",
        expected=f"a row for each time of {axis.described}",
        got=change.explanation if change else None,
        do=f"name the zone of the times, as in zone={change.zone!r}; otherwise, {fills}" if change else fills,
        shell=f"name the zone of the times: add --set zone={change.zone}, or the zone that it is; otherwise, {in_shell}"
        if change
        else in_shell,
    )
