"""Labelled time series in long form: a table with a row for each step, an id, channels and a label."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import DataError
from gatewright.tasks.columns import LabelledSeriesColumns, listed
from gatewright.tasks.data.series_cases import SeriesCases, joined, require_channels
from gatewright.tasks.data.table_header import ID_NAMES, LABEL_NAMES, TIME_NAMES
from gatewright.tasks.data.table_order import in_order_of_time
from gatewright.tasks.data.tables import RowGroup, Table, open_table

Array = NDArray[Any]


@dataclass(frozen=True)
class LongRoles:
    """The columns of series in long form; `id` is "" where all rows are one series."""

    id: str
    time: tuple[str, ...]
    channels: tuple[str, ...]
    labels: tuple[str, ...] = ()


def read_long(
    source: object, columns: LabelledSeriesColumns, *, channels: Sequence[str] | None = None, labelled: bool = True
) -> SeriesCases:
    """The series of a table, each known by its id, with the steps in order of time.

    `channels` are those that a model reads; without them all columns of numbers without another role are channels.
    Raises DataError where a column's role is not clear, with the setting that names it, and where a label changes
    within a series.
    """
    table = open_table(
        source, encoding=columns.encoding, header=columns.header, decimal=columns.decimal, dayfirst=columns.dayfirst
    )
    roles = _roles(table, columns, channels, labelled=labelled)
    groups = [RowGroup(group.id or table.name, group.rows) for group in table.groups(roles.id)]
    values = np.stack([table.numbers(name, "keep") for name in roles.channels], 1)
    # A row of NaN behind the last is what a time that is left out has, whose place is -1.
    padded = np.concatenate([values, np.full((1, len(roles.channels)), np.nan)])
    series = [padded[_ordered(table, group, roles, columns)] for group in groups]
    labels = [_labels(table, group, roles) for group in groups] if roles.labels else None
    return SeriesCases(
        table.name,
        joined(series),
        roles.channels,
        "id",
        tuple(group.id for group in groups),
        None if labels is None else np.array(labels),
        roles.labels or ("label",),
        "regression" if columns.target else "classification" if columns.label else "infer",
        remarks=(*table.remarks, *_remark(roles)),
    )


def _ordered(table: Table, group: RowGroup, roles: LongRoles, columns: LabelledSeriesColumns) -> NDArray[np.int64]:
    """The rows of a series in order of time; -1 is a time that is left out, where these are filled in."""
    if not roles.time:
        return group.rows
    places = in_order_of_time(table.take(group.rows), roles.time, fill=columns.missing != "refuse").rows
    return np.where(places < 0, -1, group.rows[places])


def _labels(table: Table, group: RowGroup, roles: LongRoles) -> list[str]:
    return [_label(table.take(group.rows), column, group.id) for column in roles.labels]


def _label(rows: Table, column: str, id: str) -> str:
    texts = rows.texts(column)
    change = next((row for row, text in enumerate(texts) if text != texts[0]), None)
    if change is not None:
        raise DataError(
            f"{rows.where(change, column)}: the label changes within the series {id!r}",
            expected=f"{texts[0]!r}, as in the rows before",
            got=repr(texts[change][:60]),
            do="name another column as label; a label for each step is what the recipe tagging learns",
            shell="name another column, with --set label=COLUMN; the recipe tagging learns a label for each step",
        )
    return texts[0].strip()


def _roles(
    table: Table, columns: LabelledSeriesColumns, channels: Sequence[str] | None, *, labelled: bool
) -> LongRoles:
    time, targets, ignored = listed(columns.time), listed(columns.target), listed(columns.ignore)
    for setting, names in (("time", time), ("target", targets), ("ignore", ignored), ("id", listed(columns.id)),
                           ("label", listed(columns.label))):  # fmt: skip
        needed = setting in ("time", "id") or labelled
        table.require(names if needed else [], setting)
    if channels is not None:
        return _known_roles(table, columns, time, channels)
    left = [name for name in table.columns if name not in (*time, *targets, *ignored, columns.id, columns.label)]
    id_column = columns.id or _named(left, ID_NAMES)
    time = time or tuple(filter(None, [_named([name for name in left if name != id_column], TIME_NAMES)]))
    left = [name for name in left if name not in (id_column, *time)]
    labels = targets or tuple(filter(None, [columns.label or _label_column(table, id_column, left)]))
    left = [name for name in left if name not in labels]
    words = [name for name in left if not table.is_numeric(name)]
    if not id_column or (labelled and not labels) or words or not left:
        raise _asks(table, id_column, time, labels, left, words)
    return LongRoles(id_column, time, tuple(left), labels)


def _known_roles(
    table: Table, columns: LabelledSeriesColumns, time: tuple[str, ...], channels: Sequence[str]
) -> LongRoles:
    """Those of a table for a model that has its channels; a table without ids is one series."""
    require_channels(table.name, table.columns, channels)
    left = [name for name in table.columns if name not in channels]
    id_column = columns.id or _named(left, ID_NAMES)
    times = time or tuple(filter(None, [_named(left, TIME_NAMES)]))
    return LongRoles(id_column, times, tuple(channels))


def _named(columns: Sequence[str], known: Collection[str]) -> str:
    """The only one of those columns with a well-known name; "" where there is none, or are several."""
    names = [name for name in columns if name.lower() in known]
    return names[0] if len(names) == 1 else ""


def _label_column(table: Table, id: str, left: Sequence[str]) -> str:
    """Of the columns that never change within a series: the one with a well-known name, or of words, or the only one.

    A channel may be called y.
    """
    if not id:
        return ""
    ids = table.texts(id)
    constant = [name for name in left if _is_of_series(ids, table.texts(name))]
    words = [name for name in constant if not table.is_numeric(name)]
    only = [names[0] for names in (words, constant) if len(names) == 1]
    return _named(constant, LABEL_NAMES) or next(iter(only), "")


def _is_of_series(ids: Sequence[str], texts: Sequence[str]) -> bool:
    """Whether each series has one value in a column, and some series has several rows."""
    of_ids = dict(zip(ids, texts, strict=True))
    return len(of_ids) < len(ids) and all(of_ids[id] == text for id, text in zip(ids, texts, strict=True))


def _is_in_runs(texts: Sequence[str]) -> bool:
    """Whether the rows of each value lie together, several of them, as those of a series do."""
    runs = 1 + sum(before != after for before, after in pairwise(texts))
    return 1 < runs == len(set(texts)) <= len(texts) // 2


def _asks(
    table: Table, id: str, time: tuple[str, ...], labels: tuple[str, ...], left: Sequence[str], words: Sequence[str]
) -> DataError:
    """What to add so that every column has a role."""
    missing = [role for role, known in (("id", id), ("label", labels)) if not known]
    likely = next((name for name in left if _is_in_runs(table.texts(name))), "COLUMN")
    of_series = _label_column(table, id or likely, [name for name in left if name != likely]) if likely in left else ""
    named = {"id": id or likely, "time": ",".join(time), "label": ",".join(labels) or of_series or "COLUMN"}
    if words and not missing:
        named = {"ignore": ",".join(words)}
    named = {role: column for role, column in named.items() if column}
    problem = (
        f"{table.name} does not show which column is the {' and which the '.join(missing)} of a series"
        if missing
        else f"{table.name}: these columns are no numbers: {', '.join(words)}"
        if words
        else f"{table.name} has no channel: no column of numbers is left"
    )
    return DataError(
        problem,
        expected="a row for each step, as in id,time,x,y,label; or a series in each row, behind its label, without a "
        "header",
        got=", ".join(table.columns)[:200],
        do="name the columns: " + ", ".join(f"{role}={column!r}" for role, column in named.items()),
        shell="name the columns: add " + " ".join(f"--set {role}={_quoted(column)}" for role, column in named.items()),
    )


def _quoted(column: str) -> str:
    return f"'{column}'" if any(sign in column for sign in " '\"$&();|<>*?") else column


def _remark(roles: LongRoles) -> tuple[str, ...]:
    named = {"id": (roles.id,), "time": roles.time, "channels": roles.channels, "label": roles.labels}
    told = ", ".join(f"{role}: {', '.join(columns)}" for role, columns in named.items() if any(columns))
    return (told,)
