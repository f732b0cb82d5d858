"""Tables: CSV and its like, JSON lines, Parquet and pandas DataFrames, as columns that are read when asked for."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import DataError, OptionError
from gatewright.tasks.data.tables import numbers
from gatewright.tasks.data.tables.files import TableContent, read_columns
from gatewright.tasks.data.tables.header import Header
from gatewright.tasks.data.tables.number_marks import are_with_units
from gatewright.tasks.data.tables.numbers import Decimal, NumberColumn, NumberNotation, Values
from gatewright.tasks.data.tables.times import AmbiguousDatesError, DayFirst, ParsedDates, parsed_dates
from gatewright.tasks.formatting import counted

_FEW = 2  # rows; in a longer table a first row without numbers may hold the units

Rows = NDArray[np.int64]


class RowGroup(NamedTuple):
    """The rows of one series, text or sentence in a long table."""

    id: str
    rows: Rows


@dataclass(frozen=True, eq=False)
class Table(TableContent):
    """Columns of texts, or of numbers and dates where the source had these; each is parsed when it is asked for."""

    decimal: Decimal = "infer"
    dayfirst: DayFirst = "infer"
    zone: str = ""  # of the times, where a setting names it
    rows: Rows | None = None
    cache: dict[Any, Any] = field(default_factory=dict[Any, Any])

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns, in the order of the file."""
        return tuple(self.data)

    def __len__(self) -> int:
        return len(self.places) if self.rows is None else len(self.rows)

    def take(self, rows: Any) -> Self:
        """Those rows, in that order; errors still name their lines."""
        places = np.asarray(rows, np.int64)
        return replace(self, rows=places if self.rows is None else self.rows[places])  # with what was parsed already

    def where(self, row: int, column: str) -> str:
        """As in "sales.csv, line 17, 'price'"."""
        return f"{self.place(row)}, {column!r}"

    def place(self, row: int) -> str:
        """As in "sales.csv, line 17"."""
        return f"{self.name}, {self.place_word} {self.line(row)}"

    def line(self, row: int) -> int:
        """The first line of a row, or its number in a table without lines."""
        return int(self.places[row if self.rows is None else self.rows[row]])

    def require(self, columns: Sequence[str], setting: str = "") -> None:
        """Refuse a name that no column has, and say which one is nearest to it."""
        for column in columns:
            if column not in self.data:
                lower = {name.lower(): name for name in self.columns}
                near = [lower[name] for name in get_close_matches(column.lower(), lower, n=1)]
                example = shlex.quote(f"{setting}={self.columns[0]}")
                do = f"did you mean {near[0]!r}?" if near else f"name one of its columns as {setting}"
                raise OptionError(
                    f"{self.name} has no column {column!r}",
                    expected="one of " + ", ".join(self.columns),
                    do=do if near or setting else None,
                    shell=f"name one of its columns, as in --set {example}" if setting and not near else None,
                )

    def texts(self, column: str) -> list[str]:
        """The fields of a column as texts, a missing one as ""."""
        self.require([column])
        content = self.data[column]
        if not isinstance(content, list):
            content = _as_texts(content)
        return content if self.rows is None else [content[row] for row in self.rows.tolist()]

    def numbers(self, column: str, missing: str = "refuse") -> Values:
        """The finite numbers of a column (rows,), float64.

        `missing` says what becomes of a value that is not there: "refuse" is a DataError, "forward" repeats the one
        before it, "interpolate" puts it on the line between its neighbours, "keep" gives NaN. A text that is no finite
        number is a DataError with its line; so is a column of numbers such as 1,234 that may mean two things.
        """
        self.require([column])
        parsed = self._column(column)
        if parsed.notation is NumberNotation.AMBIGUOUS:
            raise self._ambiguous_number(column)
        values = parsed.values if self.rows is None else parsed.values[self.rows]
        wrong = np.isin(np.arange(len(self)) if self.rows is None else self.rows, parsed.wrong)
        if wrong.any():
            raise self._no_number(column, int(wrong.argmax()))
        if missing == "keep" or not np.isnan(values).any():
            return values
        values = values if missing == "refuse" else numbers.filled_values(values, missing)
        if np.isnan(values).any():
            raise self.missing_value(column, values, missing)
        return values

    def missing_value(self, column: str, values: Values, missing: str) -> DataError:
        """The error for values that are NaN after what `missing` did."""
        absent = np.flatnonzero(np.isnan(values))
        row = int(absent[0])
        several = f", and in {counted(len(absent) - 1, 'more row')}" if len(absent) > 1 else ""
        if missing == "refuse":
            do, shell = (
                "missing='forward' or 'interpolate' fills values in",
                "add --set missing=interpolate, or forward",
            )
        elif np.isnan(values).all():
            do = f"the column has no value: leave it out, with ignore={column!r}"
            shell = f"add --set {shlex.quote(f'ignore={column}')}"
        else:
            do = "forward has no value before it to repeat: fill in the value, or use missing='interpolate'"
            shell = do.replace("use missing='interpolate'", "add --set missing=interpolate")
        problem, got = f"{self.where(row, column)}: a value is missing{several}", repr(self.texts(column)[row])
        return DataError(problem, expected="a number such as -12.5", got=got, do=do, shell=shell)

    def is_numeric(self, column: str) -> bool:
        """Whether all fields of a column are numbers or missing, and one at least is a number."""
        parsed = self._column(column)
        return not len(parsed.wrong) and not bool(np.isnan(parsed.values).all())

    def is_mostly_numeric(self, column: str) -> bool:
        """Whether more than half of the fields are numbers: then the others are faults, and no names or classes."""
        values = self._column(column).values
        return 2 * int((~np.isnan(values)).sum()) > len(values)

    def has_units(self, column: str) -> bool:
        """Whether a column holds numbers with a unit after them, which is not read."""
        content = self.data[column]
        return isinstance(content, list) and are_with_units(content)

    def rows_without_number(self, column: str) -> list[int]:
        """The rows where a column has no finite number."""
        values = self._column(column).values
        return np.flatnonzero(np.isnan(values if self.rows is None else values[self.rows])).tolist()

    def _column(self, column: str) -> NumberColumn:
        """The numbers of a column over all rows of the file, parsed once: its notation is that of the whole column."""
        self.require([column])
        if column not in self.cache:
            content = self.data[column]
            self.cache[column] = (
                numbers.read_numbers(content, self.decimal, self.separator, self._usual_notation)
                if isinstance(content, list)
                else numbers.numbers_of_array(content)
            )
        return self.cache[column]

    def _usual_notation(self) -> NumberNotation:
        """How the columns that leave no doubt write decimals."""
        if "notation" not in self.cache:
            self.cache["notation"] = numbers.shared_notation(
                text for text in self.data.values() if isinstance(text, list)
            )
        return self.cache["notation"]

    def fitted_remark(self, columns: Sequence[str]) -> tuple[str, ...]:
        """Remarks on how the numbers of those columns were read, where that is not obvious."""
        remarks = ((column, self._column(column).remark) for column in columns)
        return tuple(f"{column}: {remark}" for column, remark in remarks if remark)

    def _ambiguous_number(self, column: str) -> DataError:
        texts = self.texts(column)
        row = next(row for row, text in enumerate(texts) if "," in text or "." in text)
        text = texts[row].strip()
        whole, decimal = text.replace(",", "").replace(".", ""), text.replace(",", ".")
        return DataError(
            f"{self.where(row, column)}: {text} may be {whole} or {decimal}, and no value of the column shows which",
            do="say which sign stands before decimals: decimal=',' or decimal='.'; the other one divides thousands",
            shell="say which sign stands before decimals: add --set decimal=, or --set decimal=. "
            "(the other one divides thousands)",
        )

    def _no_number(self, column: str, row: int) -> DataError:
        text = self.texts(column)[row]
        known = "infinite values are refused" if numbers.is_infinite(text) else "mend the value"
        mark, wrong = self._column(column).mark, self._column(column).wrong
        remedies = "name other columns", f"leave out the column with --set {shlex.quote(f'ignore={column}')}"
        do, shell = (f"{known}, leave out the row, or {other}" for other in remedies)
        if row == 0 and self.rows is None and len(wrong) == 1 and len(self) > _FEW:
            do = shell = f"{self.place_word} {self.line(0)} may hold the units, or a second header: leave it out"
        return DataError(
            f"{self.where(row, column)}: this is no finite number",
            expected=f"a number with {mark!r}, as in other rows" if mark else "a number such as -12.5",
            got=repr(text.strip()[:60]),
            do=do,
            shell=shell,
        )

    def dates(self, columns: Sequence[str], *, named: bool = False) -> ParsedDates | None:
        """The dates that a column holds, or that several do together (year, month, day); None where it holds none.

        `named` says that the column is asked for as one of times, so that 1987 is a year.
        """
        key = (*columns, named)
        if key not in self.cache:
            self.cache[key] = replace(self, rows=None)._read_dates(columns, named=named)
        parsed: ParsedDates | None = self.cache[key]
        return parsed if parsed is None or self.rows is None else parsed.take(self.rows)

    def zone_of(self, column: str) -> str:
        """The time zone of a column of dates: that of the settings, or its own; "" without one."""
        return self.zone or self.zones.get(column, "")

    def _read_dates(self, columns: Sequence[str], *, named: bool) -> ParsedDates | None:
        self.require(columns)
        content = self.data[columns[0]]
        if len(columns) == 1 and not isinstance(content, list):
            if content.dtype.kind != "M":
                texts = [text.removesuffix(".0") for text in self.texts(columns[0])]
                return parsed_dates(texts, named=named) if content.dtype.kind in "iuf" else None
            has_clock = bool((content != content.astype("datetime64[D]")).any())
            return ParsedDates(content.astype("datetime64[us]"), "%Y-%m-%d %H:%M:%S" if has_clock else "%Y-%m-%d")
        parts = [self.texts(column) for column in columns]
        texts = parts[0] if len(parts) == 1 else [_joined(fields) for fields in zip(*parts, strict=True)]
        try:
            return parsed_dates(texts, dayfirst=self.dayfirst, named=named or len(parts) > 1)
        except AmbiguousDatesError as error:
            raise DataError(
                f"{self.name}, {columns[0]!r}: {error} does not show which is the day and which the month",
                do="say it: dayfirst='yes' or dayfirst='no'",
                shell="add --set dayfirst=yes, or --set dayfirst=no",
            ) from error

    def groups(self, id: str = "") -> list[RowGroup]:
        """The rows of each value of the column `id`, in order of first appearance; without `id`, one group."""
        if not id:
            return [RowGroup("", np.arange(len(self)))]
        places: dict[str, list[int]] = {}
        for row, key in enumerate(self.texts(id)):
            places.setdefault(key.strip(), []).append(row)
        if "" in places:
            raise DataError(f"{self.where(places[''][0], id)}: the id is missing", do="fill it in")
        return [RowGroup(key, np.array(rows, np.int64)) for key, rows in places.items()]


