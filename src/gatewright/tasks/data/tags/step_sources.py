"""Which form labelled steps come in: files in CoNLL's columns, tables, or sequences in memory."""

import os
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from gatewright.errors import DataError
from gatewright.tasks.columns import StepColumns
from gatewright.tasks.data.published.sources import Source, files_of
from gatewright.tasks.data.sequences import cases
from gatewright.tasks.data.tables.encoding import encoded_lines, encoding_of
from gatewright.tasks.data.tables.order import open_dated
from gatewright.tasks.data.tables.table import Table
from gatewright.tasks.data.tags.sentences import part_files
from gatewright.tasks.data.tags.step_tables import Recording

_TABLES = (".csv", ".jsonl", ".ndjson", ".parquet", ".csv.gz", ".jsonl.gz")
_MAYBE_TABLES = (".tsv", ".tsv.gz")
_LOOKED_AT = 10_000


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
    if name.endswith(_TABLES):
        return True
    if not name.endswith(_MAYBE_TABLES):
        return False
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
