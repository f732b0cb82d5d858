"""Names from data as text in a picture."""

from gatewright.untrusted.printable import printable


def picture_text(name: str) -> str:
    """A name on one line, without control characters, for which fonts have no picture; no part of it is a formula."""
    return " ".join(printable(name).split()).replace("$", r"\$")
