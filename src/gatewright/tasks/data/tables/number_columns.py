"""Columns of numbers: their values, and the notation that a column of texts writes them in."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gatewright.tasks.data.tables.number_marks import unmarked
from gatewright.tasks.data.tables.numbers import (
    Decimal,
    NumberNotation,
    Values,
    may_be_thousands,
    notation_of,
    parsed_numbers,
    plain_numbers,
)


class NumberColumn(NamedTuple):
    """The values of a column, NaN where there are none, the rows that hold no numbers, and how they are written."""

    values: Values
    wrong: Sequence[int] | NDArray[np.int64]
    notation: NumberNotation
    remark: str = ""  # for a person: how one of them was read, where that is not obvious
    mark: str = ""  # that stands beside them, such as %


def numbers_of_array(content: NDArray[Any]) -> NumberColumn:
    """A column that the source has as an array: infinite values are wrong, and so is all that is no number."""
    if content.dtype.kind not in "iuf":
        return NumberColumn(np.full(len(content), np.nan), range(len(content)), NumberNotation.POINT)
    values = content.astype(np.float64)
    return NumberColumn(values, np.flatnonzero(np.isinf(values)), NumberNotation.POINT)


def read_numbers(
    content: list[str], decimal: Decimal, separator: str, usual_notation: Callable[[], NumberNotation]
) -> NumberColumn:
    """The numbers in a column of texts; `separator` is what divides the fields of the file.

    `decimal` is what a setting says; `usual_notation` is asked where the column may be read in two ways.
    """
    plain = None if decimal == "," else plain_numbers(content)
    if plain is not None and (separator in ",|" or decimal == "." or not may_be_thousands(content)):
        return NumberColumn(plain, (), NumberNotation.POINT)
    marked = unmarked(content)
    texts = marked.texts if marked else content
    notation = _notation(texts, decimal, separator, usual_notation)
    values, wrong = parsed_numbers(texts, NumberNotation.GROUPS if notation is NumberNotation.AMBIGUOUS else notation)
    if marked is None:
        remark = _remark(texts, values, notation) if decimal == "infer" else ""
        return NumberColumn(values, wrong, notation, remark)
    values[list(marked.wrong)] = np.nan
    remark = f"{content[marked.example].strip()!r} is read as {values[marked.example]:.12g}"
    return NumberColumn(values, sorted({*wrong, *marked.wrong}), notation, remark, marked.mark)


def _notation(
    texts: Sequence[str], decimal: Decimal, separator: str, usual_notation: Callable[[], NumberNotation]
) -> NumberNotation:
    """By the setting, by the column, or, where it may be read in two ways, by the others of the file."""
    if decimal != "infer":
        return NumberNotation.COMMA if decimal == "," else NumberNotation.GROUPS
    notation = notation_of(texts)
    if notation is NumberNotation.POINT and separator not in ",|" and may_be_thousands(texts):
        notation = NumberNotation.AMBIGUOUS
    if notation is not NumberNotation.AMBIGUOUS:
        return notation
    # A field with a comma is quoted in a file that commas divide: nobody writes decimals so.
    return NumberNotation.GROUPS if separator == "," else usual_notation()


def _remark(texts: Sequence[str], values: Values, notation: NumberNotation) -> str:
    """How a text that may mean two things was read by what stands around its column."""
    if notation is NumberNotation.AMBIGUOUS or notation is notation_of(texts):
        return ""
    row = next((row for row, text in enumerate(texts) if "," in text or "." in text), None)
    if row is None:
        return ""
    other = "." if notation is NumberNotation.COMMA else ","
    otherwise = parsed_numbers([texts[row]], NumberNotation.COMMA if other == "," else NumberNotation.GROUPS)[0][0]
    return f"{texts[row].strip()!r} is read as {values[row]:.12g}; decimal={other!r} reads {otherwise:.12g}"


def shared_notation(columns: Iterable[Sequence[str]]) -> NumberNotation:
    """The notation of the columns that are unambiguous; AMBIGUOUS where they differ, or where there are none."""
    notations = {notation for texts in columns if (notation := _clear_notation(texts)) is not None}
    return notations.pop() if len(notations) == 1 else NumberNotation.AMBIGUOUS


def _clear_notation(texts: Sequence[str]) -> NumberNotation | None:
    """How a column of numbers writes decimals, where its values leave no doubt."""
    if plain_numbers(texts) is not None:
        return None if may_be_thousands(texts) or "." not in "".join(texts) else NumberNotation.GROUPS
    notation = notation_of(texts)
    if notation in (NumberNotation.AMBIGUOUS, NumberNotation.POINT) or parsed_numbers(texts, notation)[1]:
        return None
    return notation
