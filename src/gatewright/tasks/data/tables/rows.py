"""Delimited text divided into rows of fields, each row with the number of its first line."""

import csv
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import islice, takewhile
from pathlib import Path
from typing import NamedTuple

from gatewright.errors import DataError

_LOOKED_AT = 20  # rows that show which sign divides a file
_SEPARATORS = ("\t", ";", ",", "|")  # where commas are decimal points, semicolons divide
_QUOTE = '"'
_DECLARED = re.compile(r'"?sep=([,;|\t])"?\s*', re.IGNORECASE)
_SHOWN = {"\t": "tabs", ",": "commas", ";": "semicolons", "|": "vertical bars"}

Lines = Callable[[], Iterable[str]]  # begins a reading of the file anew


class TableRow(NamedTuple):
    """The fields of one row, and the number of its first line."""

    line: int
    fields: list[str]


class Delimited:
    """A text table: its separator is the first of tab, semicolon, comma and bar that divides the first rows alike.

    A field between quotation marks may hold separators, line ends and doubled marks. Where tabs divide, a mark is a
    mark, as in most tables of sentences, unless all fields that have marks begin and end with one. A first line such as
    "sep=;", which Excel reads, names the separator. `comments` is how many lines at the start are none of the table:
    they begin with #, and have other fields than the row after them.
    """

    def __init__(self, path: Path | str, lines: Lines) -> None:
        declared = _DECLARED.fullmatch(next(iter(lines()), ""))
        self._path, self._all_lines, self._skipped = path, lines, int(declared is not None)
        marked = list(takewhile(lambda line: line.startswith("#"), self._lines()))
        self._skipped += len(marked)
        self.separator = declared[1] if declared else self._find_separator()
        self._quoting = self._find_quoting()
        self.comments = self._comments(marked)
        self._skipped += self.comments - len(marked)

    def _comments(self, marked: list[str]) -> int:
        """How many of the lines that begin with # are not divided as the row after them, which a header would be."""
        first = next(self._parsed(self._lines(), self.separator, self._quoting), None) if marked else None
        while marked and (first is None or len(marked[-1].split(self.separator)) == len(first.fields)):
            marked = marked[:-1]
        return len(marked)

    def _lines(self) -> Iterable[str]:
        return islice(self._all_lines(), self._skipped, None)

    def rows(self) -> Iterator[TableRow]:
        """All rows, each as wide as the first; empty lines are passed over."""
        width: int | None = None
        for row in self._parsed(self._lines(), self.separator, self._quoting):
            width = len(row.fields) if width is None else width
            if len(row.fields) != width:
                raise self._wrong_width(row, width)
            yield row
        if width is None:
            raise DataError(f"{self._path} holds no rows")

    def _wrong_width(self, row: TableRow, width: int) -> DataError:
        decimal = self.separator == "," and len(row.fields) > width > 1
        has_title = width == 1 and row.line <= _LOOKED_AT
        return DataError(
            f"{self._path}, line {row.line}: the row has too many or too few fields",
            expected=f"{width} fields divided by {_SHOWN[self.separator]}, as in the first row",
            got=f"{len(row.fields)}: {self.separator.join(row.fields)[:80]!r}",
            do="put quotation marks around a field that holds a comma"
            if decimal
            else "leave out the lines before it, if the table begins here"
            if has_title
            else "mend the row, or leave it out",
        )

    def _parsed(self, lines: Iterable[str], separator: str, quoting: int) -> Iterator[TableRow]:
        reader = csv.reader(lines, delimiter=separator, quoting=quoting, quotechar=_QUOTE, strict=True)  # pyright: ignore[reportArgumentType]
        line = 1 + self._skipped
        try:
            for fields in reader:
                if fields:
                    yield TableRow(line, fields)
                line = reader.line_num + 1 + self._skipped
        except csv.Error as error:
            raise DataError(
                f"{self._path}, line {line}: the row cannot be divided into fields",
                expected=f"fields divided by {_SHOWN[separator]}, quotation marks around whole fields and doubled "
                f"within, of at most {csv.field_size_limit():,} characters each",
                got=str(error),
            ) from error

    def _find_separator(self) -> str:
        widths: dict[str, set[int]] = {}
        for separator in _SEPARATORS:
            seen = widths[separator] = self._first_widths(separator)
            if len(seen) == 1 and seen != {1}:
                return separator
        # No separator gives rows of one width: a single column, or a defect, which is reported later.
        return next((sign for sign, seen in widths.items() if max(seen, default=1) > 1), ",")

    def _first_widths(self, separator: str) -> set[int]:
        quoting = csv.QUOTE_NONE if separator == "\t" else csv.QUOTE_MINIMAL
        seen: set[int] = set()
        with suppress(DataError):  # it comes again when the whole file is read
            rows = self._parsed(self._lines(), separator, quoting)
            seen.update(len(row.fields) for row in islice(rows, _LOOKED_AT))
        return seen

    def _find_quoting(self) -> int:
        if self.separator != "\t":
            return csv.QUOTE_MINIMAL
        rows = self._parsed(self._lines(), "\t", csv.QUOTE_NONE)
        marked = [field for row in islice(rows, _LOOKED_AT) for field in row.fields if _QUOTE in field]
        quoted = bool(marked) and all(len(field) > 1 and field[0] == field[-1] == _QUOTE for field in marked)
        with suppress(DataError):  # it comes again when the whole file is read
            if quoted and list(islice(self._parsed(self._lines(), "\t", csv.QUOTE_MINIMAL), _LOOKED_AT)):
                return csv.QUOTE_MINIMAL
        return csv.QUOTE_NONE
