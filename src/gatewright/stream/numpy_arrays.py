"""The memory of a stream, from NumPy."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.backends.base import execute, prepare
from gatewright.backends.llvm.runtime.runner import ALIGNMENT
from gatewright.trace.ir import Equation

Array = NDArray[Any]


class NumpyArrays:
    """Arrays of one dtype, each of which begins with a line of the cache."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.dtype, self.itemsize = dtype, dtype.itemsize

    def empty(self, shape: tuple[int, ...]) -> Array:
        """An array with anything in it."""
        return self.take_workspace(prod(shape) * self.itemsize).view(self.dtype).reshape(shape)

    def zeros(self, shape: tuple[int, ...]) -> Array:
        """An array of zeros."""
        array = self.empty(shape)
        array[...] = 0
        return array

    def addresses(self, arrays: Sequence[Array]) -> list[int]:
        """Where each of some arrays begins."""
        return [array.ctypes.data for array in arrays]

    def view(self, array: Array, offset: int, shape: tuple[int, ...]) -> Array:
        """What lies in a contiguous array from so many bytes on."""
        start = offset // self.itemsize
        return array.reshape(-1)[start : start + prod(shape)].reshape(shape)

    def fill(self, target: Array, value: Array | float) -> None:
        """Write a number, or an array of the same or of a broadcast shape, to an array."""
        target[...] = value

    def contiguous(self, array: Array) -> Array:
        """The same numbers, one row after the other, in memory of their own."""
        copied = self.empty(np.shape(array))
        copied[...] = array
        return copied

    def compute(self, equations: Sequence[Equation], values: dict[str, Any], sizes: Mapping[str, int]) -> None:
        """Compute equations on parameters."""
        if equations:  # few cells have any, and the reference loads NumPy's random numbers
            from gatewright.backends.numpy_ref import RULES

            execute(prepare(equations, RULES, sizes), values)

    def take_workspace(self, size: int) -> Array:
        """Memory of so many bytes."""
        raw = np.empty(size + ALIGNMENT, np.uint8)
        start = -raw.ctypes.data % ALIGNMENT
        return raw[start : start + size]

    def give_back(self, block: Array) -> None:
        """Nothing: NumPy frees what nobody refers to."""
