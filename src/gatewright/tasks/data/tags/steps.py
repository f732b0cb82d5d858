"""Labelled steps: a row of a table, or of arrays in memory, for each token or for each moment of a recording."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import DataError
from gatewright.tasks.columns import StepColumns
from gatewright.tasks.data.published.sources import Source, files_of
from gatewright.tasks.data.sequences import cases
from gatewright.tasks.data.tables import header
from gatewright.tasks.data.tables.encoding import encoded_lines, encoding_of
from gatewright.tasks.data.tables.order import dated_rows, group_in_order, open_dated
from gatewright.tasks.data.tables.roles import TIMES, ColumnRole, Roles, TableKind, asks_for, infer_roles
from gatewright.tasks.data.tables.table import Table
from gatewright.tasks.data.tags.conll_file import LABEL_NAMES, TOKEN_NAMES
from gatewright.tasks.data.tags.sentences import part_files

_LABELS = {*LABEL_NAMES, *header.LABEL_NAMES, "activity", "state", "event", "phase", "stage", "gesture"} - {"y"}
_SENTENCES = {"sentence", "sentence #", "sentence_id", "sent_id"}
_IDS = {*header.ID_NAMES, *_SENTENCES, "subject", "recording", "session", "trial", "user"}
_TABLES = (".csv", ".jsonl", ".ndjson", ".parquet", ".csv.gz", ".jsonl.gz")
_MAYBE_TABLES = (".tsv", ".tsv.gz")
_LOOKED_AT = 10_000


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


def step_tables_of(source: Source, columns: StepColumns, needed: Sequence[str] = ("train",)) -> dict[str, Table] | None:
    """The tables of a source by their part; None where it is no table but files in CoNLL's columns, or no file at all.

    A .tsv file is a table where no empty line stands between its rows.
    """
    if hasattr(source, "columns") and hasattr(source, "iloc"):
        return {"train": open_dated(source, columns)}
    if not isinstance(source, str | os.PathLike):
        return None
    files = part_files(files_of(source, "tagged texts"), needed)
    if not all(_is_table(path, columns.encoding) for path in files.values()):
        return None
    return {part: open_dated(path, columns) for part, path in files.items()}


def _is_table(path: Path, encoding: str) -> bool:
    name = path.name.lower()
    if not name.endswith(_MAYBE_TABLES):
        return name.endswith(_TABLES)
    lines = encoded_lines(path, encoding_of(path, encoding).name)
    return all(line.strip() for line in islice(lines, _LOOKED_AT))


def recordings_in_memory(source: object, *, labelled: bool = True) -> list[Recording] | None:
    """The recordings of pairs (values, labels), values (steps, channels) and a label for each step; None for others.

    A tuple (arrays, labels) is taken as well, and where no labels are needed a list of arrays. Raises DataError for
    values that are no numbers, and for more or fewer labels than steps.
    """
    if not isinstance(source, Sequence) or isinstance(source, str) or not len(source):
        return None
    items: Sequence[Any] = source
    if isinstance(items, tuple) and len(items) == 2 and len(items[0]) == len(items[1]) and not _is_pair(items[0]):
        items = list(zip(*items, strict=True))
    first = items[0][0] if _is_pair(items[0]) else items[0]
    if not isinstance(first, np.ndarray):
        return None
    pairs = [item if _is_pair(item) else (item, ()) for item in items]
    return [_recording(place, values, labels, labelled=labelled) for place, (values, labels) in enumerate(pairs)]


def _is_pair(value: object) -> bool:
    return isinstance(value, tuple | list) and len(value) == 2


def _recording(place: int, values: Any, labels: Any, *, labelled: bool) -> Recording:
    array = np.asarray(values)
    array = array[:, np.newaxis] if array.ndim == 1 else array
    names = tuple(str(label) for label in labels)
    is_numeric = array.ndim == 2 and array.dtype.kind in "iufb" and bool(np.isfinite(array).all())
    if not is_numeric or not len(array) or (len(names) != len(array) and (labelled or names)):
        raise DataError(
            f"recording {place} of the data in memory is no pair of values and labels",
            expected="finite numbers (steps, channels), and a label for each step",
            got=f"{array.dtype} {array.shape}, {len(names)} labels",
        )
    return Recording(str(place), array.astype(np.float32), names, ())


def channel_names(recordings: Sequence[Recording]) -> tuple[str, ...]:
    """Names for the channels of arrays. Raises DataError where recordings have different numbers of them."""
    widths = {recording.values.shape[1]: place for place, recording in enumerate(recordings)}
    if len(widths) > 1:
        (first, _), (other, place), *_ = widths.items()
        problem = f"recording {place} of the data in memory has too many or too few channels"
        raise DataError(problem, expected=str(first), got=str(other))
    return cases.channel_names(recordings[0].values.shape[1])
