"""The content of a table's source: its columns, unparsed where it is a text file, and the place of each row."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import DataError
from gatewright.tasks.data.reading import check_plain
from gatewright.tasks.data.tables.encoding import FileEncoding, encoded_lines, encoding_of
from gatewright.tasks.data.tables.header import Header, has_header
from gatewright.tasks.data.tables.rows import Delimited, TableRow
from gatewright.untrusted.json_text import parse_json

Columns = list[str] | NDArray[Any]

_HEADER_ROWS = 20_000  # rows that a header is told by


@dataclass(frozen=True, eq=False)
class TableContent:
    """The columns of a source by their names; `remarks` are lines for a person: what was inferred of the file."""

    name: str
    data: Mapping[str, Columns]
    places: Sequence[Any] | NDArray[Any]  # what each row is called: its line, mostly
    place_word: str = "line"
    remarks: tuple[str, ...] = ()
    separator: str = ""  # of a delimited file
    has_header: bool = True
    zones: Mapping[str, str] = field(default_factory=dict[str, str])  # of columns of dates that have one


def read_columns(source: object, *, encoding: str = "", header: Header = "infer") -> TableContent:
    """The content of a file by its suffix, or of a DataFrame."""
    if is_frame(source):
        return _of_frame(source, "the DataFrame")
    if not isinstance(source, str | os.PathLike):
        raise DataError("this is no table", expected="a path or a pandas DataFrame", got=type(source).__name__)
    path = Path(source).expanduser()
    suffix = path.name.lower().removesuffix(".gz").rpartition(".")[2]
    if suffix in ("parquet", "pq"):
        return _parquet(path)
    if suffix in ("xlsx", "xls", "ods", "json", "feather", "h5"):
        raise DataError(
            f"{path} is of a kind that is not read",
            expected="CSV, TSV, JSON lines (.jsonl) or Parquet",
            got=f".{suffix}",
            do="save it as CSV, or give it as a pandas DataFrame",
            shell="save it as CSV",
        )
    coding = encoding_of(path, encoding)
    if suffix in ("jsonl", "ndjson"):
        return _json_lines(path, coding)
    return _delimited(path, coding, header)


def is_frame(source: object) -> bool:
    """Whether something is a pandas DataFrame; pandas is not imported to find out."""
    return any(
        kind.__name__ == "DataFrame" and kind.__module__.split(".")[0] == "pandas" for kind in type(source).__mro__
    )


def _delimited(path: Path, coding: FileEncoding, header: Header) -> TableContent:
    table = Delimited(path, lambda: encoded_lines(path, coding.name))
    rows = table.rows()
    start = list(islice(rows, _HEADER_ROWS))
    fields = [row.fields for row in start]
    present = [place for place in range(len(fields[0])) if any(row[place] for row in fields)]
    if not present:
        raise DataError(f"{path} holds no values", got=f"empty fields in {len(fields):,} rows")
    fields = [[row[place] for place in present] for row in fields]
    is_header, remark = has_header(str(path), fields[0], fields[1:], header)
    columns, lines = _gathered(chain(start[is_header:], rows), len(start[0].fields))
    named = start[0].fields if is_header else [""] * len(columns)
    kept = [place for place, name in enumerate(named) if name.strip() or any(columns[place])]
    names = _names(path, [named[place] or f"column {place + 1}" * (not is_header or place > 0) for place in kept])
    if not lines:
        raise DataError(f"{path} holds a header and no rows", got=", ".join(names)[:100])
    content = {name: columns[place] for name, place in zip(names, kept, strict=True)}
    lines = _without_empty_end(content, lines)
    if is_header:
        _check_header_once(path, named, columns, lines)
    comments = f"left out: lines 1 to {table.comments}, comments with #" if table.comments else ""
    remarks = tuple(filter(None, (coding.remark, comments, remark)))
    return TableContent(str(path), content, lines, "line", remarks, table.separator, is_header)


def _gathered(rows: Iterator[TableRow], width: int) -> tuple[list[list[str]], list[int]]:
    columns: list[list[str]] = [[] for _ in range(width)]
    lines: list[int] = []
    while part := list(islice(rows, 4096)):  # columns are put together from parts, which is quicker than by rows
        lines.extend(row.line for row in part)
        for column, texts in zip(columns, zip(*(row.fields for row in part), strict=True), strict=True):
            column.extend(texts)
    return columns, lines


def _without_empty_end(columns: dict[str, list[str]], lines: list[int]) -> list[int]:
    """The lines without rows at the end that have no value, as programs for spreadsheets write them."""
    count = len(lines)
    while count and not any(column[count - 1] for column in columns.values()):
        count -= 1
    for column in columns.values():
        del column[count:]
    return lines[:count]


def _check_header_once(path: Path, header: Sequence[str], columns: Sequence[Sequence[str]], lines: list[int]) -> None:
    """Refuse a table with a second header, as in files that were concatenated."""
    for row, line in enumerate(lines):
        if columns[0][row] == header[0] and len(header) > 1 and [column[row] for column in columns] == list(header):
            raise DataError(
                f"{path}, line {line}: the header comes again", got=", ".join(header)[:100], do="leave out the row"
            )


def _names(path: Path | str, fields: Sequence[str]) -> list[str]:
    """The names of columns, all different; one without a name is called by its place."""
    names = [name.strip() or ("index" if place == 1 else f"column {place}") for place, name in enumerate(fields, 1)]
    twice = next((name for place, name in enumerate(names) if name in names[:place]), None)
    if twice is not None:
        raise DataError(
            f"{path}: two columns are called {twice!r}",
            expected="a name of its own for each column",
            do="rename one; or, if the first row is no header, header='no'",
            shell="rename one; or, if the first row is no header, add --set header=no",
        )
    return names


def _json_lines(path: Path, coding: FileEncoding) -> TableContent:
    lines: list[int] = []
    rows: list[dict[str, str]] = []
    for number, line in enumerate(encoded_lines(path, coding.name), 1):
        if line.strip():
            rows.append(_json_object(path, number, line))
            lines.append(number)
    columns = {key: [row.get(key, "") for row in rows] for key in dict.fromkeys(key for row in rows for key in row)}
    if not columns:
        raise DataError(f"{path} holds no rows")
    return TableContent(str(path), columns, lines, remarks=tuple(filter(None, (coding.remark,))))


def _json_object(path: Path, number: int, line: str) -> dict[str, str]:
    try:
        content: Any = parse_json(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}, line {number}: this is no JSON", got=f"{line.strip()[:60]!r} ({error})") from error
    if not isinstance(content, dict):
        raise DataError(
            f"{path}, line {number}: this is no row of a table",
            expected='an object such as {"text": "...", "label": "..."}',
            got=line.strip()[:60],
        )
    # Lists and objects stay JSON, and are refused where numbers or labels are read.
    row = {
        str(key): value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)
        for key, value in cast("dict[str, object]", content).items()
    }
    for key, text in row.items():
        try:
            (key + text).encode()
        except UnicodeEncodeError as error:
            raise DataError(
                f"{path}, line {number}, {key!r}: half of a character, which no text has",
                got=f"\\u{ord(error.object[error.start]):04x}",
                do="mend the row, or leave it out",
            ) from error
    return row


def _parquet(path: Path) -> TableContent:
    check_plain(path)
    try:
        import pandas as pd

        return _of_frame(pd.read_parquet(path), str(path))
    except ImportError as error:
        raise DataError(
            f"{path}: a Parquet file is read by pyarrow, which is not installed",
            do='pip install "gatewright[parquet]"',
        ) from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as Parquet", got=f"{type(error).__name__}: {error}"[:200]) from error


def _of_frame(frame: Any, name: str) -> TableContent:
    # A name of several levels is written as words, such as "AAPL close".
    titles = [" ".join(map(str, title)) if isinstance(title, tuple) else str(title) for title in frame.columns]
    columns = [(title, frame.iloc[:, place]) for place, title in enumerate(titles)]
    columns = [*_of_index(frame.index), *columns]
    if not len(frame) or not columns:
        raise DataError(f"{name} holds no rows")
    names = _names(name, [column for column, _ in columns])
    content = {column: _of_series(values) for column, (_, values) in zip(names, columns, strict=True)}
    zones = {column: zone for column, (_, values) in zip(names, columns, strict=True) if (zone := _zone_of(values))}
    return TableContent(name, content, np.arange(len(frame)), "row", zones=zones)


def _zone_of(column: Any) -> str:
    """The name of a column's time zone; "" where it has none, or one without a name that pandas knows."""
    import pandas as pd

    if not isinstance(column.dtype, pd.DatetimeTZDtype):
        return ""
    name = str(column.dtype.tz)
    try:
        pd.Timestamp(0, tz=name)
    except (KeyError, ValueError, TypeError, OSError):  # one of dateutil, which has a path for a name
        return ""
    return name


