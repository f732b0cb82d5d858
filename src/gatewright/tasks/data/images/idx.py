"""The idx format of the MNIST files: one array of any rank, big-endian, gzip or not.

Four bytes of magic (0, 0, the type, the rank), one 32-bit size an axis, then the numbers, the last axis fastest;
http://yann.lecun.com/exdb/mnist/ describes it.
"""

import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import DataError
from gatewright.tasks.data.reading import opened

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: Path) -> NDArray[Any]:
    """The array in an idx file, in the machine's own byte order."""
    with opened(path) as source:
        content = source.read()
    dtype, shape = _header(path, content)
    start, size = 4 + 4 * len(shape), math.prod(shape) * dtype.itemsize
    if (present := len(content) - start) != size:
        problem, do = f"{path} goes on after its last record", None
        if present < size:
            record = present * shape[0] // size
            problem, do = f"{path} is cut short within record {record} of {shape[0]}", "get the file again"
        expected = f"{size} bytes for {' x '.join(map(str, shape))}"
        raise DataError(problem, expected=expected, got=f"{present} bytes", do=do)
    numbers = np.frombuffer(content, dtype, offset=start).reshape(shape)
    return numbers.astype(dtype.newbyteorder("="))


def _header(path: Path, content: bytes) -> tuple[np.dtype[Any], tuple[int, ...]]:
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _TYPES or not content[3]:
        raise DataError(
            f"{path} is not an idx file",
            expected="a magic number such as 00 00 08 03: two zeros, the type of the numbers, the number of axes",
            got=content[:4].hex(" ") or "nothing",
        )
    rank = content[3]
    if len(content) < 4 + 4 * rank:
        raise DataError(
            f"{path} is cut short within its header", expected=f"{4 + 4 * rank} bytes", got=f"{len(content)} bytes"
        )
    return np.dtype(_TYPES[content[2]]), struct.unpack_from(f">{rank}I", content, 4)
