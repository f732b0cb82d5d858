"""Reading files piece by piece: as bytes, gzip or not, or as text that has to be UTF-8."""

import gzip
import tarfile
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, cast

from gatewright.errors import DataError
from gatewright.untrusted.archives import Readable, tar_members
from gatewright.untrusted.unpacking import DATA_LIMIT, BoundedReader, TooMuchUnpackedError

PIECE = 1 << 18  # bytes read at once: what bounds the memory for a long text
Whole = Literal["lines", "words"]

_MARKS = {
    b"\xff\xfe\0\0": "UTF-32",  # before that of UTF-16, with which it begins
    b"\0\0\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
_BY_FILLED: dict[tuple[int, ...], str] = {
    (1, 0, 0, 0): "UTF-32LE",
    (0, 0, 0, 1): "UTF-32BE",
    (1, 0, 1, 0): "UTF-16LE",
    (0, 1, 0, 1): "UTF-16BE",
}
_GZIP = b"\x1f\x8b"


@contextmanager
def opened(path: Path) -> Generator[Readable]:
    """The bytes of a file, unpacked on the way if they are gzip; what goes wrong meanwhile is a DataError."""
    try:
        check_plain(path)
        with path.open("rb") as raw:
            if not raw.peek(1):
                raise DataError(f"{path} is empty")
            if raw.peek(2)[:2] != _GZIP:
                yield raw
                return
            with gzip.GzipFile(fileobj=raw) as unpacked:
                yield BoundedReader(cast("Readable", unpacked), DATA_LIMIT.of(path.stat().st_size))
    except TooMuchUnpackedError as error:
        raise DataError(
            f"{path} unpacks to more than a file of its size should",
            expected=f"at most {error.most:,} bytes",
            do="unpack it, if it comes from where you trust, and give the unpacked file",
        ) from error
    except (EOFError, zlib.error, gzip.BadGzipFile, tarfile.ReadError) as error:
        got = f"{type(error).__name__}: {error}"
        raise DataError(f"{path} is cut short or damaged", got=got, do="get the file again") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read", got=f"{type(error).__name__}: {error}") from error


def check_plain(path: Path) -> None:
    """Refuse a device, which has no end, and a pipe, which cannot be read twice."""
    if path.exists() and not path.is_file():
        kind = "a folder" if path.is_dir() else "a device or pipe"
        raise DataError(f"{path} is no file", expected="a plain file", got=kind, do="save it in a file, and give that")


def text_pieces(path: Path, whole: Whole = "lines") -> Iterator[str]:
    """The text of a file in pieces of a quarter of a megabyte, which joined are the file, but for a byte order mark.

    A piece ends with a line or, with whole="words", with a line or a space. So all that is held at a time is a
    piece, or the longest line (word) if that is longer. A text that is not UTF-8 is a DataError with the line.
    """
    with opened(path) as source:
        yield from stream_pieces(source, path, whole)


def member_pieces(path: Path, member: str, whole: Whole = "lines") -> Iterator[str]:
    """The same of one file in a tar archive, which is read as a stream; nothing is unpacked to disk."""
    with opened(path) as source:
        for packed in tar_members(source):
            if packed.name == member:
                yield from stream_pieces(packed, f"{path}, member {member}", whole)
                return
    raise DataError(f"{path} has no member {member!r}")


def member_names(path: Path) -> list[str]:
    """The names of the files in a tar archive."""
    with opened(path) as source:
        return [packed.name for packed in tar_members(source)]


def stream_pieces(source: Readable, name: Path | str, whole: Whole) -> Iterator[str]:
    """The pieces of an opened file; `name` is for messages."""
    offset, line = 0, 1
    pending: list[bytes] = []  # joined once for each piece, so that a line of any length takes linear time
    while read := source.read(PIECE):
        end = read.rfind(b"\n") + 1 or (read.rfind(b" ") + 1 if whole == "words" else 0)
        if not end:
            pending.append(read)
            continue
        piece = b"".join((*pending, read[:end]))
        yield decoded(name, piece, offset, line)
        offset, line, pending = offset + len(piece), line + piece.count(b"\n"), [read[end:]]
    yield decoded(name, b"".join(pending), offset, line)


def text_lines(path: Path) -> Iterator[str]:
    """The lines of a text file without their ends ("\\n" or "\\r\\n"), and without a byte order mark."""
    for piece in text_pieces(path):
        for line in piece.removesuffix("\n").split("\n") if piece else ():
            yield line.removesuffix("\r")


def decoded(path: Path | str, content: bytes, offset: int = 0, line: int = 1) -> str:
    """The text that those bytes of a file write, which begin at that offset and in that line.

    A byte order mark at the beginning of the file is left out. What is not UTF-8, or has a NUL, which no text has, is a
    DataError that names the likely encoding.
    """
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _not_text(path, content, offset, line, error.start, error.reason) from error
    if "\0" in text:
        raise _not_text(path, content, offset, line, content.index(b"\0"), "a NUL, which no text has")
    return text.removeprefix("\ufeff") if offset == 0 else text


def _not_text(path: Path | str, content: bytes, offset: int, line: int, place: int, reason: str) -> DataError:
    at = f"offset {offset + place}, in line {line + content[:place].count(10)}"
    encoding = likely_encoding(content, offset)
    return DataError(
        f"{path} is not UTF-8 text",
        expected="text encoded as UTF-8",
        got=f"byte 0x{content[place]:02x} at {at} ({reason})",
        do=f"convert the file, for example with: iconv -f {encoding} -t UTF-8" if encoding else "give a text file",
    )


def likely_encoding(content: bytes, offset: int) -> str | None:
    """What bytes that are no UTF-8 are likely to be, by the mark they begin with, or by where they have NULs."""
    if offset == 0 and (marked := next((name for mark, name in _MARKS.items() if content.startswith(mark)), None)):
        return marked
    if b"\0" not in content:
        return "WINDOWS-1252"
    # Letters of Latin scripts have one byte that is not 0: its place tells how many bytes there are, in which order.
    start = -offset % 4
    lanes = [content[start + place :: 4] for place in range(4)]
    return _BY_FILLED.get(tuple(int(2 * lane.count(0) < len(lane)) for lane in lanes))
