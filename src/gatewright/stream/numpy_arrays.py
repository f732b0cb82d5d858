"""The memory of a stream: NumPy arrays, aligned to cache lines."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.backends.base import execute, prepare
from gatewright.backends.llvm.runtime.huge_pages import map_block
from gatewright.backends.llvm.runtime.runner import ALIGNMENT
from gatewright.trace.ir import Equation

Array = NDArray[Any]


class NumpyArrays:
    """Arrays of one dtype. Each begins at a cache line."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.dtype, self.itemsize = dtype, dtype.itemsize

    def empty(self, shape: tuple[int, ...]) -> Array:
        """An array that is not initialised."""
        return self.take_workspace(prod(shape) * self.itemsize).view(self.dtype).reshape(shape)

    def zeros(self, shape: tuple[int, ...]) -> Array:
        """An array of zeros."""
        array = self.empty(shape)
        array[...] = 0
        return array

    def addresses(self, arrays: Sequence[Array]) -> list[int]:
        """The address of each array."""
        return [array.ctypes.data for array in arrays]

    def view(self, array: Array, offset: int, shape: tuple[int, ...]) -> Array:
        """A view of a contiguous array that begins `offset` bytes behind its start."""
        start = offset // self.itemsize
        return array.reshape(-1)[start : start + prod(shape)].reshape(shape)

    def fill(self, target: Array, value: Array | float) -> None:
        """Write a number, or an array of the same or of a broadcast shape, to an array."""
        target[...] = value

    def contiguous(self, array: Array) -> Array:
        """A contiguous copy."""
        copied = self.empty(np.shape(array))
        copied[...] = array
        return copied

    def compute(self, equations: Sequence[Equation], values: dict[str, Any], sizes: Mapping[str, int]) -> None:
        """Compute equations on parameters; results are added to `values`."""
        if equations:  # few cells have any, and the reference loads NumPy's random numbers
            from gatewright.backends.numpy_ref import RULES

            execute(prepare(equations, RULES, sizes), values)

    def take_workspace(self, size: int) -> Array:
        """Memory of `size` bytes, not initialised; a large block is on huge pages."""
        mapped = map_block(size)
        if mapped is not None:
            memory, start = mapped
            return np.frombuffer(memory, np.uint8, size, start)
        raw = np.empty(size + ALIGNMENT, np.uint8)
        start = -raw.ctypes.data % ALIGNMENT
        return raw[start : start + size]

    def give_back(self, block: Array) -> None:
        """Does nothing: NumPy frees memory without references."""
