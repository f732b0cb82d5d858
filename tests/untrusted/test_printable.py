"""Text from anywhere, printed: letters of all scripts stay, and nothing steers the terminal."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewright.untrusted.printable import print_text, printable, printable_json

SHOWN = {
    "\x1b[31mred": r"\x1b[31mred",
    "a\rb": r"a\rb".replace(r"\r", r"\x0d"),
    "line\r\nline\n\tindented": "line\nline\n\tindented",
    "\x00\x07\x7f\x9b": r"\x00\x07\x7f\x9b",
    "abc\u202egpj.exe": r"abc\u202egpj.exe",
    "\u2066\u200f": r"\u2066\u200f",
    "\u2028": r"\u2028",
    "\ufefftext": r"\ufefftext",
    "\ud800": r"\ud800",
    "\U000e0041": r"\U000e0041",
    "[bold]é 漢字 🕰 ‌ 👨‍👩‍👧 עברית": "[bold]é 漢字 🕰 ‌ 👨‍👩‍👧 עברית",
}


def test_what_steers_is_written_out() -> None:
    assert {text: printable(text) for text in SHOWN} == SHOWN


@given(st.text(st.characters(codec=None)))
def test_what_is_printed_has_nothing_left_to_write_out_and_can_be_encoded(text: str) -> None:
    shown = printable(text)
    assert printable(shown) == shown
    shown.encode("utf-8")


@given(st.text(st.characters(codec=None)))
def test_json_says_the_same(text: str) -> None:
    shown = printable_json(json.dumps({text: [text]}, ensure_ascii=False))
    assert json.loads(shown) == {text: [text]}
    assert printable(shown) == shown


def test_printing(capsys: pytest.CaptureFixture[str]) -> None:
    print_text("a\x1b\n", end="")
    print_text("b")
    assert capsys.readouterr().out == "a\\x1b\nb\n"
