"""Series as rows of a text file, as in the UCR archive: the label first, then a value a step, without a header."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice, pairwise
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import DataError
from gatewright.tasks.data.reading import text_lines
from gatewright.tasks.data.sequences.archive_files import values_of
from gatewright.tasks.data.sequences.cases import MISSING_TEXTS, SeriesCases, channel_names, joined
from gatewright.tasks.data.tables.rows import TableRow

Labels = Literal["first", "none"]
_FEWEST = 3  # fields of a row that can be a series


def is_of_rows(path: Path) -> bool:
    """Whether the first row of a text file is a series: all fields after the first are numbers.

    A file that is not UTF-8 is a table.
    """
    fields: list[str] = []
    with suppress(DataError):
        fields = next((row.fields for row in _rows(path)), [])
    return len(fields) >= _FEWEST and all(_is_value(text) for text in fields[1:])


def read_rows(path: Path, labels: Labels = "first") -> SeriesCases:
    """The series of a file, one a row, each known by its line; shorter ones are padded with NaN at their end.

    Tabs, semicolons, commas or spaces divide the fields.
    """
    rows = list(_rows(path))
    width = len(rows[0].fields) if rows else 0
    if width < _FEWEST:
        got = repr(" ".join(rows[0].fields)[:60]) if rows else "no row"
        raise DataError(f"{path} holds no series", expected="a row for each: its label, and a value a step", got=got)
    for row in rows:
        if len(row.fields) != width:
            raise DataError(
                f"{path}, line {row.line}: the row is not as long as the first",
                expected=f"{width} fields",
                got=str(len(row.fields)),
                do="pad shorter series with NaN at their end",
            )
    skipped = int(labels == "first")
    values = [values_of(f"{path}, line {row.line}", 1, row.fields[skipped:])[:, np.newaxis] for row in rows]
    names = np.array([row.fields[0] for row in rows])
    if skipped:
        _refuse_long_form(path, names.tolist(), values)
    remark = f"rows: each is a series of up to {width - skipped} steps{', after its label' if skipped else ''}"
    lines, labels_of_rows = tuple(row.line for row in rows), names[:, np.newaxis] if skipped else None
    return SeriesCases(str(path), joined(values), channel_names(1), "line", lines, labels_of_rows, remarks=(remark,))


def labels_of(path: Path, longest: int | None, classes: Sequence[str]) -> Labels:
    """Whether a label stands first in each row: by the steps of the longest series in training, or by its classes."""
    rows = list(_rows(path))
    width = len(rows[0].fields) if rows else 0
    if longest is not None and width in (longest, longest + 1):
        return "first" if width > longest else "none"
    labels = {*classes, *MISSING_TEXTS}
    return "first" if all({row.fields[0], row.fields[0].lower()} & labels for row in rows) else "none"


def read_line(name: str, line: str, labelled_length: int | None) -> SeriesCases:
    """The series of one such row, without its label.

    A label stands first where the row has `labelled_length` fields, or begins with a word.
    """
    fields = _fields(line)
    skipped = int(len(fields) > 1 and (len(fields) == labelled_length or not _is_value(fields[0])))
    values = values_of(name, 1, fields[skipped:])[:, np.newaxis]
    return SeriesCases(name, joined([values]), channel_names(1), "file", (name,))


def _rows(path: Path) -> Iterator[TableRow]:
    return (TableRow(number, _fields(line)) for number, line in enumerate(text_lines(path), 1) if line.strip())


def _fields(line: str) -> list[str]:
    separator = next((sign for sign in "\t;," if sign in line), None)  # else spaces
    return [text.strip() for text in line.split(separator)]


def _is_value(text: str) -> bool:
    if text.lower() in MISSING_TEXTS:
        return True
    try:
        float(text)
    except ValueError:
        return False
    return True


def _refuse_long_form(path: Path, firsts: Sequence[str], values: Sequence[NDArray[np.float64]]) -> None:
    """Refuse rows that are steps: after a name that repeats, a number that counts up until the next name."""
    seconds = [float(row[0, 0]) for row in values]
    pairs = [(before, after) for before, after in pairwise(zip(firsts, seconds, strict=True)) if before[0] == after[0]]
    counts = all(after[1] - before[1] > 0 and after[1] % 1 == before[1] % 1 == 0 for before, after in pairs)
    if 2 * len(pairs) >= len(firsts) and counts:
        raise DataError(
            f"{path}: the rows look like steps, with an id and a time before their values",
            expected="a header that names the columns, such as id,time,x,y,label; or a series in each row",
            got=", ".join(f"{name} {second:g}" for name, second in islice(zip(firsts, seconds, strict=True), 3)),
            do="write a header",
        )
