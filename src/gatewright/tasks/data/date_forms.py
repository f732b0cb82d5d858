"""How a column writes its dates, as a strftime form, and dates written so."""

import re
from datetime import datetime

_TOKEN = re.compile(r"%(:z|-?[A-Za-z])")
_ISO = re.compile(
    r"\d{4}(?P<sign>[./-])(?P<month>\d{1,2})(?:(?P=sign)(?P<day>\d{1,2}))?"
    r"(?:(?P<between>[ T])(?P<hour>\d{1,2})(?P<minute>:\d\d)?(?P<second>:\d\d)?(?P<fraction>[.,]\d+)?)?"
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
    offset = match["offset"] or ""
    written = _OFFSETS.get(len(offset), "%:z") if offset[:1] in ("+", "-") else offset
    return f"{date}{match['between']}{clock}{match['gap']}{written}" if offset else f"{date}{match['between']}{clock}"


def spelled_date(date: datetime, form: str, offset: int = 0) -> str:
    """A date of a clock that is `offset` seconds before UTC, in a form of strftime.

    Beside strftime's own codes, %-d and the like have no zero before them, %:z is +01:00, %q is the quarter, and %s and
    %Q are the seconds and milliseconds since 1970.
    """
    if offset and form.endswith(("Z", "UTC", "GMT")):
        form = form.removesuffix("Z").removesuffix("UTC").removesuffix("GMT").rstrip() + "%:z"
    return _TOKEN.sub(lambda match: _part(date, match[1], offset), form)


def _part(date: datetime, code: str, offset: int) -> str:
    if code.endswith("z"):
        hours, minutes = divmod(abs(offset) // 60, 60)
        return f"{'-' if offset < 0 else '+'}{hours:02}{':' if code == ':z' else ''}{minutes:02}"
    if code in "sQ":
        seconds = (date - datetime(1970, 1, 1)).total_seconds() - offset
        return str(round(seconds * (1 if code == "s" else 1000)))
    if code == "q":
        return str((date.month + 2) // 3)
    if code == "Y":
        return f"{date.year:04}"
    return date.strftime(f"%{code[-1]}").lstrip("0" if code[0] == "-" else "") or "0"
