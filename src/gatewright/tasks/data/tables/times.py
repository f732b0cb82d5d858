"""Times out of the texts of a column: which notation of dates it has, read by pandas."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from gatewright.tasks.data.tables.date_forms import iso_form

DayFirst = Literal["infer", "yes", "no"]
Dates = NDArray[np.datetime64]

_YEAR = re.compile(r"(1[0-9]|20|21)\d\d(\.0*)?")
_SINCE_1970 = {10: ("s", "%s"), 13: ("ms", "%s%3f"), 16: ("us", "%s%6f"), 19: ("ns", "%s%9f")}  # by their digits
_COMPACT = {8: "%Y%m%d", 6: "%Y%m"}
_BY_PLACE = re.compile(r"(\d{1,2})([./-])(\d{1,2})\2(\d{4}|\d{2})(?:([ T,]+)(\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?))?")
_YEAR_FIRST = re.compile(r"(\d{4})([./-])(\d{1,2})(?:\2(\d{1,2}))?(?=$|[ T])")
_OFFSET = re.compile(r"(?<=[\d:]) ?(Z|UTC|GMT|[+-]\d\d(?::?\d\d)?)$")
_PARTS = tuple(
    re.compile(pattern.replace("YEAR", r"(?P<Y>\d{4})|(?P<y>\d\d)"), re.IGNORECASE)
    for pattern in (
        r"(?P<Y>\d{4})[ /-]?Q(?P<q>[1-4])",
        r"FY ?'?(?:YEAR)[ /-]?Q(?P<q>[1-4])",
        r"Q(?P<q>[1-4])[ /-]?(?:FY)? ?'?(?:YEAR)",
        r"(?P<q>[1-4])Q[ /-]?'?(?:YEAR)",
        r"(?P<Y>\d{4})[ /-]?H(?P<h>[12])",
        r"H(?P<h>[12])[ /-]?'?(?:YEAR)",
        r"FY ?'?(?:YEAR)",
    )
)  # of years, in quarters and halves
_SEASON = re.compile(r"(\d{4})([/-])(\d\d)")
_RANGE = re.compile(r"(.{8,}?) ?(?: - | – | to |/|–) ?(.{8,})")
_NUMBERED_MONTH = re.compile(r"(\d{4})(-?M)(\d{2})")
_WEEK = re.compile(r"(\d{4})(-?W)(\d{2})")
_WORDED = (
    "%b %Y", "%B %Y", "%b-%Y", "%b-%y", "%Y %b", "%Y-%b", "%d %b %Y", "%d-%b-%Y", "%d-%b-%y", "%d %B %Y",
    "%b %d, %Y", "%B %d, %Y", "%b %d %Y", "%a, %d %b %Y", "%m/%Y", "%d %b %Y %H:%M", "%d %b %Y %H:%M:%S",
    "%Y-%m-%d %I:%M:%S %p", "%m/%d/%Y %I:%M %p", "%m/%d/%Y %I:%M:%S %p",
)  # fmt: skip
_LOOKED_AT = 50  # values of a column
_LONGEST = 40  # characters of a date
_MOSTLY = 0.5  # of the values: then those that are no dates are faults, and the column no column of labels


@dataclass(frozen=True, eq=False)
class ParsedDates:
    """Dates (rows,), datetime64[us], NaT where a text is no date, and how the column writes them.

    They are what the clock showed; `offsets` (rows,), where the column has them, are its seconds before UTC.
    """

    values: Dates
    form: str
    offsets: NDArray[np.int64] | None = None

    @property
    def wrong(self) -> list[int]:
        """The rows that have no date."""
        return np.flatnonzero(np.isnat(self.values)).tolist()

    def take(self, rows: Any) -> Self:
        """Those rows."""
        return replace(self, values=self.values[rows], offsets=None if self.offsets is None else self.offsets[rows])


class AmbiguousDatesError(ValueError):
    """Dates such as 01/02/2020 in a column that does not show which is the day."""


def parsed_dates(texts: Sequence[str], *, dayfirst: DayFirst = "infer", named: bool = False) -> ParsedDates | None:
    """The dates of a column, or None where less than half of its fields are dates.

    Others among them come out as NaT. Numbers are dates where they have the form 20200131; years, months such as
    202001, and seconds since 1970 are where the column is `named` as one of times.
    """
    notations = (
        partial(_numbers, named=named),
        _seasons,
        partial(_iso, named=named),
        partial(_by_place, dayfirst=dayfirst),
        _parts_of_years,
        _months_and_weeks,
        _worded,
        partial(_ranges, dayfirst=dayfirst),
    )
    stripped = [text.strip() for text in texts]
    sample = stripped[:: max(1, len(stripped) // _LOOKED_AT)]
    for read in notations:
        # A column in no notation of dates is told by some of its values, without reading all of them.
        if len(texts) > 2 * _LOOKED_AT and not _reads(read, sample):
            continue
        parsed = read(stripped)
        if parsed is not None and len(parsed.wrong) < (1 - _MOSTLY) * len(texts):
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
    (length, most), *_ = Counter(len(text) for text in whole if text.isdecimal()).most_common(1) or [(0, 0)]
    if not most or most < _MOSTLY * len(texts):
        return None
    fits = [len(text) == length and text.isdecimal() for text in whole]
    if not all(fits) and any(text.isdecimal() for text, fit in zip(whole, fits, strict=True) if not fit):
        return None  # numbers of several lengths are numbers
    if length in _COMPACT and (length == 8 or named):
        parsed = _as_format([text if fit else "" for text, fit in zip(whole, fits, strict=True)], _COMPACT[length])
        if parsed is None or int((~np.isnat(parsed.values)).sum()) != most:
            return None
        years = parsed.values[fits].astype("datetime64[Y]").astype(int) + 1970
        return parsed if ((years >= 1700) & (years <= 2200)).all() else None
    if not named:
        return None
    if all(_YEAR.fullmatch(text) for text, fit in zip(whole, fits, strict=True) if fit):
        years = [text if fit else "NaT" for text, fit in zip(whole, fits, strict=True)]
        return ParsedDates(np.array(years, "datetime64[Y]").astype("datetime64[us]"), "%Y")
    return _since_1970(whole, fits, length) if length in _SINCE_1970 else None


def _since_1970(texts: list[str], fits: list[bool], length: int) -> ParsedDates:
    unit, form = _SINCE_1970[length]
    counts = np.array([int(text) if fit else 0 for text, fit in zip(texts, fits, strict=True)], np.int64)
    values = counts.astype(f"datetime64[{unit}]").astype("datetime64[us]")
    values[~np.array(fits)] = np.datetime64("NaT")
    return ParsedDates(values, form, np.zeros(len(texts), np.int64))


def _iso(texts: list[str], *, named: bool) -> ParsedDates | None:
    matched = [_YEAR_FIRST.match(text) for text in texts]
    if sum(map(bool, matched)) < _MOSTLY * len(texts):
        return None
    if not named and all(text.count(".") == 1 and text.replace(".", "").isdecimal() for text in texts):
        return None  # 2020.05 is a number first
    form = _iso_form([text for text, match in zip(texts, matched, strict=True) if match])
    bare, offsets = _without_offsets(texts) if any(":" in text for text in texts) else (texts, None)
    values = _read_by_pandas([_YEAR_FIRST.sub(_padded, text) for text in bare], "ISO8601")
    if offsets is None:
        return ParsedDates(values, form)
    has_offset = ~np.isnan(offsets)
    if 2 * has_offset.sum() < len(texts):  # those with an offset are the faults
        values[has_offset] = np.datetime64("NaT")
        return ParsedDates(values, _iso_form([text for text, has in zip(texts, has_offset, strict=True) if not has]))
    values[~has_offset] = np.datetime64("NaT")
    form = _iso_form([text for text, has in zip(texts, has_offset, strict=True) if has])
    return ParsedDates(values, form, np.nan_to_num(offsets).astype(np.int64))


def _iso_form(texts: list[str]) -> str:
    """That of the longest, since some programs leave out the clock at midnight."""
    form = iso_form(max(texts[:_LOOKED_AT], key=len))
    unpadded = any(len(part) == 1 for text in texts for part in re.split(r"[./ T-]", text, maxsplit=3)[1:3])
    return form.replace("%m", "%-m").replace("%d", "%-d") if unpadded else form


def _without_offsets(texts: list[str]) -> tuple[list[str], NDArray[np.float64] | None]:
    """The texts without UTC offsets, and the offsets in seconds: NaN for a text without one, None for no offsets."""
    matched = [_OFFSET.search(text) if ":" in text else None for text in texts]
    if not any(matched):
        return texts, None
    bare = [text[: match.start()] if match else text for text, match in zip(texts, matched, strict=True)]
    return bare, np.array([_seconds(match[1]) if match else np.nan for match in matched])


def _seconds(offset: str) -> int:
    digits = offset[1:].replace(":", "") if offset[0] in "+-" else "0000"
    seconds = 3600 * int(digits[:2]) + 60 * int(digits[2:] or 0)
    return -seconds if offset[0] == "-" else seconds


def _padded(match: re.Match[str]) -> str:
    year, _, month, day = match.groups()
    return f"{year}-{int(month):02}" + (f"-{int(day):02}" if day else "")


def _by_place(texts: list[str], *, dayfirst: DayFirst) -> ParsedDates | None:
    matched = [_BY_PLACE.fullmatch(text) for text in texts]
    present = [match for match in matched if match]
    if not present or len(present) < _MOSTLY * len(texts):
        return None
    first, second = (max(int(match.group(place)) for match in present) for place in (1, 3))
    if dayfirst == "infer":
        if first <= 12 and second <= 12 and present[0].group(2) != ".":
            raise AmbiguousDatesError(present[0].group())
        day_is_first = second <= 12 and (first > 12 or present[0].group(2) == ".")
    else:
        day_is_first = dayfirst == "yes"
    iso = ["" if match is None else _reordered(match, day_is_first=day_is_first) for match in matched]
    return ParsedDates(_read_by_pandas(iso, "ISO8601"), _form_by_place(present, day_is_first=day_is_first))


def _form_by_place(matched: Sequence[re.Match[str]], *, day_is_first: bool) -> str:
    """As the first date is written; days and months have no zero before them where one of them has none."""
    _, sign, _, year, between, clock = matched[0].groups()
    padded = all(len(match[1]) == len(match[3]) == 2 for match in matched)
    day, month = ("%d", "%m") if padded else ("%-d", "%-m")
    date = sign.join((day, month) if day_is_first else (month, day)) + sign + ("%Y" if len(year) == 4 else "%y")
    hour = "%H" if all(len((match[6] or "00:").partition(":")[0]) == 2 for match in matched) else "%-H"
    return f"{date}{between}{hour}:%M{':%S' * (clock.count(':') == 2)}" if clock else date


def _reordered(match: re.Match[str], *, day_is_first: bool) -> str:
    first, _, second, year, _, clock = match.groups()
    day, month = (first, second) if day_is_first else (second, first)
    century = "" if len(year) == 4 else "20" if int(year) < 69 else "19"  # as strptime's %y
    time = f"T{clock.zfill(5) if clock.count(':') == 1 else clock}" if clock else ""
    return f"{century}{year}-{int(month):02}-{int(day):02}{time}"


def _parts_of_years(texts: list[str]) -> ParsedDates | None:
    """Quarters, halves and fiscal years, by their first months; a fiscal year is taken as the year of its number."""
    for pattern in _PARTS:
        matched = [pattern.fullmatch(text) for text in texts]
        present = next((match for match in matched if match), None)
        if present is not None and 2 * sum(map(bool, matched)) > len(texts):
            months = [_first_month(match.groupdict()) if match else "NaT" for match in matched]
            return ParsedDates(np.array(months, "datetime64[us]"), _form_of_parts(present))
    return None


def _first_month(parts: dict[str, str | None]) -> str:
    year = parts.get("Y") or f"{'20' if int(parts['y'] or 0) < 69 else '19'}{parts['y']}"
    month = 3 * int(parts.get("q") or 1) - 2 if "q" in parts else 6 * int(parts.get("h") or 1) - 5
    return f"{year}-{month:02}"


def _form_of_parts(match: re.Match[str]) -> str:
    form = match.string
    spans = sorted(((match.span(name), name) for name, text in match.groupdict().items() if text), reverse=True)
    for (start, end), name in spans:  # the last one first, so that the others stay where they are
        form = f"{form[:start]}%{name}{form[end:]}"
    return form


def _seasons(texts: list[str]) -> ParsedDates | None:
    """Years that end in the next one, such as 2019/20."""
    matched = [_SEASON.fullmatch(text) for text in texts]
    present = [match for match in matched if match]
    is_next = all((int(match[1]) + 1) % 100 == int(match[3]) for match in present)
    if len(present) < 2 or 2 * len(present) <= len(texts) or not is_next:
        return None
    years = np.array([match[1] if match else "NaT" for match in matched], "datetime64[Y]")
    return ParsedDates(years.astype("datetime64[us]"), f"%Y{present[0][2]}%n")


def _ranges(texts: list[str], *, dayfirst: DayFirst) -> ParsedDates | None:
    """The first days of such as 2020-01-05 - 2020-01-11."""
    matched = [_RANGE.fullmatch(text) for text in texts]
    if 2 * sum(map(bool, matched)) <= len(texts):
        return None
    first, second = ([match[place] if match else "" for match in matched] for place in (1, 2))
    ends = parsed_dates(second, dayfirst=dayfirst)
    return parsed_dates(first, dayfirst=dayfirst) if ends else None


def _months_and_weeks(texts: list[str]) -> ParsedDates | None:
    """Months such as 2020M05, and weeks of ISO 8601, such as 2020-W05, as their Mondays."""
    several: list[ParsedDates] = []
    for pattern, year, part, day in ((_NUMBERED_MONTH, "%Y", "%m", "%d"), (_WEEK, "%G", "%V", "%u")):
        matched = [pattern.fullmatch(text) for text in texts]
        present = next((match for match in matched if match), None)
        firsts = [f"{match[1]}.{match[3]}.1" if match else "" for match in matched]
        if present and (parsed := _as_format(firsts, f"{year}.{part}.{day}")):
            several.append(ParsedDates(parsed.values, f"{year}{present[2]}{part}"))
    return min(several, key=lambda dates: len(dates.wrong), default=None)


def _worded(texts: list[str]) -> ParsedDates | None:
    """The form that reads the most, of those that read one of the first values."""
    start = [text for text in texts if text][:5]
    forms = [form for form in _WORDED if _as_format(start, form) is not None]
    parsed = [dates for form in forms if (dates := _as_format(texts, form)) is not None]
    return min(parsed, key=lambda dates: len(dates.wrong), default=None)


def _as_format(texts: list[str], form: str) -> ParsedDates | None:
    values = _read_by_pandas(texts, form)
    return None if np.isnat(values).all() else ParsedDates(values, form)


def _read_by_pandas(texts: list[str], form: str) -> Dates:
    """In microseconds, NaT for a text of another form."""
    import pandas as pd

    dates: Any = pd.to_datetime(pd.Series(texts, dtype=object), format=form, errors="coerce")
    return dates.to_numpy().astype("datetime64[us]")
