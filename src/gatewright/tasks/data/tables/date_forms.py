"""How a column writes its dates, as a strftime form, and dates written so."""

import re
from datetime import datetime, timedelta

_TOKEN = re.compile(r"%(:z|\df|-?[A-Za-z])")
_ISO = re.compile(
    r"\d{4}(?P<sign>[./-])(?P<month>\d{1,2})(?:(?P=sign)(?P<day>\d{1,2}))?"
    r"(?:(?P<between>[ T])(?P<hour>\d{1,2})(?P<minute>:\d\d)?(?P<second>:\d\d)?(?P<fraction>[.,]\d{1,9})?)?"
    r"(?P<gap> ?)(?P<offset>Z|UTC|GMT|[+-]\d\d(?::?\d\d)?)?$"
)
_OFFSETS = {6: "%:z", 5: "%z"}  # by length; +01 is written as %:z, which every reader knows


def iso_form(text: str) -> str:
    """The form of a date that begins with its year, such as "%Y-%m-%dT%H:%M:%S%:z"."""
    match = _ISO.match(text)
    if match is None:
        return "%Y-%m-%d"
    sign, padded = match["sign"], len(match["month"]) == 2
    date = sign.join(("%Y", "%m" if padded else "%-m", *(["%d" if padded else "%-d"] if match["day"] else [])))
    if not match["hour"]:
        return date
    clock = "%H" + ":%M" * bool(match["minute"]) + ":%S" * bool(match["second"])
    if match["fraction"]:
        clock += f"{match['fraction'][0]}%{len(match['fraction']) - 1}f"
    offset = match["offset"] or ""
    written = _OFFSETS.get(len(offset), "%:z") if offset[:1] in ("+", "-") else offset
    return f"{date}{match['between']}{clock}{match['gap']}{written}" if offset else f"{date}{match['between']}{clock}"


def spelled_date(date: datetime, form: str, offset: int = 0) -> str:
    """A date of a clock that is `offset` seconds before UTC, in a form of strftime.

    Beside strftime's own codes, %-d and the like have no zero before them, %3f are milliseconds, %:z is +01:00, %q is
    the quarter and %h the half of the year, %n are the last digits of the next year, and %s are seconds since 1970.
    """
    if offset and form.endswith(("Z", "UTC", "GMT")):
        form = form.removesuffix("Z").removesuffix("UTC").removesuffix("GMT").rstrip() + "%:z"
    return _TOKEN.sub(lambda match: _part(date, match[1], offset), form)


def _part(date: datetime, code: str, offset: int) -> str:
    if code.endswith("z"):
        hours, minutes = divmod(abs(offset) // 60, 60)
        return f"{'-' if offset < 0 else '+'}{hours:02}{':' if code == ':z' else ''}{minutes:02}"
    if code[0].isdigit():
        return f"{date.microsecond:06}000"[: int(code[0])]
    own = {
        "s": (date - datetime(1970, 1, 1)) // timedelta(seconds=1) - offset,
        "q": (date.month + 2) // 3,
        "h": (date.month + 5) // 6,
        "n": f"{(date.year + 1) % 100:02}",
        "Y": f"{date.year:04}",
    }
    if code in own:
        return str(own[code])
    return date.strftime(f"%{code[-1]}").lstrip("0" if code[0] == "-" else "") or "0"
