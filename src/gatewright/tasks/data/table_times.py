"""Times out of the texts of a column: which notation of dates it has, read by pandas."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

DayFirst = Literal["infer", "yes", "no"]
Dates = NDArray[np.datetime64]

_YEAR = re.compile(r"(1[0-9]|20|21)\d\d(\.0*)?")
_COMPACT = {8: "%Y%m%d", 6: "%Y%m"}
_BY_PLACE = re.compile(r"(\d{1,2})([./-])(\d{1,2})\2(\d{4}|\d{2})(?:[ T,]+(\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?))?")
_YEAR_FIRST = re.compile(r"(\d{4})([./-])(\d{1,2})(?:\2(\d{1,2}))?(?=$|[ T])")
_QUARTER = re.compile(r"(?:(\d{4})[ -]?[Qq]([1-4])|[Qq]([1-4])[ -/]?(\d{4}))")
_WEEK = re.compile(r"(\d{4})-?W(\d{2})")
_WORDED = (
    "%b %Y", "%B %Y", "%b-%Y", "%b-%y", "%Y %b", "%Y-%b", "%d %b %Y", "%d-%b-%Y", "%d-%b-%y", "%d %B %Y",
    "%b %d, %Y", "%B %d, %Y", "%b %d %Y", "%a, %d %b %Y", "%m/%Y", "%d %b %Y %H:%M", "%d %b %Y %H:%M:%S",
    "%Y-%m-%d %I:%M:%S %p", "%m/%d/%Y %I:%M %p", "%m/%d/%Y %I:%M:%S %p",
)  # fmt: skip
_LOOKED_AT = 50  # values at the start of a column
_LONGEST = 40  # characters of a date
_MOSTLY = 0.9  # of the values: then those that are no dates are faults, and the column no column of labels


@dataclass(frozen=True, eq=False)
class ParsedDates:
    """Dates (rows,), datetime64[us], NaT where a text is none, and how the column writes them."""

    values: Dates
    form: str
    zone: str | None = None

    @property
    def wrong(self) -> list[int]:
        """The rows that have no date."""
        return np.flatnonzero(np.isnat(self.values)).tolist()


class AmbiguousDatesError(ValueError):
    """Dates such as 01/02/2020 in a column that does not show which is the day."""


def parsed_dates(texts: Sequence[str], *, dayfirst: DayFirst = "infer", named: bool = False) -> ParsedDates | None:
    """The dates of a column, or None where it holds others than dates.

    A few that are no dates among many that are come out as NaT. Numbers are dates where all have the form 20200131;
    years, months such as 202001, and seconds since 1970 are where the column is `named` as one of times.
    """
    notations = (
        partial(_numbers, named=named),
        partial(_iso, named=named),
        partial(_by_place, dayfirst=dayfirst),
        _quarters,
        _weeks,
        _worded,
    )
    start = [text.strip() for text in texts[:_LOOKED_AT]]
    for read in notations:
        # A column in no notation of dates is told by its first values, without reading all of them.
        if len(texts) > 2 * _LOOKED_AT and not _reads(read, start):
            continue
        parsed = read([text.strip() for text in texts])
        if parsed is not None and len(parsed.wrong) <= (1 - _MOSTLY) * len(texts):
            return parsed
    return None


def _reads(read: Callable[[list[str]], ParsedDates | None], start: list[str]) -> bool:
    try:
        parsed = read(start)
    except AmbiguousDatesError:
        return True
    return parsed is not None and 2 * len(parsed.wrong) <= len(start)


def are_dates(texts: Sequence[str]) -> bool:
    """Whether most of some fields look like dates with their parts divided, or like 20200131."""
    short = [text for text in texts if len(text) < _LONGEST and any(map(str.isdigit, text))]
    try:
        parsed = parsed_dates(short, dayfirst="infer") if 2 * len(short) > len(texts) else None
    except AmbiguousDatesError:
        return True
    return parsed is not None and not parsed.wrong


def _numbers(texts: list[str], *, named: bool) -> ParsedDates | None:
    whole = [text.removesuffix(".0") for text in texts]
    length = len(whole[0]) if whole else 0
    if not length or not all(len(text) == length and text.isdecimal() for text in whole):
        return None
    if length in _COMPACT and (length == 8 or named):
        parsed = _as_format(whole, _COMPACT[length])
        return parsed if parsed is not None and not parsed.wrong and _in_our_time(parsed.values) else None
    if not named:
        return None
    if all(map(_YEAR.fullmatch, whole)):
        return ParsedDates(np.array(whole, "datetime64[Y]").astype("datetime64[us]"), "%Y")
    unit = {10: "s", 13: "ms"}.get(length)
    return _since_1970(whole, unit) if unit else None


def _since_1970(texts: list[str], unit: str) -> ParsedDates:
    values = np.array(texts, np.int64).astype(f"datetime64[{unit}]").astype("datetime64[us]")
    return ParsedDates(values, "%Y-%m-%d %H:%M:%S", "UTC")


def _in_our_time(values: Dates) -> bool:
    years = values.astype("datetime64[Y]").astype(int) + 1970
    return bool(((years >= 1700) & (years <= 2200)).all())


def _iso(texts: list[str], *, named: bool) -> ParsedDates | None:
    first = next((match for text in texts if text and (match := _YEAR_FIRST.match(text))), None)
    if first is None or sum(map(bool, map(_YEAR_FIRST.match, texts))) < _MOSTLY * len(texts) / 2:
        return None
    if not named and all(text.count(".") == 1 and text.replace(".", "").isdecimal() for text in texts):
        return None  # 2020.05 is a number first
    if any("/" in text or "." in text[:10] for text in texts) or any(len(text) < 10 for text in texts):
        texts = [_YEAR_FIRST.sub(_padded, text) for text in texts]
    import pandas as pd

    zoned = bool(re.search(r"\d[ T]\d.*(Z|[+-]\d\d:?\d\d)$", texts[0]))
    values = pd.to_datetime(pd.Series(texts, dtype=object), format="ISO8601", errors="coerce", utc=True)
    clock = any(":" in text for text in texts)
    form = "%Y-%m-%d %H:%M:%S" if clock else "%Y-%m-%d" if first.group(4) else "%Y-%m"
    return ParsedDates(_plain(values), form, "UTC" if zoned else None)


def _padded(match: re.Match[str]) -> str:
    year, _, month, day = match.groups()
    return f"{year}-{int(month):02}" + (f"-{int(day):02}" if day else "")


def _by_place(texts: list[str], *, dayfirst: DayFirst) -> ParsedDates | None:
    matched = [_BY_PLACE.fullmatch(text) for text in texts]
    present = [match for match in matched if match]
    if len(present) < _MOSTLY * len(texts):
        return None
    first, second = (max(int(match.group(place)) for match in present) for place in (1, 3))
    if dayfirst == "infer":
        if first <= 12 and second <= 12 and present[0].group(2) != ".":
            raise AmbiguousDatesError(texts[0])
        day_is_first = second <= 12 and (first > 12 or present[0].group(2) == ".")
    else:
        day_is_first = dayfirst == "yes"
    iso = ["" if match is None else _reordered(match, day_is_first=day_is_first) for match in matched]
    import pandas as pd

    values = pd.to_datetime(pd.Series(iso, dtype=object), format="ISO8601", errors="coerce", utc=True)
    sign, clock = present[0].group(2), " %H:%M:%S" if present[0].group(5) else ""
    return ParsedDates(_plain(values), sign.join(("%d", "%m") if day_is_first else ("%m", "%d")) + f"{sign}%Y{clock}")


def _reordered(match: re.Match[str], *, day_is_first: bool) -> str:
    first, _, second, year, clock = match.groups()
    day, month = (first, second) if day_is_first else (second, first)
    century = "" if len(year) == 4 else "20" if int(year) < 69 else "19"  # as strptime's %y
    time = f"T{clock.zfill(5) if clock.count(':') == 1 else clock}" if clock else ""
    return f"{century}{year}-{int(month):02}-{int(day):02}{time}"


def _quarters(texts: list[str]) -> ParsedDates | None:
    matched = [_QUARTER.fullmatch(text) for text in texts]
    if not all(matched):
        return None
    groups = [match.groups() for match in matched if match]
    months = [f"{year or later}-{3 * int(quarter or earlier) - 2:02}" for year, quarter, earlier, later in groups]
    return ParsedDates(np.array(months, "datetime64[us]"), "%Y-%m")


def _weeks(texts: list[str]) -> ParsedDates | None:
    """Weeks of ISO 8601, such as 2020-W05, as their Mondays."""
    matched = [match for text in texts if (match := _WEEK.fullmatch(text))]
    if len(matched) < len(texts):
        return None
    mondays = _as_format([f"{match.group(1)}-W{match.group(2)}-1" for match in matched], "%G-W%V-%u")
    return mondays and ParsedDates(mondays.values, "%G-W%V" if "-" in texts[0] else "%GW%V")


def _worded(texts: list[str]) -> ParsedDates | None:
    for form in _WORDED:
        if _as_format(texts[:1], form) is not None and (parsed := _as_format(texts, form)) is not None:
            return parsed
    return None


def _as_format(texts: list[str], form: str) -> ParsedDates | None:
    import pandas as pd

    values = _plain(pd.to_datetime(pd.Series(texts, dtype=object), format=form, errors="coerce"))
    return None if np.isnat(values).all() else ParsedDates(values, form)


def _plain(values: Any) -> Dates:
    """Without a zone, in microseconds; times with a zone are those of UTC."""
    series = values.dt.tz_localize(None) if getattr(values.dt, "tz", None) is not None else values
    return series.to_numpy().astype("datetime64[us]")
