"""Which column of a table is what: as settings name them, or inferred where that is safe, and said in a line."""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gatewright.errors import DataError
from gatewright.tasks.columns import SeriesColumns, TextColumns, TimeColumns, listed
from gatewright.tasks.data.table_header import ID_NAMES, LABEL_NAMES, TEXT_NAMES, TIME_NAMES
from gatewright.tasks.data.tables import Table

_DATE_PARTS = ("year", "month", "day", "hour", "minute")
_CALENDAR = TIME_NAMES | {"minute", "weekday", "dayofweek"}
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


@dataclass(frozen=True)
class TextRoles:
    """The columns of labelled texts, and a line for a person where they were inferred."""

    text: tuple[str, ...]
    label: str
    remark: str = ""


def series_roles(table: Table, settings: SeriesColumns) -> SeriesRoles:
    """The roles of a table of series.

    The time is a column of dates, of years that is called so, year, month and day together, or of numbers that count
    the rows. What is left and holds numbers is to be forecast. Where two columns may be the time, one may be an id, or
    a column of texts has no role, it is a DataError that shows what to add.
    """
    named = _named(table, settings)
    time = named.time or _time(table, settings, named)
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
        _named_columns(table, settings.time),
        _named_columns(table, settings.target),
        _named_columns(table, settings.covariates),
        settings.id,
        _named_columns(table, settings.ignore),
    )
    for role in ("time", "target", "covariates"):
        table.require(getattr(named, role), role)
    table.require(named.ignored, "ignore")
    table.require([settings.id] if settings.id else [], "id")
    return named


def _left(table: Table, named: SeriesRoles, time: tuple[str, ...]) -> list[str]:
    used = {*time, *named.time, *named.target, *named.covariates, *named.ignored, named.id}
    return [column for column in table.columns if column not in used]


def _time(table: Table, settings: TimeColumns, named: SeriesRoles) -> tuple[str, ...]:
    del settings
    left = _left(table, named, ())
    lower = {column.lower(): column for column in left}
    parts = tuple(lower[part] for part in _DATE_PARTS if part in lower)
    dated = [column for column in left if column not in parts and _is_dated(table, column)]
    if len(dated) > 1:
        raise _asks_for_time(table, dated)
    if dated:
        return (dated[0],)
    if parts and parts[0].lower() == "year" and table.dates(parts, named=True) is not None:
        return parts
    if len(parts) == 1 and _is_dated(table, parts[0]):
        return parts
    counts = [column for column in left if _is_of_time(table, column) and table.is_numeric(column)]
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
        + " or ".join(f"--set {_quoted('time', column)}" for column in dated[:3])
        + "; then --set ignore=... leaves others out",
    )


def _is_dated(table: Table, column: str) -> bool:
    named = column.lower() in TIME_NAMES
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
                shell=f"add --set {_quoted('time', column)}, or --set {_quoted('target', others or column)}",
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
    """Whether a column is called as one of times, or has such a word in its name and rises, as a decimal year does."""
    name = column.lower()
    if name in _CALENDAR:
        return True
    if _OF_TIME.search(name) is None or not table.is_numeric(column):
        return False
    return bool((np.diff(table.numbers(column, "keep")) > 0).all())


def _counts_rows(table: Table, column: str) -> bool:
    if not table.is_numeric(column):
        return False
    values = table.numbers(column, "keep")
    return len(values) > 1 and bool((np.diff(values) == 1).all())


def _check_one_series(table: Table, time: tuple[str, ...], named: SeriesRoles) -> None:
    """Refuse a table in which another column tells rows of the same time apart."""
    seen: set[tuple[str, ...]] = set()
    twice = next((key for key in zip(*map(table.texts, time), strict=True) if key in seen or seen.add(key)), None)
    if twice is None:
        return
    left = [column for column in table.columns if column not in time and column not in named.ignored]
    clock = next((column for column in left if column.lower() in _CALENDAR and _tells_apart(table, time, column)), "")
    if clock:
        times = ",".join((*time, clock))
        raise DataError(
            f"{table.name}: times come more than once, and {clock!r} may hold the time of day",
            got=f"{' '.join(twice)!r} in several rows of {','.join(time)!r}",
            do=f"name both columns: time={times!r}",
            shell=f"name both columns: add --set {_quoted('time', times)}",
        )
    first = [column for column in left if _is_id(table, column)]
    ids = [column for column in dict.fromkeys((*first, *left)) if _tells_apart(table, time, column)]
    if ids:
        raise _asks_for_id(table, time, ids[0], " ".join(twice), named)
    # Otherwise the rows are a fault, which is told with its lines where they are put in order.


