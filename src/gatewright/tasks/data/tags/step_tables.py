"""Labelled steps out of tables: a row for each token, or for each moment of a recording of sensors."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import DataError
from gatewright.tasks.columns import StepColumns
from gatewright.tasks.data.tables.header import ID_NAMES
from gatewright.tasks.data.tables.header import LABEL_NAMES as TABLE_LABEL_NAMES
from gatewright.tasks.data.tables.order import dated_rows, group_in_order
from gatewright.tasks.data.tables.roles import TIMES, ColumnRole, Roles, TableKind, asks_for, infer_roles
from gatewright.tasks.data.tables.table import Table
from gatewright.tasks.data.tags.conll_file import LABEL_NAMES, TOKEN_NAMES

_LABELS = {*LABEL_NAMES, *TABLE_LABEL_NAMES, "activity", "state", "event", "phase", "stage", "gesture"} - {"y"}
_SENTENCES = {"sentence", "sentence #", "sentence_id", "sent_id"}
_IDS = {*ID_NAMES, *_SENTENCES, "subject", "recording", "session", "trial", "user"}


def _only_words(table: Table, columns: Sequence[str], known: Roles) -> Sequence[str]:
    """The columns that are no numbers but words, or true and false, where steps are rows of channels."""
    logical = {"true", "false"}
    return [
        column
        for column in columns
        if not known.text
        and (not table.is_numeric(column) or {text.strip().lower() for text in table.texts(column)} <= logical)
    ]


_TEXT = ColumnRole("text", TOKEN_NAMES)
_OF_ROWS = (ColumnRole("id", _IDS), TIMES)
_LABEL = ColumnRole(
    "label", _LABELS, candidates=_only_words, suggested={"y"}, likely=lambda _, columns, __: columns[::-1]
)
_STEPS = TableKind(
    (_TEXT, *_OF_ROWS, _LABEL),
    ("label",),
    has_channels=True,
    expected="a row for each step: numbers and a label, as in time,x,y,label; or a token and a label",
)


@dataclass(frozen=True)
class Recording:
    """The steps of one recording, in order of time."""

    id: str
    values: NDArray[np.float32]  # (steps, channels)
    labels: tuple[str, ...]  # none where the table has no labels
    times: tuple[str, ...]  # as they are written; none where the table has none


def step_roles(
    table: Table, columns: StepColumns, *, labelled: bool = True, channels: Sequence[str] | None = None
) -> Roles:
    """The roles of a table's columns: those named, those with well-known names, and every other number as a channel.

    `channels` are those that a model reads; each has to be there. Raises DataError, with what to add, where there is
    no label or where a column of words has no role.
    """
    chosen = (*((_TEXT,) if channels is None else ()), *_OF_ROWS, *((_LABEL,) if labelled else ()))
    kind = replace(_STEPS, roles=chosen, needed=_STEPS.needed if labelled else ())
    roles = infer_roles(table, columns, kind, channels)
    if roles.text and not roles.id:
        raise asks_for(
            table,
            f"{table.name} does not show which tokens are a sentence",
            {"id": [*roles.left(table), "COLUMN"][:1]},
            expected="a column with the same number or name in all rows of a sentence",
            lead="name it",
        )
    return roles


def recordings_of(table: Table, roles: Roles, columns: StepColumns) -> list[Recording]:
    """The recordings of a table of channels, each in order of time.

    Raises DataError for a value that is missing or no number, and for a row without a label.
    """
    table = dated_rows(table, roles.time, columns.undated)
    recordings: list[Recording] = []
    for group in table.groups(roles.id):
        places = group_in_order(table, group, roles.time, fill=True)
        rows = table.take(places[places >= 0])
        values = np.stack([rows.numbers(name, columns.missing) for name in roles.channels], 1).astype(np.float32)
        times = tuple(" ".join(fields) for fields in zip(*map(rows.texts, roles.time), strict=True))
        labels = tuple(_labels(rows, roles.label)) if roles.label else ()
        recordings.append(Recording(group.id, values, labels, times))
    return recordings


def _labels(rows: Table, label: str) -> list[str]:
    labels = [text.strip() for text in rows.texts(label)]
    if "" in labels:
        raise DataError(
            f"{rows.where(labels.index(''), label)}: the label is missing",
            expected="a label for each row",
            do="fill it in, with a label of its own where there is nothing to tell",
        )
    return labels


def sentences_of(table: Table, roles: Roles) -> tuple[list[list[str]], list[list[str]], list[str]]:
    """The tokens, tags (none without labels) and ids of the sentences of a table of tokens.

    A row without an id continues the sentence before it. Raises DataError for a row without a token or a label.
    """
    tokens = table.texts(roles.text[0])
    if "" in tokens:
        raise DataError(f"{table.where(tokens.index(''), roles.text[0])}: the token is missing")
    tags = _labels(table, roles.label) if roles.label else []
    ids, known = [text.strip() for text in table.texts(roles.id)], ""
    rows: dict[str, list[int]] = {}
    for row, id in enumerate(ids):
        known = id or known
        rows.setdefault(known, []).append(row)
    chosen = list(rows.values())
    return (
        [[tokens[row] for row in sentence] for sentence in chosen],
        [[tags[row] for row in sentence] for sentence in chosen] if tags else [],
        list(rows),
    )
