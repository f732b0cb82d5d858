"""Texts: read exactly, cleaned as the book does it, split without a gap."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewright.errors import DataError, OptionError
from gatewright.tasks.data.texts.text import clean, read_text, split
from gatewright.tasks.data.texts.vocabulary import CharVocabulary
from tests.tasks.data.formats import put


@pytest.mark.parametrize(
    "content",
    [b"a\r\nb\rc\n", "čas 時 🕰\u2028\x0b e\u0301\ufeff".encode(), b"no line end"],
    ids=["line ends", "any script", "one line"],
)
def test_a_file_is_read_exactly(tmp_path: Path, content: bytes) -> None:
    path = put(tmp_path / "any.text", content)
    assert read_text(path).encode() == content
    assert read_text(str(path)).encode() == content


def test_a_data_set_is_read_by_its_name_and_a_file_of_that_name_by_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "python-docs", b"mine")
    monkeypatch.chdir(tmp_path)
    assert read_text("python-docs").startswith('The "assert" statement')
    assert read_text("./python-docs") == "mine"
    assert read_text(Path("python-docs")) == "mine"


def test_bytes_that_are_not_text_are_named_by_offset_and_line(tmp_path: Path) -> None:
    path = put(tmp_path / "old.txt", b"first\nsecond\ncaf\xe9\n")
    with pytest.raises(DataError) as caught:
        read_text(path)
    assert str(caught.value) == (
        f"{path} is not UTF-8 text\n"
        "  expected: text encoded as UTF-8\n"
        "  got: byte 0xe9 at offset 16, in line 3 (invalid continuation byte)\n"
        "  do: convert the file, for example with: iconv -f WINDOWS-1252 -t UTF-8"
    )


def test_utf_16_is_recognised_by_its_mark(tmp_path: Path) -> None:
    path = put(tmp_path / "wide.txt", "text".encode("utf-16"))
    with pytest.raises(DataError, match="byte 0xff at offset 0, in line 1 .*\n.*iconv -f UTF-16 "):
        read_text(path)


def test_what_is_no_text_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=re.escape(f"{tmp_path} is a folder\n  expected: a text file")):
        read_text(tmp_path)
    with pytest.raises(DataError, match=re.escape(f"{tmp_path / 'empty'} is empty")):
        read_text(put(tmp_path / "empty", b""))


def test_a_name_that_is_nothing_lists_the_names_and_the_nearest() -> None:
    with pytest.raises(DataError) as caught:
        read_text("shakespear")
    assert str(caught.value) == (
        "'shakespear' is neither a data set nor a file\n"
        "  expected: one of python-docs, python-prose, shakespeare, timemachine, or a path\n"
        "  do: did you mean 'shakespeare' or 'tinyshakespeare'?"
    )


def test_the_time_machine_is_the_one_of_the_book(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWRIGHT_DATA", str(shared_data))
    text = clean(read_text("timemachine"), "d2l")
    assert len(text) == 170_580
    assert len(CharVocabulary.from_text(text)) == 27
    assert len(CharVocabulary.from_text(text, unknown=True)) == 28
    assert text.startswith("the time machine by h g wellsithe time traveller for so it will be convenient")


def test_shakespeare_has_65_symbols(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWRIGHT_DATA", str(shared_data))
    text = clean(read_text("shakespeare"), "none")
    assert len(text) == 1_115_394
    assert len(CharVocabulary.from_text(text)) == 65


@given(st.text(st.sampled_from("aZé \t\n\r.\x0c\u2028")))
def test_cleaning_is_the_books_line_by_line(text: str) -> None:
    # Python splits the lines of a file at these three and nowhere else, and so does the book.
    lines = re.split("\r\n|\r|\n", text)
    assert clean(text, "d2l") == "".join(re.sub("[^A-Za-z]+", " ", line).strip().lower() for line in lines)


def test_an_unknown_cleaning_is_an_error() -> None:
    with pytest.raises(OptionError, match="there is no cleaning named 'all'\n  expected: one of none, d2l"):
        clean("text", "all")


def test_splits_are_contiguous_and_lose_nothing() -> None:
    tokens = np.arange(103)
    parts = split(tokens, validation=0.1, test=0.05)
    assert [len(part) for part in parts] == [88, 10, 5]
    assert np.array_equal(np.concatenate(parts), tokens)
    assert all(np.shares_memory(part, tokens) for part in parts)


def test_nothing_need_be_held_out() -> None:
    parts = split(np.arange(10), validation=0, test=0)
    assert [len(part) for part in parts] == [10, 0, 0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validation": -0.1}, "validation is a fraction of the text"),
        ({"test": 1.0}, "test is a fraction of the text"),
        ({"validation": float("nan")}, "validation is a fraction of the text"),
        ({"validation": 0.6, "test": 0.4}, "nothing is left to train on"),
    ],
)
def test_a_wrong_split_is_an_error(options: dict[str, float], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        split(np.arange(100), **options)  # pyright: ignore[reportArgumentType]
