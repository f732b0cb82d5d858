"""MXNet's own files of arrays by name (`.params`, of `save_parameters` and `mx.nd.save`), without MXNet.

A file is a list: a magic number, eight bytes of nothing, the arrays, and their names. Each array has a magic number of
its own, a shape, where it lay, its type, and its numbers; only dense arrays are read.
"""

import struct
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import ConversionError

_LIST, _V2, _V3 = 0x112, 0xF993FAC9, 0xF993FACA
_DENSE, _CPU = 0, 1
_TYPES: Mapping[int, str] = {0: "<f4", 1: "<f8", 2: "<f2", 3: "|u1", 4: "<i4", 5: "|i1", 6: "<i8"}
MOST_AXES = 32


def read(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a file by name, without the `arg:` and `aux:` before the names of whole models."""
    content = _ParamsContent(path)
    if content.number("<Q") != _LIST:
        raise ConversionError(f"{path} is no file of MXNet's arrays")
    content.number("<Q")
    arrays = [content.array() for _ in range(content.count())]
    names = [content.text() for _ in range(content.count())]
    if len(names) != len(arrays):
        raise ConversionError(f"{path}: {len(arrays)} arrays have {len(names)} names", do="save them by name")
    return {name.removeprefix("arg:").removeprefix("aux:"): array for name, array in zip(names, arrays, strict=True)}


def write(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """The content of such a file."""
    parts = [struct.pack("<QQQ", _LIST, 0, len(arrays))]
    for name, array in arrays.items():
        kind = next((kind for kind, dtype in _TYPES.items() if np.dtype(dtype) == array.dtype), None)
        if kind is None:
            raise ConversionError(f"MXNet has no arrays of {array.dtype}, as {name!r} is")
        header = struct.pack(f"<Iii{array.ndim}q", _V2, _DENSE, array.ndim, *array.shape)
        parts += [header, struct.pack("<iii", _CPU, 0, kind), np.ascontiguousarray(array, _TYPES[kind]).tobytes()]
    parts.append(struct.pack("<Q", len(arrays)))
    for name in arrays:
        parts += [struct.pack("<Q", len(name.encode())), name.encode()]
    return b"".join(parts)


class _ParamsContent:
    """A file's bytes, from the first to the last; nothing is read beyond them."""

    def __init__(self, path: Path) -> None:
        self.path, self.bytes, self.at = path, path.read_bytes(), 0

    def take(self, length: int) -> bytes:
        if not 0 <= length <= len(self.bytes) - self.at:
            raise ConversionError(f"{self.path} is cut short", do="copy or download the file again")
        self.at += length
        return self.bytes[self.at - length : self.at]

    def number(self, kind: str) -> int:
        return struct.unpack(kind, self.take(struct.calcsize(kind)))[0]

    def count(self) -> int:
        """A count of items, each of at least eight bytes."""
        count = self.number("<Q")
        if count > (len(self.bytes) - self.at) // 8:
            raise ConversionError(f"{self.path} is cut short", do="copy or download the file again")
        return count

    def text(self) -> str:
        return self.take(self.number("<Q")).decode()

    def array(self) -> NDArray[Any]:
        magic, storage = self.number("<I"), self.number("<i")
        axes = self.number("<i")
        if magic not in (_V2, _V3) or storage != _DENSE or not 0 < axes <= MOST_AXES:
            raise ConversionError(
                f"{self.path}: an array is of a kind that is not read",
                expected="dense arrays, as MXNet 1.0 and later write them",
                got=f"magic number {magic:#x}, storage {storage}, {axes} axes",
                do="load and save the file again with MXNet 1, or save the arrays with numpy.savez",
            )
        shape = struct.unpack(f"<{axes}q", self.take(8 * axes))
        self.take(8)  # where it lay
        kind = _TYPES.get(self.number("<i"))
        if kind is None or min(shape) < 0:
            raise ConversionError(f"{self.path}: an array has a type or a shape that there is not", got=f"{shape}")
        return np.frombuffer(self.take(np.dtype(kind).itemsize * prod(shape)), kind).reshape(shape).copy()
