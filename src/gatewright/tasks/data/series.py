"""Series to forecast: tables of numbers, one row a time step."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import DataError, OptionError
from gatewright.tasks.data.sources import Source, files_of, one_of
from gatewright.tasks.data.tables import Row, rows_of

_MISSING = {"", "?", "na", "n/a", "nan", "null", "none", "-"}


@dataclass(frozen=True, eq=False)
class Series:
    """Values (steps, variables), float64, the names of the variables, and what each step is called, if anything."""

    values: NDArray[np.float64]
    names: tuple[str, ...]
    times: NDArray[np.str_] | None

    def __len__(self) -> int:
        return len(self.values)

    def select(self, names: Sequence[str]) -> Self:
        """Those variables, in that order."""
        unknown = next((name for name in names if name not in self.names), None)
        if unknown is not None or not names:
            raise OptionError(
                "the series has no such variable", expected="some of " + ", ".join(self.names), got=repr(unknown)
            )
        return type(self)(self.values[:, [self.names.index(name) for name in names]], tuple(names), self.times)


def load_series(source: Source = "airline", variables: Sequence[str] = ()) -> Series:
    """A series of a data set, or of a CSV or TSV file of the user's own; of some of its variables if these are named.

    Those known by name: etth1 and etth2 (17,420 hours, 7 variables; Zhou et al. 2021,
    https://arxiv.org/abs/2012.07436), airline (144 months; Box and Jenkins 1976), sunspots (2,820 months).
    """
    found = read_series(one_of(files_of(source, "series"), r".*\.(csv|tsv|txt|tab|gz)", "a series (*.csv)"))
    return found.select(variables) if variables else found


def read_series(path: Path) -> Series:
    """The numbers of a table, a variable a column.

    The first row is a header where it has no number below which a number stands. The first column is what the steps are
    called, where its first values are no numbers or its name is empty; it is in order of time, which is not checked.
    """
    rows = rows_of(path)
    start = list(islice(rows, 3))
    has_header = _has_header(start)
    names = start[0].fields if has_header else [f"column {place}" for place in range(1, len(start[0].fields) + 1)]
    start = start[int(has_header) :]
    named = len(names) > 1 and (not names[0].strip() or all(_is_name(row.fields[0]) for row in start))
    values, times = array("d"), list[str]()
    for source in (start, rows):
        for row in source:
            times.append(row.fields[0])
            values.extend(_numbers(path, row, names, from_column=int(named)))
    table = np.array(values).reshape(len(times), -1)
    return Series(table, tuple(names[int(named) :]), np.array(times) if named else None)


def _has_header(rows: Sequence[Row]) -> bool:
    if len(rows) < 2:
        return False
    fields = zip(rows[0].fields, rows[1].fields, strict=True)
    return any(not _is_number(name) and _is_number(value) for name, value in fields)


def _numbers(path: Path, row: Row, names: Sequence[str], *, from_column: int) -> list[float]:
    try:
        found = [float(text) for text in row.fields[from_column:]]
    except ValueError:
        found = [np.nan]
    if not np.isfinite(found).all():
        raise _no_number(path, row, names, from_column)
    return found


def _no_number(path: Path, row: Row, names: Sequence[str], from_column: int) -> DataError:
    place = next(place for place in range(from_column, len(names)) if not _is_number(row.fields[place]))
    text = row.fields[place].strip()
    what = "a value is missing" if text.lower() in _MISSING else "this is no finite number"
    mended = "write a decimal point for the comma" if _is_number(_with_point(text)) else None
    return DataError(
        f"{path}, line {row.line}, {names[place]!r}: {what}",
        expected="a number such as -12.5",
        got=repr(text[:60]),
        do=mended or "fill in the value, or leave out the row or column",
    )


def _is_name(text: str) -> bool:
    """Whether a step may be called so: it is not a number, nor one with a decimal comma, nor one that is missing."""
    return not _is_number(_with_point(text)) and text.strip().lower() not in _MISSING


def _with_point(text: str) -> str:
    return text.replace(",", ".", 1)


def _is_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False
