"""The roles of columns in a table of series to forecast: named by settings, or inferred where that is safe."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import DataError
from gatewright.tasks.columns import SeriesColumns
from gatewright.tasks.data.tables import roles as column_roles
from gatewright.tasks.data.tables.header import ID_NAMES, TIME_NAMES
from gatewright.tasks.data.tables.roles import ROW_NAMES, Roles, asks_for, counts_rows, set_options, shown_columns
from gatewright.tasks.data.tables.table import Table

_ROLES = ("id", "time", "target", "covariates")

_DATE_PARTS = ("year", "month", "day", "hour", "minute")
_CALENDAR = TIME_NAMES - {"index", "t", "period", "step", "time", "times"} | {"minute", "weekday", "dayofweek"}
_FIRST, _LAST = 315_532_800, 4_102_444_800  # seconds from 1970 to 1980, and to 2100
_MOSTLY_ONCE = 0.8  # of a table's rows have a time of their own, where the others are faults
_STEPS = {"time", "times", "step"}
_OF_TIME = re.compile(r"(?<![a-z])(date|year|time|timestamp)(?![a-z])")


def series_roles(table: Table, settings: SeriesColumns) -> Roles:
    """The roles of a table of series.

    The time is a column of dates, of years that is called so, year, month and day together, or of numbers that count
    the rows. What is left and holds numbers is to be forecast. Where two columns may be the time, one may be an id, or
    a column of texts has no role, it is a DataError that shows what to add.
    """
    named = column_roles.named_roles(table, settings, _ROLES)
    known = named if named.time else replace(named, time=_time(table, named))
    if not known.time and not known.id:
        first = table.columns[0]
        if first in known.left(table) and not table.is_numeric(first) and _are_unique(table.texts(first)):
            known = replace(known, time=(first,))  # it names the steps in texts that are no dates, each its own
    if not known.id and known.time:
        _check_one_series(table, named, known)
    return known if known.target else _with_targets(table, known)


def _with_targets(table: Table, known: Roles) -> Roles:
    """What is left and holds numbers is to be forecast, but counts of rows and parts of dates are left out."""
    left = known.left(table)
    ids = [column for column in left if _is_id(table, column)]
    parts = [column for column in left if known.time and column not in ids and _is_of_time(table, column)]
    targets = [column for column in left if column not in (*ids, *parts) and table.is_numeric(column)]
    rows = [column for column in ids if counts_rows(table, column)]
    texts = [column for column in left if column not in (*parts, *targets, *rows)]
    for column in (text for text in texts if table.is_mostly_numeric(text) or table.has_units(text)):
        table.numbers(column, "keep")  # raises: it names the first value that is no number
    if texts and not targets:
        table.numbers(texts[-1], "keep")  # raises: there is nothing else to forecast
    if texts or not targets:
        problem = f"{table.name} has no column of numbers to forecast"
        if texts:
            problem = f"{table.name}: these columns are neither times nor numbers: {shown_columns(texts)}"
        raise asks_for(table, problem, {"target": targets or ["COLUMN"]}, lead="name what to forecast")
    return replace(known, target=tuple(targets), left_out=(*rows, *parts))


def _time(table: Table, named: Roles) -> tuple[str, ...]:
    left = named.left(table)
    lower = {column.lower(): column for column in left}
    parts = tuple(lower[part] for part in _DATE_PARTS if part in lower and _is_part(table, lower[part]))
    dated = [column for column in left if _is_dated(table, column) and not _is_part(table, column)]
    if len(dated) > 1:
        options = " or ".join(set_options({"time": [column]}) for column in dated[:3])
        raise DataError(
            f"{table.name}: several columns hold dates",
            got=shown_columns(dated),
            do="name the one of the steps' times: " + " or ".join(f"time={column!r}" for column in dated[:3]),
            shell=f"name the one of the steps' times: add {options}; then --set ignore=... leaves others out",
        )
    if dated:
        return tuple(dated)
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
        return tuple(counts)
    _check_years(table, [column for column in left if column not in counts])
    return ()


def _is_part(table: Table, column: str) -> bool:
    """Whether a column holds a part of dates: the number of a year, month or day."""
    return column.lower() in _DATE_PARTS and table.is_numeric(column)


def _is_dated(table: Table, column: str) -> bool:
    named = column.lower() in _CALENDAR | _STEPS
    parsed = table.dates((column,), named=named)
    return parsed is not None and (named or not table.is_numeric(column) or parsed.form != "%Y")


def _check_years(table: Table, columns: Sequence[str]) -> None:
    for column in filter(table.is_numeric, columns):
        values = table.numbers(column, "keep")
        steps = np.diff(values)
        _check_since_1970(table, column, values, steps)
        rising = len(steps) > 2 and bool((np.abs(steps) == 1).all() and (steps == steps[0]).all())
        if rising and values.min() >= 1000 and values.max() <= 2200:
            others = [other for other in columns if other != column] or [column]
            raise DataError(
                f"{table.name}, {column!r}: these may be years",
                do=f"say what they are: time={column!r}, or {column_roles.python_setting('target', others)}",
                shell=f"add {set_options({'time': [column]})}, or {set_options({'target': others})}",
            )


def _check_since_1970(table: Table, column: str, values: NDArray[np.float64], steps: NDArray[np.float64]) -> None:
    """Refuse whole numbers that rise, or fall, and may be seconds since 1970, or parts of seconds."""
    in_order = len(steps) > 2 and bool((steps > 0).all() or (steps < 0).all()) and bool((values % 1 == 0).all())
    if in_order and any(values.min() / unit >= _FIRST and values.max() / unit < _LAST for unit in (1, 1e3, 1e6, 1e9)):
        raise DataError(
            f"{table.name}, {column!r}: these may be times, as seconds since 1970",
            do=f"say what they are: time={column!r}, or target='...' with the columns to forecast",
            shell=f"say what they are: add {set_options({'time': [column]})}, or --set target=COLUMN",
        )


def _is_id(table: Table, column: str) -> bool:
    name = column.lower()
    if name in ID_NAMES or name.endswith(("_id", " id")):
        return True
    unnamed = not table.has_header and column == table.columns[0] and min(len(table.columns) - 1, len(table) - 2) > 0
    return (name in ROW_NAMES or unnamed) and counts_rows(table, column)


def _is_of_time(table: Table, column: str) -> bool:
    """Whether a column is called as a part of dates, or has a word of time in its name and rises."""
    name = column.lower()
    if name in _CALENDAR:
        return True
    if not (name in TIME_NAMES or _OF_TIME.search(name)) or not table.is_numeric(column):
        return False
    return bool((np.diff(table.numbers(column, "keep")) > 0).all())


def _check_one_series(table: Table, named: Roles, known: Roles) -> None:
    """Refuse a table with several series: another column differs between rows of the same time."""
    time = known.time
    counts = Counter(zip(*map(table.texts, time), strict=True))
    (twice, most), *_ = counts.most_common(1)
    if most == 1 or len(counts) > _MOSTLY_ONCE * len(table):
        return  # rows that come twice among many are a fault, told with their lines where rows are put in order
    left = [column for column in table.columns if column not in (*time, *known.ignore)]
    clock = [column for column in left if column.lower() in _CALENDAR | _STEPS and _tells_apart(table, time, column)]
    if clock:
        raise asks_for(
            table,
            f"{table.name}: times come more than once, and {clock[0]!r} may hold the time of day",
            {"time": (*time, clock[0])},
            got=f"{' '.join(twice)!r} in several rows of {','.join(time)!r}",
            lead="name both columns",
        )
    first = [column for column in left if _is_id(table, column)]
    ids = [column for column in dict.fromkeys((*first, *left)) if _tells_apart(table, time, column)]
    if ids:
        numeric = [column for column in known.left(table) if column != ids[0] and table.is_numeric(column)]
        whole = {"id": ids[:1], "time": time, "target": named.target or numeric or ["COLUMN"]}
        raise asks_for(
            table,
            f"{table.name}: times come more than once, so that the table may hold several series",
            {role: columns for role, columns in whole.items() if not named.of(role)},
            got=f"{' '.join(twice)!r} in several rows of {','.join(time)!r}",
            lead="name the column that tells them apart",
        )


def _tells_apart(table: Table, time: tuple[str, ...], column: str) -> bool:
    keys = list(zip(*map(table.texts, (*time, column)), strict=True))
    return _are_unique(keys) and len(set(table.texts(column))) * 2 <= len(keys)


def _are_unique(keys: Sequence[object]) -> bool:
    return len(set(keys)) == len(keys)