def _of_index(index: Any) -> list[tuple[str, Any]]:
    """An index of dates, or one that has a name, as columns; any other only counts rows."""
    import pandas as pd

    index = index.to_timestamp() if isinstance(index, pd.PeriodIndex) else index
    if not isinstance(index, pd.DatetimeIndex) and all(part is None for part in index.names):
        return []
    return [(str(part or "time"), pd.Series(index.get_level_values(place))) for place, part in enumerate(index.names)]


def _of_series(column: Any) -> Columns:
    """Numbers and dates stay what they are, all else becomes texts; so do dates with a zone, with their offsets."""
    import pandas as pd

    if isinstance(column.dtype, pd.DatetimeTZDtype):
        return ["" if pd.isna(value) else value.isoformat() for value in column]
    if isinstance(column.dtype, pd.PeriodDtype):
        column = column.dt.to_timestamp()
    if pd.api.types.is_bool_dtype(column.dtype):
        return ["" if pd.isna(value) else str(value).lower() for value in column]
    if pd.api.types.is_numeric_dtype(column.dtype):
        whole = pd.api.types.is_integer_dtype(column.dtype) and not column.isna().any()
        return column.to_numpy(np.int64 if whole else np.float64, na_value=None if whole else np.nan)
    if pd.api.types.is_datetime64_dtype(column.dtype):
        return column.to_numpy()
    return [_frame_text(value) for value in column]


def _frame_text(value: Any) -> str:
    """A value as a field of a table; lists, arrays and mappings of a column that nests are written as such."""
    import pandas as pd

    if isinstance(value, bytes):  # texts that a Parquet file does not call texts
        return value.decode(errors="backslashreplace")
    return "" if pd.api.types.is_scalar(value) and pd.isna(value) else str(value)
