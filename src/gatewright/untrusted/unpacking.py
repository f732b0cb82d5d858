"""How much may come out of packed content: a bomb is refused before it has been unpacked."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

from gatewright.untrusted.archives import Readable


@dataclass(frozen=True)
class UnpackedLimit:
    """At most `floor` bytes, and beyond that at most `ratio` bytes for each byte of the packed file."""

    floor: int
    ratio: int

    def of(self, packed: int) -> int:
        """The most bytes that a file of that length may unpack to."""
        return max(self.floor, self.ratio * packed)


WEIGHTS_LIMIT = UnpackedLimit(floor=1 << 20, ratio=32)  # trained numbers hardly pack; only zeros do
DATA_LIMIT = UnpackedLimit(floor=1 << 26, ratio=100)  # texts pack about 4 to 1, tables of equal numbers up to 50 to 1


class TooMuchUnpackedError(OSError):
    """Packed content that unpacks to more than it may."""

    def __init__(self, most: int) -> None:
        super().__init__(f"more than {most:,} bytes come out of it")
        self.most = most


class BoundedReader:
    """A stream that is read from its beginning, and gives no more bytes than it may."""

    def __init__(self, source: Readable, most: int) -> None:
        self._source, self._most, self._left = source, most, most

    def read(self, size: int = -1) -> bytes:
        """The next bytes, all of them without a size; raises TooMuchUnpackedError where there are too many."""
        limit = self._left + 1  # one more tells that there are too many
        content = self._source.read(limit if size < 0 else min(size, limit))
        self._left -= len(content)
        if self._left < 0:
            raise TooMuchUnpackedError(self._most)
        return content


def too_large_zip(path: Path, limit: UnpackedLimit) -> int | None:
    """The bytes that the members of a .zip say they have in all, where these are more than they may be; else None.

    Members may lie over one another, so their sum counts, whatever each of them is packed to.
    """
    with zipfile.ZipFile(path) as opened:
        total = sum(member.file_size for member in opened.infolist())
    return total if total > limit.of(path.stat().st_size) else None