def open_table(
    source: object,
    *,
    encoding: str = "",
    header: Header = "infer",
    decimal: Decimal = "infer",
    dayfirst: DayFirst = "infer",
    zone: str = "",
) -> Table:
    """The table of a file, or a pandas DataFrame.

    A file is CSV, TSV or its like (divided by commas, tabs, semicolons or bars; gzip or not), JSON lines (.jsonl) or
    Parquet. `encoding` names that of a text file, which is found otherwise; `header` says whether its first row holds
    names; `decimal` which sign stands before decimals; `dayfirst` whether 01/02/2020 is in February; `zone` is
    the time zone of the times.

    Raises DataError with file, line and column for what is no table, and where the first row may be either.
    """
    content = read_columns(source, encoding=encoding, header=header)
    return Table(**vars(content), decimal=decimal, dayfirst=dayfirst, zone=zone)


def _joined(fields: Sequence[str]) -> str:
    """Year, month and day, or a date and a time of day, as one text."""
    whole = [text.strip().removesuffix(".0") for text in fields]
    if not whole[0].isdecimal():
        clock = whole[1:]
        hours = f"{clock[0].zfill(2)}:00" if len(clock) == 1 and clock[0].isdecimal() else " ".join(clock)
        return f"{whole[0]} {hours}"
    date = "-".join(text.zfill(2) for text in whole[:3])
    clock = ":".join(text.zfill(2) for text in whole[3:])
    return f"{date} {clock}{':00' * (len(whole) == 4)}".strip()


def _as_texts(content: NDArray[Any]) -> list[str]:
    if content.dtype.kind == "f":
        return ["" if np.isnan(value) else repr(value) for value in content.tolist()]
    if content.dtype.kind == "M":
        return ["" if text == "NaT" else text.replace("T", " ") for text in np.datetime_as_string(content).tolist()]
    return [str(value) for value in content.tolist()]
