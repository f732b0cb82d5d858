"""Whether the first row of a table is a header."""

from collections.abc import Sequence
from typing import Literal

from gatewright.errors import DataError
from gatewright.tasks.data.tables.numbers import is_missing, looks_like_number
from gatewright.tasks.data.tables.times import are_dates

Header = Literal["infer", "yes", "no"]

TEXT_NAMES = frozenset((
    "text", "texts", "sentence", "review", "reviews", "review text", "review_text", "comment", "message", "content",
    "body", "tweet", "document", "sms", "utterance", "question", "headline", "summary", "description", "token",
    "tokens", "word", "words",
))  # fmt: skip
LABEL_NAMES = frozenset((
    "label", "labels", "class", "category", "sentiment", "target", "polarity", "rating", "tag", "tags", "y", "intent",
    "topic", "is_spam",
))  # fmt: skip
TIME_NAMES = frozenset((
    "time", "times", "timestamp", "date", "dates", "datetime", "day", "month", "year", "hour", "week", "quarter", "ds",
    "t", "step", "period", "index",
))  # fmt: skip
ID_NAMES = frozenset(
    ("id", "ids", "series", "series_id", "unique_id", "item", "item_id", "store", "group", "key", "uid")
)
KNOWN_NAMES = TEXT_NAMES | LABEL_NAMES | TIME_NAMES | ID_NAMES | {"value", "sales", "price", "name", "title"}

_LOOKED_AT = 200  # rows below the first
_LONG = 4  # columns with the names 0, 1, 2, 3: fewer may well be values


def has_header(name: str, first: Sequence[str], below: Sequence[Sequence[str]], asked: Header) -> tuple[bool, str]:
    """Whether the first of the rows holds names of columns, and a remark where that is worth a line.

    A name stands above numbers or dates, is a well-known one, or is no value of a column of few values. Where rows
    show neither, it is a DataError that says how to tell.
    """
    if asked != "infer":
        return asked == "yes", ""
    if _counted(first) and below:
        return _integers(name, first, below)
    if not below:
        return not any(looks_like_number(text) or are_dates([text]) for text in first), ""
    columns = list(zip(*below[:_LOOKED_AT], strict=True))
    follow_empty = len(first) > 1 and not first[0].strip() and all(text.strip() for text in first[1:])
    if follow_empty and not any(map(is_missing, columns[0])):  # as above an index that has no name
        return True, ""
    votes = {_is_name(text, column) for text, column in zip(first, columns, strict=True)} - {None}
    known = any(text.strip().lower() in KNOWN_NAMES for text in first)
    if votes == {True} or (len(votes) > 1 and first[0].strip().lower() in KNOWN_NAMES):
        return True, ""  # also of times, and of numbers as the names of the others
    if len(votes) > 1 or (votes and (known or _counts_up(first))):
        raise _asks(name, first)
    if votes:
        return False, ""
    return _of_words(name, first, below)


def _is_name(text: str, column: Sequence[str]) -> bool | None:
    """Whether the field above a column is a name and no value; None for a column without numbers or dates."""
    values = [value for value in column if not is_missing(value)]
    if not values or is_missing(text):
        return None
    if 2 * sum(map(looks_like_number, values)) > len(values):
        return not looks_like_number(text)
    return not are_dates([text]) if are_dates(values[:20]) else None


def _counted(first: Sequence[str]) -> bool:
    """Whether the fields are whole numbers that count up by 1, as pandas names columns."""
    texts = [text.strip() for text in first]
    return _are_consecutive(texts) and (int(texts[0]) == 0 or len(texts) > 2)


def _counts_up(first: Sequence[str]) -> bool:
    """Whether there are words, and numbers that count up, as in a table with years as the names of its columns."""
    numbers = [text.strip() for text in first if looks_like_number(text)]
    return 1 < len(numbers) < len(first) and _are_consecutive(numbers)


def _are_consecutive(texts: Sequence[str]) -> bool:
    if not all(text.isdecimal() and text.isascii() for text in texts):
        return False
    numbers = [int(text) for text in texts]
    return numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def _integers(name: str, first: Sequence[str], below: Sequence[Sequence[str]]) -> tuple[bool, str]:
    columns = list(zip(*below[:_LOOKED_AT], strict=True))
    fractions = [sum("." in text for text in column) * 2 > len(column) for column in columns]
    if not any(fractions):
        if len(first) == 1 or int(first[0]) != 0:
            return False, ""
        raise _asks(name, first)
    if all(fractions) and len(first) >= _LONG and int(first[0]) == 0:
        return True, f"the first row, {first[0]}, {first[1]}, ..., {first[-1]}, is the header"
    raise _asks(name, first)


def _of_words(name: str, first: Sequence[str], below: Sequence[Sequence[str]]) -> tuple[bool, str]:
    """Of a table that has texts only."""
    names = [text.strip() for text in first]
    is_known = any(text.lower() in KNOWN_NAMES for text in names)
    if is_known and list(first) in below:
        return True, ""  # that comes again, which the reader refuses
    if len({text.lower() for text in names}) < len(names):
        return is_known, ""  # a header with a name that comes twice is refused, too
    values = [[row[place].strip() for row in below] for place in range(len(first))]
    few = [place for place, column in enumerate(values) if has_few_values(column)]
    if any(names[place] in set(values[place]) for place in few):
        return False, ""
    if is_known:
        return True, ""
    longest = 1 if len(first) == 1 else 3  # words of a name
    short = all(text and len(text.split()) <= longest for text in names)
    if few and all(len(text.split()) == 1 for text in names) and any(map(_is_long, values)):
        return True, ""
    if few or (short and (len(first) > 1 or _is_long(values[0]))):
        raise _asks(name, first)
    return False, ""


def has_few_values(column: Sequence[str]) -> bool:
    """Whether a column may hold labels: each of its values stands in four rows on average, or there are only two."""
    return len(set(column)) <= max(2, len(column) // 4)


def _is_long(column: Sequence[str]) -> bool:
    return sum(" " in text for text in column) * 2 > len(column)


def _asks(name: str, first: Sequence[str]) -> DataError:
    return DataError(
        f"{name}: the first row may be a header or a row of values",
        got=", ".join(first)[:100],
        do="say which: header='yes' or header='no'",
        shell="add --set header=yes, or --set header=no",
    )
