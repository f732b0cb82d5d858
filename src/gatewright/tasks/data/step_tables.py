"""Labelled steps out of tables: a row for each token, or for each moment of a recording of sensors."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import DataError
from gatewright.tasks.columns import StepColumns, listed
from gatewright.tasks.data.conll_file import LABEL_NAMES, TOKEN_NAMES
from gatewright.tasks.data.series_cases import require_channels
from gatewright.tasks.data.table_header import ID_NAMES, TIME_NAMES
from gatewright.tasks.data.table_header import LABEL_NAMES as TABLE_LABEL_NAMES
from gatewright.tasks.data.table_order import in_order_of_time
from gatewright.tasks.data.tables import RowGroup, Table, open_table

_LABELS = {*LABEL_NAMES, *TABLE_LABEL_NAMES, "activity", "state", "event", "phase", "stage", "gesture"} - {"y"}
_SENTENCES = {"sentence", "sentence #", "sentence_id", "sent_id"}
_IDS = {*ID_NAMES, *_SENTENCES, "subject", "recording", "session", "trial", "user"}


@dataclass(frozen=True)
class StepRoles:
    """The columns of labelled steps.

    `text` is "" where steps are rows of channels, and `id` is "" where all rows are one recording.
    """

    text: str
    label: str
    id: str
    time: tuple[str, ...]
    channels: tuple[str, ...]

    @property
    def remark(self) -> str:
        """What a person is told of the choice."""
        named = (("id", (self.id,)), ("time", self.time), ("text", (self.text,)), ("channels", self.channels))
        told = [f"{role}: {', '.join(columns)}" for role, columns in (*named, ("label", (self.label,))) if any(columns)]
        return ", ".join(told)


@dataclass(frozen=True)
class Recording:
    """The steps of one recording, in order of time."""

    id: str
    values: NDArray[np.float32]  # (steps, channels)
    labels: tuple[str, ...]  # none where the table has no labels
    times: tuple[str, ...]  # as they are written; none where the table has none


def open_steps(source: object, columns: StepColumns) -> Table:
    """The table of a file or a DataFrame, as the settings say."""
    return open_table(
        source, encoding=columns.encoding, header=columns.header, decimal=columns.decimal, dayfirst=columns.dayfirst
    )


def step_roles(
    table: Table, columns: StepColumns, *, labelled: bool = True, channels: Sequence[str] | None = None
) -> StepRoles:
    """The roles of a table's columns: those named, those with well-known names, and every other number as a channel.

    `channels` are those of a model, of which each has to be there. Raises DataError, with what to add, where there is
    no label or where a column of words has no role.
    """
    for setting in ("text", "label", "id", "time", "ignore"):
        named = listed(getattr(columns, setting))
        table.require(named if labelled or setting != "label" else [], setting)
    left = [name for name in table.columns if name not in listed(columns.ignore)]
    label = columns.label or (_named(left, _LABELS, "label") if labelled else "")
    left = [name for name in left if name not in (label, columns.label)]
    text = columns.text or ("" if channels is not None else _named(left, TOKEN_NAMES, "text"))
    left = [name for name in left if name != text]
    id_column = columns.id or _named(left, _IDS, "id")
    left = [name for name in left if name != id_column]
    time = listed(columns.time) or tuple(filter(None, [_named(left, TIME_NAMES, "time")]))
    left = [name for name in left if name not in time]
    if text:
        left = []
    elif channels is not None:
        require_channels(table.name, table.columns, channels)
        left = list(channels)
    words = [name for name in left if not table.is_numeric(name)]
    if labelled and not label and len(words) == 1:
        label, words, left = words[0], [], [name for name in left if name != words[0]]
    if words or (labelled and not label) or not (left or text):
        raise _asks(table, label, words, labelled=labelled)
    if text and not id_column:
        raise DataError(
            f"{table.name} does not show which tokens are a sentence",
            expected="a column with the same number or name in all rows of a sentence",
            got=", ".join(table.columns)[:200],
            do="name it: id='COLUMN'",
            shell="name it: add --set id=COLUMN",
        )
    return StepRoles(text, label, id_column, time, tuple(left))


def _named(columns: Sequence[str], known: Any, setting: str) -> str:
    names = [name for name in columns if name.lower() in known]
    if len(names) > 1:
        raise DataError(
            f"several columns may be the {setting} of the steps: {', '.join(names)}",
            do=f"name it: {setting}={names[0]!r}; leave out others with ignore='...'",
            shell=f"name it: add --set {shlex.quote(f'{setting}={names[0]}')}; leave out others with --set ignore=...",
        )
    return names[0] if names else ""


def _asks(table: Table, label: str, words: Sequence[str], *, labelled: bool) -> DataError:
    needs_label = labelled and not label
    candidates = words or table.columns[-1:]
    add = f"label={candidates[-1]}" if needs_label else f"ignore={','.join(words)}"
    role, _, column = add.partition("=")
    quoted = shlex.quote(add)
    problem = (
        "does not show which column is the label of each row"
        if needs_label
        else f"has columns that are no numbers: {', '.join(words)}"
        if words
        else "has no channel: no column of numbers is left"
    )
    return DataError(
        f"{table.name} {problem}",
        expected="a row for each step: numbers and a label, as in time,x,y,label; or a token and a label",
        got=", ".join(table.columns)[:200],
        do=f"name the columns: {role}={column!r}",
        shell=f"name the columns: add --set {quoted}",
    )


def recordings_of(table: Table, roles: StepRoles, columns: StepColumns) -> list[Recording]:
    """The recordings of a table of channels, each in order of time.

    Raises DataError for a value that is missing or no number, and for a row without a label.
    """
    groups = table.groups(roles.id)
    return [_recording(table.take(_ordered(table, group, roles)), group.id, roles, columns) for group in groups]


def _ordered(table: Table, group: RowGroup, roles: StepRoles) -> NDArray[np.int64]:
    if not roles.time:
        return group.rows
    places = in_order_of_time(table.take(group.rows), roles.time, fill=True).rows
    return group.rows[places[places >= 0]]


def _recording(rows: Table, id: str, roles: StepRoles, columns: StepColumns) -> Recording:
    values = np.stack([rows.numbers(name, columns.missing) for name in roles.channels], 1).astype(np.float32)
    times = [" ".join(fields) for fields in zip(*map(rows.texts, roles.time), strict=True)] if roles.time else []
    return Recording(id, values, tuple(_labels(rows, roles.label)) if roles.label else (), tuple(times))


def _labels(rows: Table, label: str) -> list[str]:
    labels = [text.strip() for text in rows.texts(label)]
    if "" in labels:
        raise DataError(
            f"{rows.where(labels.index(''), label)}: the label is missing",
            expected="a label for each row",
            do="fill it in, with a label of its own where there is nothing to tell",
        )
    return labels


def sentences_of(table: Table, roles: StepRoles) -> tuple[list[list[str]], list[list[str]], list[str]]:
    """The tokens, tags (none without labels) and ids of the sentences of a table of tokens.

    A row without an id continues the sentence before it. Raises DataError for a row without a token or a label.
    """
    tokens = table.texts(roles.text)
    if "" in tokens:
        raise DataError(f"{table.where(tokens.index(''), roles.text)}: the token is missing")
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
