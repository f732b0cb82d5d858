"""Columns of numbers: their values, and the notation of a column of texts (decimal signs, groups of thousands)."""

import re
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gatewright.tasks.data.tables.number_marks import unmarked, without_mark

MISSING = frozenset({"", "?", "na", "n/a", "#n/a", "nan", "null", "none", "-", "<na>", "missing"})

Values = NDArray[np.float64]
Decimal = Literal["infer", ".", ","]

_LOGICAL = {"true": 1.0, "false": 0.0}
_PLAIN = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_INFINITE = re.compile(r"[+-]?inf(inity)?", re.IGNORECASE)
_GROUPED = {sign: re.compile(rf"[+-]?\d{{1,3}}(\{sign}\d{{3}})+", re.ASCII) for sign in ",."}
_SPACES = re.compile("(?<=\\d)[ '\u00a0\u2009\u202f\u2019](?=\\d{3}(?!\\d))")  # these divide thousands too


class NumberNotation(Enum):
    """How the numbers of a column are written."""

    POINT = "point"
    COMMA = "comma"  # a decimal comma, and points between thousands
    GROUPS = "groups"  # a decimal point, and commas between thousands
    AMBIGUOUS = "ambiguous"  # 1,234 is 1.234 or 1234


def is_missing(text: str) -> bool:
    """Whether a field says that there is no value."""
    return text.strip().lower() in MISSING


def looks_like_number(text: str) -> bool:
    """Whether a field alone may be a number, in some notation."""
    plain = _SPACES.sub("", without_mark(text) or text.strip())
    pointed = plain.replace(".", "").replace(",", ".", 1)
    return bool(_PLAIN.fullmatch(plain) or _PLAIN.fullmatch(pointed) or _with_commas_out(plain))


def notation_of(texts: Sequence[str]) -> NumberNotation:
    """How a whole column writes its numbers, by the first of its values that shows it.

    A value shows groups of thousands where it has two, or a point after its commas; it shows a decimal comma where it
    has one that three digits do not follow, a zero before it, or points before it. Where none shows anything, as in
    1,234, the notation is ambiguous. A later value that contradicts is no number in the notation of the others.
    """
    if "," not in "\n".join(texts):
        several = any(text.count(".") > 1 and _GROUPED["."].fullmatch(text.strip()) for text in texts)
        return NumberNotation.COMMA if several else NumberNotation.POINT
    marked = (_SPACES.sub("", text.strip()) for text in texts if "," in text)
    shown = (notation for text in marked if (notation := _shown_by(text)) is not NumberNotation.AMBIGUOUS)
    return next(shown, NumberNotation.AMBIGUOUS)


def _shown_by(text: str) -> NumberNotation:
    point, comma = text.rfind("."), text.rfind(",")
    if point >= 0:
        return NumberNotation.GROUPS if point > comma else NumberNotation.COMMA
    if text.count(",") > 1:
        return NumberNotation.GROUPS
    if _GROUPED[","].fullmatch(text) and text.lstrip("+-")[0] != "0":
        return NumberNotation.AMBIGUOUS
    return NumberNotation.COMMA


def may_be_thousands(texts: Sequence[str]) -> bool:
    """Whether the points of a column may all divide thousands, as in 1.234 and 567."""
    pointed = [text for text in texts if "." in text]
    whole = (text for text in texts if "." not in text)
    return (
        bool(pointed)
        and all(_GROUPED["."].fullmatch(text.strip()) and text.strip().lstrip("+-")[0] != "0" for text in pointed)
        and all(len(text.strip().lstrip("+-")) <= 3 for text in whole)
    )


def plain_numbers(texts: Sequence[str]) -> Values | None:
    """The values of a column that has nothing but finite numbers with decimal points; None for any other."""
    try:
        values = np.fromiter(map(float, texts), np.float64, len(texts))
    except ValueError:
        return None
    # Python's own reading takes "1_000", "nan" and digits of other scripts as well.
    joined = "".join(texts)
    return values if np.isfinite(values).all() and joined.isascii() and "_" not in joined else None


def parsed_numbers(texts: Sequence[str], notation: NumberNotation) -> tuple[Values, list[int]]:
    """The values, NaN where they are missing, and the rows with a text that is no finite number."""
    logical = _logical(texts)
    if logical is not None:
        return logical, []
    if notation is NumberNotation.COMMA and "." not in (joined := "\n".join(texts)) and "\n" not in "".join(texts):
        plain = plain_numbers(joined.replace(",", ".").split("\n"))
        if plain is not None:
            return plain, []
    values, wrong = np.full(len(texts), np.nan), list[int]()
    for row, text in enumerate(texts):
        value = _number(text.strip(), notation)
        if value is not None:
            values[row] = value
        elif not is_missing(text):
            wrong.append(row)
    return values, wrong


def _logical(texts: Sequence[str]) -> Values | None:
    """1 and 0 for a column of true and false."""
    if not texts or texts[0].strip().lower() not in _LOGICAL:
        return None
    values = [_LOGICAL.get(text.strip().lower()) for text in texts]
    return None if None in values else np.array(values, np.float64)


def _number(text: str, notation: NumberNotation) -> float | None:
    plain = _SPACES.sub("", text)
    if notation is NumberNotation.COMMA:
        whole, comma, decimals = plain.partition(",")
        if "." in whole and not _GROUPED["."].fullmatch(whole):
            return None
        plain = whole.replace(".", "") + ("." if comma else "") + decimals
    elif notation is NumberNotation.GROUPS and "," in plain:
        plain = _with_commas_out(plain) or plain
    if not _PLAIN.fullmatch(plain):
        return None
    value = float(plain)
    return value if np.isfinite(value) else None


def _with_commas_out(plain: str) -> str:
    """`1,234.5` as 1234.5; nothing where commas do not divide thousands."""
    whole, point, decimals = plain.partition(".")
    return whole.replace(",", "") + point + decimals if _GROUPED[","].fullmatch(whole) else ""


def is_infinite(text: str) -> bool:
    """Whether a field is written as an infinity."""
    return bool(_INFINITE.fullmatch(text.strip()))


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


def filled_values(values: Values, how: str) -> Values:
    """The values (steps,) without those that are missing.

    "forward" repeats the value before them; what has none before it stays missing. "interpolate" draws a line between
    the neighbours, and repeats the first known value before it and the last after it.
    """
    present = np.flatnonzero(~np.isnan(values))
    if not len(present):
        return values
    places = np.arange(len(values))
    if how == "interpolate":
        return np.interp(places, present, values[present])
    before = np.searchsorted(present, places, side="right") - 1
    return np.where(before >= 0, values[present[np.maximum(before, 0)]], np.nan)


def known_steps(values: NDArray[Any]) -> int:
    """The number of steps up to the last value in (steps, variables); all of them where there is no value."""
    present = np.flatnonzero(~np.isnan(values).all(1))
    return int(present[-1]) + 1 if len(present) else len(values)
