"""Checks of the bytes of an HDF5 file, made before the library opens it.

The HDF5 library allocates as much memory as a text claims to be long, and walks a heap of texts by the sizes in it: a
hostile file can take all memory or hang the process. All else that it reads it checks against the end of the file. So
these two are checked here. The alternative is h5py in a child process with limits. It costs the start of an interpreter
for every file, Windows has no such limits, and the arrays have to be passed back: more code than these two walks.
"""

import mmap
from collections.abc import Iterator
from math import prod
from pathlib import Path

from gatewright.errors import ConversionError

Content = bytes | mmap.mmap
_SIGNATURE, _HEAP, _LEAST_HEAP = b"\x89HDF\r\n\x1a\n", b"GCOL\x01", 4096
_VARYING = 9  # the class of types of varying length


def largest_heap(path: Path, content: Content) -> int:
    """The size of the largest heap of texts. No text can be longer.

    Raises ConversionError for a heap in which a reader would not come to an end, and for a file of unusual numbers.
    """
    widths = content[13:15] if content[8:9] in (b"\0", b"\1") else content[9:11]
    if content[:8] != _SIGNATURE or widths != b"\x08\x08":
        raise ConversionError(f"{path} is no HDF5 file, or none with numbers of 8 bytes", do="save it again with Keras")
    largest = 0
    for at in _places(content, _HEAP):
        size = _number(content, at + 8, 8)
        if _LEAST_HEAP <= size <= len(content) - at:  # the library refuses others
            _walk(path, content[at : at + size])
            largest = max(largest, size)
    return largest


def check_lengths(path: Path, content: Content, name: str, most: int) -> None:
    """Refuse texts of an attribute of that name, wherever it is, that say they are longer than the largest heap."""
    label = name.encode() + b"\0"
    for at in _places(content, label):
        for start in (at - 8, at - 9):  # the third version has one byte more
            data, count = _data(content, start, at, len(label))
            for index in range(min(count, (len(content) - data) // 16)):
                length = _number(content, data + 16 * index, 4)
                if length > most:
                    raise ConversionError(
                        f"{path}: attribute {name!r} says that it is larger than it can be",
                        expected=f"at most {most:,} bytes",
                        got=f"{length:,}",
                    )


def _data(content: Content, start: int, name: int, length: int) -> tuple[int, int]:
    """Offset and count of an attribute's texts of varying length; (0, 0) where these bytes are no such attribute."""
    version = _number(content, start, 1) if start >= 0 else 0
    if version not in ((1, 2) if name - start == 8 else (3,)) or _number(content, start + 2, 2) != length:
        return 0, 0
    sizes = [length, _number(content, start + 4, 2), _number(content, start + 6, 2)]
    whole, kind, space = [(size + 7) // 8 * 8 for size in sizes] if version == 1 else sizes
    kind_at, space_at = name + whole, name + whole + kind
    if _number(content, kind_at, 1) & 0x0F != _VARYING:
        return 0, 0
    rank = _number(content, space_at + 1, 1)
    dimensions = space_at + (8 if _number(content, space_at, 1) == 1 else 4)
    return space_at + space, prod(_number(content, dimensions + 8 * index, 8) for index in range(rank))


def _walk(path: Path, heap: bytes) -> None:
    """Go from object to object of a heap, as the library does, which believes their sizes."""
    at = 16
    while at + 16 <= len(heap):
        index, size = _number(heap, at, 2), _number(heap, at + 8, 8)
        step = size if index == 0 else 16 + (size + 7) // 8 * 8  # object 0 is the free space
        if step < 16 or step > len(heap) - at:
            raise ConversionError(f"{path} cannot be read", got="a heap of texts whose sizes are wrong")
        at += step


def _places(content: Content, sought: bytes) -> Iterator[int]:
    at = content.find(sought)
    while at >= 0:
        yield at
        at = content.find(sought, at + 1)


def _number(content: Content, at: int, width: int) -> int:
    return int.from_bytes(content[at : at + width], "little")
