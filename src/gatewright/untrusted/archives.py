"""The plain files in a tar archive, read as a stream: no header can cost more than its own length.

The standard library's TarFile takes quadratic time for a header of digits in several versions of Python, reads headers
of any length into memory, and builds the whole map of a sparse file. So only single blocks are parsed by it here.
"""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

BLOCK = tarfile.BLOCKSIZE
LONGEST_HEADER = 1 << 16  # bytes of an extended header: names of 4,096 bytes, and attributes of some systems
_LONG_NAME, _PAX, _PAX_FOR_ALL = tarfile.GNUTYPE_LONGNAME, (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE), tarfile.XGLTYPE
_HEADERS = {_LONG_NAME, tarfile.GNUTYPE_LONGLINK, *_PAX, _PAX_FOR_ALL}
_WITHOUT_CONTENT = {
    tarfile.LNKTYPE,
    tarfile.SYMTYPE,
    tarfile.DIRTYPE,
    tarfile.FIFOTYPE,
    tarfile.CHRTYPE,
    tarfile.BLKTYPE,
}
_PLAIN = {tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE}
_SPARSE = b"GNU.sparse."
_PIECE = 1 << 18
_MOST_DIGITS = 20


class Readable(Protocol):
    """Bytes that are read from the beginning to the end."""

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes, all of them without a size."""
        ...


@dataclass
class TarMember:
    """A plain file in an archive; its content can be read until the next one is asked for."""

    name: str
    size: int
    source: Readable
    _left: int = field(init=False)

    def __post_init__(self) -> None:
        self._left = self.size

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes of the file; tarfile.ReadError where the archive ends before."""
        wanted = self._left if size < 0 else min(size, self._left)
        content = self.source.read(wanted)
        self._left -= len(content)
        if (wanted and not content) or (size < 0 and self._left):
            raise tarfile.ReadError(f"the archive ends within {self.name}")
        return content


def tar_members(source: Readable) -> Iterator[TarMember]:
    """Each plain file of an archive that is not packed, or unpacked on the way; links and the like are passed over.

    Raises tarfile.ReadError where the archive is damaged, has a header that is too long, or holds a sparse file.
    """
    extended = dict[str, str]()  # what extended headers say of the next file
    first = True
    while (block := _block(source, first=first)) is not None:
        first = False
        header = _parsed(block)
        if header.type in _HEADERS:
            extended |= _extended(header, _content(source, header))
            continue
        name, size = extended.get("path", header.name), int(extended.get("size", header.size))
        if header.type == tarfile.GNUTYPE_SPARSE or "sparse" in extended:
            raise tarfile.ReadError(f"{name} is stored as a sparse file; archive it again without --sparse")
        extended = {}
        if header.type in _WITHOUT_CONTENT:
            continue
        member = TarMember(name, size, source)
        if header.type in _PLAIN:
            yield member
        while member.read(_PIECE):
            pass
        source.read(-size % BLOCK)


def _block(source: Readable, *, first: bool) -> bytes | None:
    """The next header, or None at the end: at a block of zeros, or where the file ends as some writers leave it."""
    block = source.read(BLOCK)
    if len(block) == BLOCK:
        return block if block.strip(b"\0") else None
    if block or first:
        raise tarfile.ReadError("it is no tar archive" if first else "the archive ends within a header")
    return None


def _parsed(block: bytes) -> tarfile.TarInfo:
    try:
        header = tarfile.TarInfo.frombuf(block, "utf-8", "replace")
    except (tarfile.HeaderError, ValueError) as error:
        raise tarfile.ReadError(f"a header is damaged: {error}") from error
    if header.size < 0:
        raise tarfile.ReadError(f"{header.name} has a size below 0")
    return header


def _content(source: Readable, header: tarfile.TarInfo) -> bytes:
    if header.size > LONGEST_HEADER:
        raise tarfile.ReadError(f"an extended header of {header.size:,} bytes; {LONGEST_HEADER:,} are allowed")
    return TarMember("an extended header", header.size + -header.size % BLOCK, source).read()[: header.size]


def _extended(header: tarfile.TarInfo, content: bytes) -> dict[str, str]:
    """What an extended header says of the next file, as far as it matters here: its path and size."""
    if header.type == _LONG_NAME:
        return {"path": content.rstrip(b"\0").decode("utf-8", "replace")}
    return dict(_records(content)) if header.type in _PAX else {}


def _records(content: bytes) -> Iterator[tuple[str, str]]:
    """The records of a pax header, each LENGTH KEY=VALUE and a line end, where LENGTH counts the whole record."""
    start, end = 0, len(content.rstrip(b"\0"))
    while start < end:
        digits, _, _ = content[start : start + 8].partition(b" ")
        length = int(digits) if digits.isdigit() else 0
        if not len(digits) + 3 <= length <= end - start:
            raise tarfile.ReadError("an extended header is damaged")
        key, _, value = content[start + len(digits) + 1 : start + length - 1].partition(b"=")
        start += length
        if key.startswith(_SPARSE):
            yield "sparse", "yes"
        elif key == b"size":
            if not value.isdigit() or len(value) > _MOST_DIGITS:
                raise tarfile.ReadError("an extended header gives a size that is no number")
            yield "size", value.decode("ascii")
        elif key == b"path":
            yield "path", value.decode("utf-8", "replace")
