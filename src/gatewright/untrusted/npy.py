"""NumPy's .npy format, read without unpickling, and without believing the size that a header states."""

from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from gatewright.errors import ConversionError


def read_npy(path: Path, content: Any, length: int) -> NDArray[Any]:
    """One array of at most `length` bytes, header and all, from an opened .npy file of the archive `path`.

    Raises ConversionError for Python objects, and for an array that says it is larger than its file.
    """
    version = npy.read_magic(content)
    if version not in ((1, 0), (2, 0)):
        raise ConversionError(f"{path}: an array of version {version}", expected="1.0 or 2.0")
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = read_header(content)
    count = prod(shape)
    if dtype.hasobject:
        raise ConversionError(
            f"{path}: an array holds Python objects, which would have to be unpickled",
            expected="numbers",
            do="save each array by itself: numpy.savez(path, name=array, ...)",
        )
    if count * dtype.itemsize > length:
        raise ConversionError(f"{path}: an array of shape {shape} is larger than its file")
    flat = np.frombuffer(content.read(count * dtype.itemsize), dtype, count)
    return flat.reshape(shape, order="F" if fortran else "C").copy()
