"""Text from anywhere, made safe to print: it cannot steer a terminal, or change the order in which it is read."""

import re
import sys

_STEERING = re.compile(
    "["
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters, among them those that begin a terminal's commands
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # what changes the direction of writing
    "\u2028\u2029"  # ends of lines that most programs do not know
    "\ufeff\ufff9-\ufffb"  # a byte order mark, and notes between lines, which are not seen
    "\ud800-\udfff"  # halves of characters, which cannot be encoded
    "\U000e0000-\U000e007f"  # letters that are not seen
    "]"
)


def printable(text: str) -> str:
    r"""The text with what would steer a terminal written as Python would write it, as in `\x1b`.

    Tabs and ends of lines stay.
    """
    return _STEERING.sub(_escaped, text.replace("\r\n", "\n"))


def printable_json(text: str) -> str:
    r"""JSON that says the same without such characters: they stand only within its strings, where `\u001b` is one."""
    return _STEERING.sub(lambda match: _escaped_for_json(match[0]), text)


def print_text(text: str, *, end: str = "\n") -> None:
    """Print text as it is, but for what would steer a terminal; it is seen at once."""
    sys.stdout.write(printable(text) + end)
    sys.stdout.flush()


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _escaped_for_json(letter: str) -> str:
    units = letter.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{int.from_bytes(units[i : i + 2], 'big'):04x}" for i in range(0, len(units), 2))
