"""Numbers with a mark beside them: a currency, a percent sign, or parentheses in place of a minus."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

_CURRENCY = r"[$€£¥₹₽₩₺]|USD|EUR|GBP|JPY|CHF|CAD|AUD|NZD|CNY|INR|SEK|NOK|DKK|PLN|CZK|BRL|MXN|ZAR|kr|zł"
_MARKED = re.compile(
    rf"(?P<open>\()?\s*(?P<sign>[-+−]?)\s*(?P<before>{_CURRENCY})?\s*(?P<inner>[-+−]?)"
    rf"(?P<number>\d(?:[\d.,' \u00a0\u2009\u202f\u2019]*\d)?)\s*(?P<after>{_CURRENCY}|%)?\s*(?P<close>\))?"
)
_SIGNS = re.compile(rf"[%(−]|{_CURRENCY}")
_WITH_UNIT = re.compile(r"[-+]?\d[\d.,]* ?[^\W\d_]{1,5}[²³%]?(/[^\W\d_]{1,3}[²³]?)?")
_LOOKED_AT = 100
_MOSTLY = 0.5


@dataclass(frozen=True)
class Unmarked:
    """The texts of a column without their mark; `wrong` are the rows with another mark than the column.

    `example` is a row that had a mark.
    """

    texts: list[str]
    mark: str
    wrong: tuple[int, ...]
    example: int


def unmarked(texts: Sequence[str]) -> Unmarked | None:
    """The numbers of a column without a currency or percent sign, and -12.5 for (12.5); None where none has a mark.

    A column has one mark. It may be left out beside some numbers, unless it is a percent sign: 1.3 among percentages
    may be 130 %.
    """
    start = [text for text in texts[:_LOOKED_AT] if text.strip()]
    numbers = sum(without_mark(text) is not None for text in start)
    if numbers < _MOSTLY * len(start) or not any(map(_SIGNS.search, texts)):
        return None
    matched = [_MARKED.fullmatch(text.strip()) for text in texts]
    bare = [_bare(match) if match else None for match in matched]
    marks = [(match["before"] or match["after"] or "") if match else "" for match in matched]
    pairs = list(zip(texts, bare, strict=True))
    changed = next((row for row, (text, plain) in enumerate(pairs) if plain not in (None, text.strip())), None)
    if changed is None:
        return None
    mark, count = next(iter(Counter(filter(None, marks)).most_common(1)), ("", 0))
    if mark == "%" and 2 * count < sum(plain is not None for plain in bare):
        return None  # the few percentages are the faults
    allowed = {mark} if mark == "%" else {mark, ""}
    wrong = tuple(row for row, plain in enumerate(bare) if plain and marks[row] not in allowed and plain.strip("0.,"))
    return Unmarked([text if plain is None else plain for text, plain in pairs], mark, wrong, changed)


def without_mark(text: str) -> str | None:
    """One number without its mark; None where the text is no number."""
    match = _MARKED.fullmatch(text.strip())
    return _bare(match) if match else None


def are_with_units(texts: Sequence[str]) -> bool:
    """Whether most of some fields are numbers with letters after them, as in 1.2M and 12 kg."""
    start = [text.strip() for text in texts[:_LOOKED_AT] if text.strip()]
    return sum(map(bool, map(_WITH_UNIT.fullmatch, start))) > _MOSTLY * len(start)


def _bare(match: re.Match[str]) -> str | None:
    signs = (match["sign"] + match["inner"]).replace("−", "-")
    if bool(match["open"]) != bool(match["close"]) or len(signs) + bool(match["open"]) > 1:
        return None
    return ("-" if match["open"] else signs) + match["number"]
