"""Tables as text: CSV, TSV and their like, row by row, each row with its line."""

import csv
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from gatewright.errors import DataError
from gatewright.tasks.data.reading import text_lines

_LOOKED_AT = 20  # lines that show which sign divides a file
_SEPARATORS = ("\t", ";", ",")  # where commas are decimal points, semicolons divide
_QUOTE = '"'


class Row(NamedTuple):
    """The fields of one row, and the line in which it begins."""

    line: int
    fields: list[str]


def rows_of(path: Path) -> Iterator[Row]:
    """The rows of a table; empty lines are passed over, and every row has as many fields as the first.

    Fields are divided by tabs, semicolons or commas: by the first of these that divides each of the first lines into
    the same number of fields. A field between quotation marks may hold separators, line ends and doubled marks, except
    where tabs divide: there a mark is a mark, as in most tables of sentences.
    """
    separator = _separator(path)
    width: int | None = None
    for row in _parsed(path, separator):
        width = len(row.fields) if width is None else width
        if len(row.fields) != width:
            raise DataError(
                f"{path}, line {row.line}: the row has too many or too few fields",
                expected=f"{width} fields divided by {_shown(separator)}, as in the first row",
                got=f"{len(row.fields)}: {separator.join(row.fields)[:80]!r}",
            )
        yield row
    if width is None:
        raise DataError(f"{path} holds no rows")


def _parsed(path: Path, separator: str, lines: int | None = None) -> Iterator[Row]:
    quoting = csv.QUOTE_NONE if separator == "\t" else csv.QUOTE_MINIMAL
    # The reader needs line ends back: a quoted field may hold them.
    source = (f"{line}\n" for line in islice(text_lines(path), lines))
    reader, line = csv.reader(source, delimiter=separator, quoting=quoting, quotechar=_QUOTE, strict=True), 1
    try:
        for fields in reader:
            if fields:
                yield Row(line, fields)
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"{path}, line {line}: the row cannot be divided into fields",
            expected=f"fields divided by {_shown(separator)}, quotation marks around whole fields and doubled within",
            got=str(error),
        ) from error


def _separator(path: Path) -> str:
    widths: dict[str, set[int]] = {}
    for separator in _SEPARATORS:
        found = widths[separator] = _first_widths(path, separator)
        if len(found) == 1 and found != {1}:
            return separator
    # None divides them alike: one column, or a defect, which is told of the separator that occurs.
    return next((one for one, found in widths.items() if max(found, default=1) > 1), ",")


def _first_widths(path: Path, separator: str) -> set[int]:
    found: set[int] = set()
    with suppress(DataError):  # it comes again when the whole file is read
        found.update(len(row.fields) for row in _parsed(path, separator, _LOOKED_AT))
    return found


def _shown(separator: str) -> str:
    return {"\t": "tabs", ",": "commas", ";": "semicolons"}[separator]
