"""Numbers and names as a person reads them, and rows as CSV."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gatewright.untrusted.printable import printable


def spell(value: float) -> str:
    """A measure in four figures."""
    return f"{value:.4g}" if abs(value) < 1e4 else f"{value:.3e}"


def counted(count: int, noun: str) -> str:
    """`1 row`, `2 rows`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def picture_text(name: str) -> str:
    """A name on one line, without control characters, for which fonts have no picture; no part of it is a formula."""
    return " ".join(printable(name).split()).replace("$", r"\$")


def csv_text(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], *, header: bool = True) -> str:
    """The rows as lines of CSV; a row that lacks a column is empty there."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
