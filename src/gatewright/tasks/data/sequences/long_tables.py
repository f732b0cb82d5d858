"""Labelled time series in long form: a table with a row for each step, an id, channels and a label."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from gatewright.errors import DataError
from gatewright.tasks.columns import LabelledSeriesColumns
from gatewright.tasks.data.sequences.cases import SeriesCases, joined
from gatewright.tasks.data.tables.header import ID_NAMES, LABEL_NAMES
from gatewright.tasks.data.tables.order import dated_rows, group_in_order, open_dated
from gatewright.tasks.data.tables.roles import TIMES, ColumnRole, Roles, TableKind, columns_by, infer_roles
from gatewright.tasks.data.tables.table import RowGroup, Table

_ID_SUGGESTED = {"device", "subject", "session", "trial", "recording", "user", "sample", "run", "case", "person"}
_LABEL_SUGGESTED = {"activity", "state", "event", "outcome", "type", "kind", "condition", "gesture", "status", "fault"}


def _is_in_runs(texts: Sequence[str]) -> bool:
    """Whether the rows of each value lie together, several of them, as those of a series do."""
    runs = 1 + sum(before != after for before, after in pairwise(texts))
    return 1 < runs == len(set(texts)) <= len(texts) // 2


def _of_series(table: Table, columns: Sequence[str], known: Roles) -> Sequence[str]:
    """The columns with one value in each series, where some series has several rows."""
    ids = table.texts(known.id) if known.id else []
    if len({*ids}) == len(ids):
        return []
    return [column for column in columns if len({*zip(ids, table.texts(column), strict=True)}) == len({*ids})]


def _words_first(table: Table, columns: Sequence[str], _known: Roles) -> Sequence[str]:
    """The only column of words, or the only one at all. A channel may be called y, or be the same in a whole series."""
    return [column for column in columns if not table.is_numeric(column)] or columns


_ID = ColumnRole("id", ID_NAMES, suggested=_ID_SUGGESTED, likely=columns_by(lambda texts: not _is_in_runs(texts)))
_LABEL = ColumnRole("label", LABEL_NAMES, fits=_of_series, candidates=_words_first, suggested=_LABEL_SUGGESTED)
_LABELLED = TableKind(
    (_ID, TIMES, _LABEL),
    ("id", "label"),
    has_channels=True,
    expected="a row for each step, as in id,time,x,y,label; or a series in each row, after its label, without a header",
)


def read_long(
    source: object, columns: LabelledSeriesColumns, *, channels: Sequence[str] | None = None, labelled: bool = True
) -> SeriesCases:
    """The series of a table, each known by its id, with the steps in order of time.

    `channels` are those that a model reads; without them all columns of numbers without another role are channels.
    Raises DataError where a column's role is not clear, with the setting that names it, and where a label changes
    within a series.
    """
    table = open_dated(source, columns)
    roles = _roles(table, columns, channels, labelled=labelled)
    table = dated_rows(table, roles.time, columns.undated)
    groups = [RowGroup(group.id or table.name, group.rows) for group in table.groups(roles.id)]
    values = np.stack([table.numbers(name, "keep") for name in roles.channels], 1)
    # A time that is left out has the place -1, which is the row of NaN after the last.
    padded = np.concatenate([values, np.full((1, len(roles.channels)), np.nan)])
    fill = columns.missing != "refuse"
    series = [padded[group_in_order(table, group, roles.time, fill=fill)] for group in groups]
    answers = roles.target or roles.of("label")
    labels = [[_label(table.take(group.rows), name, group.id) for name in answers] for group in groups]
    return SeriesCases(
        table.name,
        joined(series),
        roles.channels,
        "id",
        tuple(group.id for group in groups),
        np.array(labels) if answers else None,
        answers or ("label",),
        "regression" if columns.target else "classification" if columns.label else "infer",
        remarks=(*table.remarks, *table.fitted_remark(roles.channels), roles.remark),
    )


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


def _roles(table: Table, columns: LabelledSeriesColumns, channels: Sequence[str] | None, *, labelled: bool) -> Roles:
    """Those of a table; for a model that has its channels, a table without ids is one series."""
    answer = ((ColumnRole("target") if columns.target else _LABEL),) if labelled else ()
    needed = [*(["id"] if channels is None else []), *(role.setting for role in answer)]
    return infer_roles(table, columns, replace(_LABELLED, roles=(_ID, TIMES, *answer), needed=tuple(needed)), channels)
