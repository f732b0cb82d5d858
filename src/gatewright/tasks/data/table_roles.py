"""Which column of a table of series is what: as settings name them, or inferred where that is safe."""

import re
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gatewright.errors import DataError
from gatewright.tasks.columns import SeriesColumns, listed
from gatewright.tasks.data.table_header import ID_NAMES, TIME_NAMES
from gatewright.tasks.data.tables import Table

_DATE_PARTS = ("year", "month", "day", "hour", "minute")
_CALENDAR = TIME_NAMES - {"index", "t", "period", "step", "time", "times"} | {"minute", "weekday", "dayofweek"}
_MOSTLY_ONCE = 0.8  # of a table's rows have a time of their own, where the others are faults
_STEPS = {"time", "times", "step"}
_OF_TIME = re.compile(r"(?<![a-z])(date|year|time|timestamp)(?![a-z])")
_ROW_NAMES = ("index", "row", "rownames", "row_names", "no", "nr", "no.", "nr.", "#", "unnamed: 0")


@dataclass(frozen=True)
class SeriesRoles:
    """The columns of series: of times (several as year, month, day), to forecast, known beforehand, and of ids."""

    time: tuple[str, ...]
    target: tuple[str, ...]
    covariates: tuple[str, ...] = ()
    id: str = ""
    ignored: tuple[str, ...] = ()


def series_roles(table: Table, settings: SeriesColumns) -> SeriesRoles:
    """The roles of a table of series.

    The time is a column of dates, of years that is called so, year, month and day together, or of numbers that count
    the rows. What is left and holds numbers is to be forecast. Where two columns may be the time, one may be an id, or
    a column of texts has no role, it is a DataError that shows what to add.
    """
    named = _named(table, settings)
    time = named.time or _time(table, named)
    if not time and not settings.id:
        time = _labels(table, _left(table, named, time))
    if not settings.id and time:
        _check_one_series(table, time, named)
    left = _left(table, named, time)
    if named.target:
        return SeriesRoles(time, named.target, named.covariates, settings.id)
    ids = [column for column in left if _is_id(table, column)]
    parts = [column for column in left if time and column not in ids and _is_of_time(table, column)]
    left = [column for column in left if column not in parts]
    unused = [column for column in left if column in ids or not table.is_numeric(column)]
    targets = tuple(column for column in left if column not in unused)
    rows = [column for column in ids if _counts_rows(table, column)]
    texts = [column for column in unused if column not in rows]
    for column in filter(table.is_mostly_numeric, texts):
        table.numbers(column, "keep")  # raises: it names the first value that is no number
    if texts or not targets:
        raise _asks_for_target(table, time, texts, targets)
    return SeriesRoles(time, targets, named.covariates, settings.id, (*rows, *parts))


def _named(table: Table, settings: SeriesColumns) -> SeriesRoles:
    named = SeriesRoles(
        named_columns(table, settings.time),
        named_columns(table, settings.target),
        named_columns(table, settings.covariates),
        settings.id,
        named_columns(table, settings.ignore),
    )
    for role in ("time", "target", "covariates"):
        table.require(getattr(named, role), role)
    table.require(named.ignored, "ignore")
    table.require([settings.id] if settings.id else [], "id")
    return named


def _left(table: Table, named: SeriesRoles, time: tuple[str, ...]) -> list[str]:
    used = {*time, *named.time, *named.target, *named.covariates, *named.ignored, named.id}
    return [column for column in table.columns if column not in used]


def _time(table: Table, named: SeriesRoles) -> tuple[str, ...]:
    left = _left(table, named, ())
    lower = {column.lower(): column for column in left}
    parts = tuple(lower[part] for part in _DATE_PARTS if part in lower and _is_part(table, lower[part]))
    dated = [column for column in left if _is_dated(table, column) and not _is_part(table, column)]
    if len(dated) > 1:
        raise _asks_for_time(table, dated)
    if dated:
        return (dated[0],)
    if parts and parts[0].lower() == "year" and table.dates(parts, named=True) is not None:
        return parts
    if len(parts) == 1 and _is_dated(table, parts[0]):
        return parts
    counts = [
        column
        for column in left
        if table.is_numeric(column) and (column.lower() in _STEPS or _is_of_time(table, column))
    ]
    if len(counts) == 1:
        return (counts[0],)
    _check_years(table, [column for column in left if column not in counts])
    return ()


def _asks_for_time(table: Table, dated: Sequence[str]) -> DataError:
    return DataError(
        f"{table.name}: several columns hold dates",
        got=", ".join(dated),
        do="name the one of the steps' times: " + " or ".join(f"time={column!r}" for column in dated[:3]),
        shell="name the one of the steps' times: add "
        + " or ".join(f"{set_option('time', column)}" for column in dated[:3])
        + "; then --set ignore=... leaves others out",
    )


def _is_part(table: Table, column: str) -> bool:
    """Whether a column holds a part of dates: the number of a year, month or day."""
    return column.lower() in _DATE_PARTS and table.is_numeric(column)


def _is_dated(table: Table, column: str) -> bool:
    named = column.lower() in _CALENDAR | _STEPS
    parsed = table.dates((column,), named=named)
    return parsed is not None and (named or not table.is_numeric(column) or parsed.form != "%Y")


