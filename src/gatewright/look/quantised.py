"""Arrays in a few bits: small enough for a page, exact enough for a picture."""

import base64
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEVELS = (256, 128, 64, 32, 24, 16)
"""Numbers of levels, the finest first."""
_ESCAPED = str.maketrans({character: f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"})


@dataclass(frozen=True, eq=False)
class ValueRange:
    """The numbers that the lowest and the highest level stand for."""

    low: float
    high: float

    @classmethod
    def around_zero(cls, values: NDArray[Any]) -> "ValueRange":
        """As far below 0 as above it, so that 0 is in the middle of a diverging scale."""
        finite = values[np.isfinite(values)]
        largest = float(np.abs(finite).max(initial=0)) or 1.0
        return cls(-largest, largest)

    def levels(self, values: NDArray[Any], count: int) -> NDArray[np.uint8]:
        """The nearest level of each number, from 0 to count - 1: an end for numbers outside, the lowest for NaN."""
        scaled = (np.nan_to_num(values, nan=self.low) - self.low) / (self.high - self.low)
        return np.rint(np.clip(scaled, 0, 1) * (count - 1)).astype(np.uint8)


@dataclass
class Blob:
    """Arrays of bytes one after the other; the header of a page says where each lies."""

    parts: list[NDArray[np.uint8]] = field(default_factory=list["NDArray[np.uint8]"])
    size: int = 0

    def add(self, values: NDArray[np.uint8]) -> int:
        """Append an array, row after row, and return where it begins."""
        offset = self.size
        self.parts.append(np.ascontiguousarray(values).reshape(-1))
        self.size += values.size
        return offset

    def content(self) -> bytes:
        """All bytes."""
        return b"".join(part.tobytes() for part in self.parts)


def differences(levels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Each level less the one before it in its row, modulo 256."""
    return np.diff(levels, axis=-1, prepend=np.uint8(0)).astype(np.uint8)


def are_smooth(tables: Sequence[NDArray[np.uint8]]) -> bool:
    """Whether differences pack better than the levels: those of a slow series do, those of a text do not."""
    return sum(_size(differences(table)) for table in tables) < sum(map(_size, tables))


def _size(levels: NDArray[np.uint8]) -> int:
    return len(zlib.compress(levels.tobytes(), 1))


def packed(content: bytes) -> str:
    """Bytes as text: deflate (zlib's format, RFC 1950), then base64."""
    return base64.b64encode(zlib.compress(content, 9)).decode("ascii")


def in_script(value: object) -> str:
    """JSON for a script element: no text in it can end the element or begin a comment."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.translate(_ESCAPED)
