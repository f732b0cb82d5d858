"""Tar archives as streams: what TarFile lists is listed, and no header costs more than its length."""

import io
import tarfile
from collections.abc import Callable

import pytest

from gatewright.untrusted.archives import LONGEST_HEADER, tar_members

LONG = "folder/" * 30 + "name.txt"
FILES = {"a.txt": b"first", "empty": b"", LONG: b"x" * 1025, "ünï.txt": "é".encode()}


def archive(files: dict[str, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=form) as opened:
        folder = tarfile.TarInfo("folder")
        folder.type = tarfile.DIRTYPE
        opened.addfile(folder)
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, LONG
        opened.addfile(link)
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            opened.addfile(member, io.BytesIO(text))
    return content.getvalue()


def listed(content: bytes) -> dict[str, bytes]:
    return {member.name: member.read() for member in tar_members(io.BytesIO(content))}


def extended(text: bytes, kind: bytes = tarfile.XHDTYPE, size: int | None = None) -> bytes:
    """An archive that begins with an extended header."""
    header = tarfile.TarInfo("header")
    header.type, header.size = kind, len(text) if size is None else size
    return header.tobuf() + text + bytes(-len(text) % tarfile.BLOCKSIZE) + archive({"a.txt": b"first"})


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_plain_files_are_given_with_their_whole_names_and_contents(form: int) -> None:
    assert listed(archive(FILES, form)) == FILES


def test_a_member_that_is_not_read_is_passed_over() -> None:
    assert [member.name for member in tar_members(io.BytesIO(archive(FILES)))] == list(FILES)


def test_a_pax_header_gives_the_size_where_it_has_one() -> None:
    member = tarfile.TarInfo("a.txt")
    member.size, member.pax_headers = 0, {"size": "5"}
    content = member.tobuf(tarfile.PAX_FORMAT) + b"first" + bytes(507)
    assert listed(content) == {"a.txt": b"first"}


REFUSED: dict[str, Callable[[], bytes]] = {
    "it is no tar archive": lambda: b"no archive",
    "the archive ends within a header": lambda: archive({"a": b"x"})[:1700],
    "the archive ends within a": lambda: archive({"a": b"x" * 2000})[:2000],
    "a header is damaged: bad checksum": lambda: archive({}).replace(b"folder", b"golder"),
    "an extended header is damaged": lambda: extended(b"9" * LONGEST_HEADER),
    f"an extended header of {LONGEST_HEADER + 1:,} bytes; {LONGEST_HEADER:,} are allowed": lambda: extended(
        b"", size=LONGEST_HEADER + 1
    ),
    "an extended header of 8,589,934,591 bytes": lambda: extended(b"", tarfile.GNUTYPE_LONGNAME, size=8**11 - 1),
    "an extended header gives a size that is no number": lambda: extended(b"11 size=-5\n"),
    "folder is stored as a sparse file": lambda: extended(b"22 GNU.sparse.major=1\n"),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_is_no_archive_or_costs_too_much_is_refused(message: str) -> None:
    with pytest.raises(tarfile.ReadError) as caught:
        listed(REFUSED[message]())
    assert message in str(caught.value)


def test_a_header_of_many_short_records_is_read_in_one_go() -> None:
    content = extended(b"6 a=b\n" * (LONGEST_HEADER // 6))
    assert listed(content) == {"a.txt": b"first"}
