"""Files read piece by piece: nothing is lost at a seam, and what is wrong is told with its line."""

import gzip
import io
import re
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewright.errors import DataError
from gatewright.tasks.data import reading
from gatewright.tasks.data.published.sources import IN_MEMORY, existing_path, source_name
from gatewright.tasks.data.reading import Whole, member_names, member_pieces, stream_pieces, text_lines, text_pieces
from gatewright.tasks.data.texts.text import read_text
from gatewright.untrusted.unpacking import DATA_LIMIT
from tests.tasks.data.formats import put

TEXT = "ein Wort\r\nzwei Wörter 🕰\n\n\u2028nicht getrennt\x0c\nohne Ende"


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "PIECE", 7)


def archive(path: Path, members: dict[str, bytes], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as made:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            made.addfile(entry, io.BytesIO(content))
    return path


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("whole", ["lines", "words"])
def test_pieces_joined_are_the_file(tmp_path: Path, packed: bool, whole: Whole) -> None:
    content = TEXT.encode()
    path = put(tmp_path / "text", gzip.compress(content) if packed else content)
    pieces = list(text_pieces(path, whole))
    assert "".join(pieces) == TEXT
    assert len(pieces) > 3
    ends = ("\n",) if whole == "lines" else ("\n", " ")
    assert all(piece.endswith(ends) for piece in pieces[:-1] if piece)


@given(st.text(st.sampled_from("aé🕰 \n\r")), st.sampled_from(["lines", "words"]))
def test_no_text_has_a_seam(text: str, whole: Whole) -> None:
    assert "".join(stream_pieces(io.BytesIO(text.encode()), "text", whole)) == text


def test_lines_lose_their_ends_and_the_first_mark(tmp_path: Path) -> None:
    path = put(tmp_path / "text", ("\ufeff" + TEXT + "\n\n").encode())
    assert list(text_lines(path)) == [
        "ein Wort", "zwei Wörter 🕰", "", "\u2028nicht getrennt\x0c", "ohne Ende", ""
    ]  # fmt: skip


def test_another_encoding_is_told_by_offset_and_line_behind_any_seam(tmp_path: Path) -> None:
    content = b"0123456\n" * 5 + b"caf\xe9\n"
    path = put(tmp_path / "old.txt", content)
    with pytest.raises(DataError) as caught:
        list(text_pieces(path))
    assert str(caught.value) == (
        f"{path} is not UTF-8 text\n"
        "  expected: text encoded as UTF-8\n"
        "  got: byte 0xe9 at offset 43, in line 6 (invalid continuation byte)\n"
        "  do: convert the file, for example with: iconv -f WINDOWS-1252 -t UTF-8"
    )
    with pytest.raises(DataError, match="byte 0xff at offset 0, in line 1 .*\n.*iconv -f UTF-16 "):
        list(text_pieces(put(tmp_path / "wide.txt", "text".encode("utf-16"))))


def test_a_packed_file_that_is_cut_short_or_changed_is_an_error(tmp_path: Path) -> None:
    packed = gzip.compress(TEXT.encode() * 20)
    for wrong in (packed[:-12], packed[:-8] + b"????" + packed[-4:], packed[:20]):
        path = put(tmp_path / "text.gz", wrong)
        with pytest.raises(DataError, match=re.escape(f"{path} is cut short or damaged")):
            list(text_pieces(path))


def test_an_empty_file_and_one_that_cannot_be_read_are_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="empty is empty"):
        list(text_pieces(put(tmp_path / "empty", b"")))
    with pytest.raises(DataError, match="cannot be read\n  got: FileNotFoundError"):
        list(text_pieces(tmp_path / "nowhere"))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-16-le", "utf-32", "utf-32-be", "utf-32-le"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_wide_encodings_are_told_by_their_mark_or_by_where_they_have_nuls(
    tmp_path: Path, encoding: str, mark: str
) -> None:
    wide = encoding if encoding.endswith("e") else f"{encoding}-le"
    path = put(tmp_path / "wide.txt", (mark + "Hello – “world”.\n" * 20).encode(wide))
    expected = encoding[:6] if mark else wide.replace("-le", "le").replace("-be", "be")
    for read in (read_text, lambda path: list(text_pieces(path))):
        with pytest.raises(DataError, match="is not UTF-8 text\n") as caught:
            read(path)
        assert caught.value.do == f"convert the file, for example with: iconv -f {expected.upper()} -t UTF-8"


def test_a_nul_is_named_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read_text(put(tmp_path / "some.bin", b"some\ntext\0" + bytes(range(1, 128))))
    assert str(caught.value) == (
        f"{tmp_path}/some.bin is not UTF-8 text\n"
        "  expected: text encoded as UTF-8\n"
        "  got: byte 0x00 at offset 9, in line 2 (a NUL, which no text has)\n"
        "  do: give a text file"
    )


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    path = put(tmp_path / "marked.txt", "\ufeffone two\n".encode())
    assert read_text(path) == "".join(text_pieces(path, "words")) == "one two\n"
    packed = put(tmp_path / "marked.gz", gzip.compress("\ufeff\ufeffone".encode()))
    assert "".join(text_pieces(packed)) == "\ufeffone"


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_member_of_an_archive_is_read_without_unpacking(tmp_path: Path, mode: str) -> None:
    path = archive(tmp_path / "some.tgz", {"a/one.txt": b"one", "../two.txt": TEXT.encode()}, mode)
    assert member_names(path) == ["a/one.txt", "../two.txt"]
    assert "".join(member_pieces(path, "../two.txt")) == TEXT
    assert sorted(one.name for one in tmp_path.iterdir()) == ["some.tgz"]
    assert not (tmp_path.parent / "two.txt").exists()
    with pytest.raises(DataError, match="has no member 'three.txt'"):
        list(member_pieces(path, "three.txt"))


def test_an_archive_that_is_none_or_cut_short_is_an_error(tmp_path: Path) -> None:
    whole = archive(tmp_path / "whole.tar", {"one.txt": b"x" * 5000}, "w").read_bytes()
    for wrong in (whole[:3000], b"not an archive", gzip.compress(whole)[:-20]):
        path = put(tmp_path / "wrong.tgz", wrong)
        with pytest.raises(DataError, match="wrong.tgz is cut short or damaged"):
            list(member_pieces(path, "one.txt"))


def test_a_file_that_unpacks_to_far_more_than_its_size_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "PIECE", 1 << 18)
    path = put(tmp_path / "bomb.gz", gzip.compress(bytes(DATA_LIMIT.floor + 1)))
    with pytest.raises(DataError) as caught:
        for _ in text_pieces(path):
            pass
    assert str(caught.value) == (
        f"{path} unpacks to more than a file of its size should\n"
        "  expected: at most 67,108,864 bytes\n"
        "  do: unpack it, if it comes from where you trust, and give the unpacked file"
    )


def test_a_device_is_no_file() -> None:
    for read in (read_text, lambda path: list(text_pieces(path))):
        with pytest.raises(DataError) as caught:
            read(Path("/dev/zero"))
        assert str(caught.value) == (
            "/dev/zero is no file\n"
            "  expected: a plain file\n"
            "  got: a device or pipe\n"
            "  do: save it in a file, and give that"
        )


def test_an_object_that_no_reader_takes() -> None:
    with pytest.raises(DataError) as caught:
        existing_path([1, 2], "images")
    assert str(caught.value) == (
        "this data cannot be read from an object of the type list\n  expected: one of mnist, or a path"
    )
    assert source_name([1, 2]) == IN_MEMORY
    assert source_name(Path("a/b.csv")) == "a/b.csv"