def _check_years(table: Table, columns: Sequence[str]) -> None:
    for column in columns:
        if not table.is_numeric(column):
            continue
        values = table.numbers(column, "keep")
        steps = np.diff(values)
        rising = len(steps) > 2 and bool((np.abs(steps) == 1).all() and (steps == steps[0]).all())
        if rising and values.min() >= 1000 and values.max() <= 2200:
            others = ",".join(other for other in columns if other != column)
            raise DataError(
                f"{table.name}, {column!r}: these may be years",
                do=f"say what they are: time={column!r}, or target='...' with the columns to forecast",
                shell=f"add {set_option('time', column)}, or {set_option('target', others or column)}",
            )


def _labels(table: Table, left: Sequence[str]) -> tuple[str, ...]:
    """The first column, where it names the steps in texts that are no dates, each its own."""
    column = table.columns[0]
    if column not in left or table.is_numeric(column):
        return ()
    texts = table.texts(column)
    return (column,) if len(set(texts)) == len(texts) else ()


def _is_id(table: Table, column: str) -> bool:
    name = column.lower()
    if name in ID_NAMES or name.endswith(("_id", " id")):
        return True
    unnamed = not table.has_header and column == table.columns[0] and min(len(table.columns) - 1, len(table) - 2) > 0
    return (name in _ROW_NAMES or unnamed) and _counts_rows(table, column)


def _is_of_time(table: Table, column: str) -> bool:
    """Whether a column is called as a part of dates, or has a word of time in its name and rises."""
    name = column.lower()
    if name in _CALENDAR:
        return True
    if not (name in TIME_NAMES or _OF_TIME.search(name)) or not table.is_numeric(column):
        return False
    return bool((np.diff(table.numbers(column, "keep")) > 0).all())


def _counts_rows(table: Table, column: str) -> bool:
    if not table.is_numeric(column):
        return False
    values = table.numbers(column, "keep")
    return len(values) > 1 and bool((np.diff(values) == 1).all())


def _check_one_series(table: Table, time: tuple[str, ...], named: SeriesRoles) -> None:
    """Refuse a table in which another column tells rows of the same time apart."""
    counts = Counter(zip(*map(table.texts, time), strict=True))
    (twice, most), *_ = counts.most_common(1)
    if most == 1 or len(counts) > _MOSTLY_ONCE * len(table):
        return  # rows that come twice among many are a fault, told with their lines where rows are put in order
    left = [column for column in table.columns if column not in time and column not in named.ignored]
    clock = next(
        (column for column in left if column.lower() in _CALENDAR | _STEPS and _tells_apart(table, time, column)), ""
    )
    if clock:
        times = ",".join((*time, clock))
        raise DataError(
            f"{table.name}: times come more than once, and {clock!r} may hold the time of day",
            got=f"{' '.join(twice)!r} in several rows of {','.join(time)!r}",
            do=f"name both columns: time={times!r}",
            shell=f"name both columns: add {set_option('time', times)}",
        )
    first = [column for column in left if _is_id(table, column)]
    ids = [column for column in dict.fromkeys((*first, *left)) if _tells_apart(table, time, column)]
    if ids:
        raise _asks_for_id(table, time, ids[0], " ".join(twice), named)


def _asks_for_id(table: Table, time: tuple[str, ...], id: str, twice: str, named: SeriesRoles) -> DataError:
    left = [column for column in _left(table, named, time) if column != id and table.is_numeric(column)]
    times, target = ",".join(time), ",".join(named.target or left) or "COLUMN"
    return DataError(
        f"{table.name}: times come more than once, so that the table may hold several series",
        got=f"{twice!r} in several rows of {times!r}",
        do=f"name the column that tells them apart: id={id!r}, time={times!r}, target={target!r}",
        shell="name the column that tells them apart: add "
        f"{set_option('id', id)} {set_option('time', times)} {set_option('target', target)}",
    )


def _tells_apart(table: Table, time: tuple[str, ...], column: str) -> bool:
    keys = list(zip(*map(table.texts, (*time, column)), strict=True))
    return len(set(keys)) == len(keys) and len(set(table.texts(column))) * 2 <= len(keys)


def _asks_for_target(table: Table, time: tuple[str, ...], unused: Sequence[str], targets: Sequence[str]) -> DataError:
    numeric = ",".join(targets) or "COLUMN"
    return DataError(
        f"{table.name}: these columns are neither times nor numbers: {', '.join(unused)}"
        if unused
        else f"{table.name} has no column of numbers to forecast",
        got=", ".join(table.columns)[:200],
        do=f"name what to forecast: target={numeric!r}",
        shell=f"name what to forecast: add {set_option('target', numeric)}",
    )


def set_option(setting: str, value: str) -> str:
    """`--set 'time=Order Date'`, as it is written in a shell."""
    return f"--set {shlex.quote(f'{setting}={value}')}"


def named_columns(table: Table, text: str) -> tuple[str, ...]:
    """The columns that a setting names; a name may hold a comma itself."""
    return (text,) if text in table.columns else listed(text)
