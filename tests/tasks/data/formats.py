"""Files of published formats, made by the tests."""

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
MAT_HEADER = b"MATLAB 5.0 MAT-file, made by a test".ljust(124)


def put(path: Path, content: str | bytes, encoding: str = "utf-8") -> Path:
    """Write a file, in a new folder where it has none; text as it is, whatever ends its lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode(encoding) if isinstance(content, str) else content)
    return path


def idx(array: NDArray[Any], kind: int = 0x08) -> bytes:
    sizes = struct.pack(f">{array.ndim}I", *array.shape)
    return bytes([0, 0, kind, array.ndim]) + sizes + array.astype(IDX_TYPES[kind]).tobytes()


def element(kind: int, content: bytes, order: str = "<") -> bytes:
    return struct.pack(f"{order}II", kind, len(content)) + content + b"\0" * (-len(content) % 8)


def matrix(name: str, kind: int, shape: tuple[int, ...], content: bytes, order: str = "<") -> bytes:
    flags = element(6, struct.pack(f"{order}II", kind, 0), order)
    sizes = element(5, struct.pack(f"{order}{len(shape)}i", *shape), order)
    return element(14, flags + sizes + element(1, name.encode(), order) + content, order)


def numbers(array: NDArray[np.generic], order: str = "<") -> bytes:
    kind, written = {"u1": (9, 2), "f8": (6, 9)}[array.dtype.str[1:]]
    content = array.astype(array.dtype.newbyteorder(order)).tobytes(order="F")
    return matrix("", kind, array.shape, element(written, content, order), order)


def cells(name: str, rolls: list[NDArray[np.generic]], order: str = "<") -> bytes:
    return matrix(name, 1, (1, len(rolls)), b"".join(numbers(one, order) for one in rolls), order)


def packed(content: bytes) -> bytes:
    squeezed = zlib.compress(content)
    return struct.pack("<II", 15, len(squeezed)) + squeezed


def mat(*variables: bytes, order: str = "<") -> bytes:
    return MAT_HEADER + (b"\0\1IM" if order == "<" else b"\1\0MI") + b"".join(variables)