def _asks_for_id(table: Table, time: tuple[str, ...], id: str, twice: str, named: SeriesRoles) -> DataError:
    left = [column for column in _left(table, named, time) if column != id and table.is_numeric(column)]
    times, target = ",".join(time), ",".join(named.target or left) or "COLUMN"
    return DataError(
        f"{table.name}: times come more than once, so that the table may hold several series",
        got=f"{twice!r} in several rows of {times!r}",
        do=f"name the column that tells them apart: id={id!r}, time={times!r}, target={target!r}",
        shell="name the column that tells them apart: add "
        f"--set {_quoted('id', id)} --set {_quoted('time', times)} --set {_quoted('target', target)}",
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
        shell=f"name what to forecast: add --set {_quoted('target', numeric)}",
    )


def _quoted(setting: str, value: str) -> str:
    return shlex.quote(f"{setting}={value}")


def _named_columns(table: Table, text: str) -> tuple[str, ...]:
    """The columns that a setting names; a name may hold a comma itself."""
    return (text,) if text in table.columns else listed(text)


def text_roles(
    table: Table, settings: TextColumns, *, labelled: bool = True, usual: Mapping[str, str] | None = None
) -> TextRoles:
    """The columns of texts and labels of a table.

    They are those that settings name; the `usual` ones of "text" and "label", where the table has them; those with
    well-known names; else the one of few different values is the label, and the one of several words the text.
    """
    usual = {role: name for role, name in (usual or {}).items() if name in table.columns}
    settings = TextColumns(text=settings.text or usual.get("text", ""), label=settings.label or usual.get("label", ""))
    texts = _named_columns(table, settings.text)
    table.require(texts, "text")
    table.require([settings.label] if settings.label and labelled else [], "label")
    if texts and (settings.label or not labelled):
        return TextRoles(texts, settings.label)
    label = settings.label or (_label(table, texts) if labelled else "")
    texts = texts or _texts(table, label)
    if not texts or (labelled and not label):
        raise _asks_for_text(table, texts, label, labelled=labelled)
    remark = f"text: {', '.join(texts)}" + (f", label: {label}" if label else "")
    return TextRoles(texts, label, remark)


def _label(table: Table, texts: Sequence[str]) -> str:
    left = [column for column in table.columns if column not in texts]
    known = [column for column in left if column.lower() in LABEL_NAMES]
    if len(known) == 1:
        return known[0]
    few = [column for column in known or left if _few_values(table, column)]
    return few[0] if len(few) == 1 else ""


def _texts(table: Table, label: str) -> tuple[str, ...]:
    left = [column for column in table.columns if column != label]
    known = [column for column in left if column.lower() in TEXT_NAMES]
    if len(known) == 1:
        return (known[0],)
    worded = _worded(table, label)
    if len(worded) == 1:
        return (worded[0],)
    return (left[0],) if len(left) == 1 and not _few_values(table, left[0]) else ()


def _few_values(table: Table, column: str) -> bool:
    texts = table.texts(column)
    return len(set(texts)) <= max(2, len(texts) // 4)


def _worded(table: Table, label: str) -> list[str]:
    """The columns of several words in most rows, those with a well-known name if there are any."""
    left = [column for column in table.columns if column != label]
    known = [column for column in left if column.lower() in TEXT_NAMES]
    return [column for column in known or left if _is_worded(table.texts(column))]


def _is_worded(texts: Sequence[str]) -> bool:
    return len(set(texts)) > len(texts) // 4 and sum(" " in text.strip() for text in texts) * 2 > len(texts)


def _asks_for_text(table: Table, texts: Sequence[str], label: str, *, labelled: bool) -> DataError:
    wanted = "the columns of the texts and of the labels" if labelled else "the column of the texts"
    text = ",".join(texts or _worded(table, label)[:1]) or "COLUMN"
    left = [column for column in table.columns if column != text and _few_values(table, column)]
    label = label or next(iter(left), "COLUMN")
    command = f"--set {_quoted('text', text)}" + f" --set {_quoted('label', label)}" * labelled
    return DataError(
        f"{table.name} does not show which are {wanted}",
        got=", ".join(table.columns)[:200],
        do=f"name them: text={text!r}" + f", label={label!r}" * labelled,
        shell=f"name them: add {command}",
    )


__all__ = ["TIME_NAMES", "SeriesRoles", "TextRoles", "series_roles", "text_roles"]
