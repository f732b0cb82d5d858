"""Memory in which a write out of bounds is seen, and in which nothing can be read that was not written."""

import ctypes
import mmap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gatewright.trace import Equation
from tests.schedule.running import compute

ZONE = 64  # elements in front of and behind every array: more than the widest vector register holds


class Guarded:
    """The engine's memory: NaN wherever nothing has been written, and zones around every array that stay as they are.

    What was given is copied, and must not be written to either.
    """

    def __init__(self, dtype: str) -> None:
        self.dtype = np.dtype(dtype)
        self.itemsize = self.dtype.itemsize
        self._zones: list[tuple[np.ndarray, np.ndarray]] = []
        self._given: list[tuple[np.ndarray, np.ndarray]] = []

    def empty(self, shape: tuple[int, ...]) -> np.ndarray:
        size = int(np.prod(shape))
        raw = np.full(size + 2 * ZONE, np.nan, self.dtype)
        for zone in (raw[:ZONE], raw[ZONE + size :]):
            zone[:] = self._unlike()
            self._zones.append((zone, zone.copy()))
        return raw[ZONE : ZONE + size].reshape(shape)

    def zeros(self, shape: tuple[int, ...]) -> np.ndarray:
        array = self.empty(shape)
        array[...] = 0
        return array

    def contiguous(self, array: Any) -> np.ndarray:
        copied = self.empty(np.shape(array))
        copied[...] = array
        self._given.append((copied, copied.copy()))
        return copied

    def addresses(self, arrays: Sequence[np.ndarray]) -> list[int]:
        assert all(array.flags.c_contiguous for array in arrays)
        return [array.ctypes.data for array in arrays]

    def view(self, array: np.ndarray, offset: int, shape: tuple[int, ...]) -> np.ndarray:
        start = offset // self.itemsize
        return array.reshape(-1)[start : start + int(np.prod(shape))].reshape(shape)

    def fill(self, target: np.ndarray, value: Any) -> None:
        target[...] = value

    def take_workspace(self, size: int) -> np.ndarray:
        return self.empty((-(-size // self.itemsize),)).view(np.uint8)

    def give_back(self, block: np.ndarray) -> None:
        """Nothing."""

    def compute(self, equations: Sequence[Equation], values: dict[str, Any], sizes: Mapping[str, int]) -> None:
        compute(equations, values, sizes)

    def check(self) -> None:
        """Hold that nothing was written but what may be."""
        for zone, before in self._zones:
            assert np.array_equal(zone, before), "a kernel wrote out of bounds"
        for now, before in self._given:
            np.testing.assert_array_equal(now, before, "a kernel wrote to what it was given")

    def _unlike(self) -> np.ndarray:
        """Numbers that no other zone holds: what is copied from one to another, or computed from one, is seen. NaN
        would not do, since what is computed from NaN is the same NaN."""
        first = 1e30 * (1 + len(self._zones) * 2 * ZONE / 2**20)
        return np.linspace(first, first * (1 + ZONE / 2**20), ZONE)


class Fenced(Guarded):
    """Memory that ends, or begins, where no memory is: to read or write beyond it kills the process."""

    def __init__(self, dtype: str, *, at_end: bool) -> None:
        super().__init__(dtype)
        self._at_end = at_end
        self._maps: list[mmap.mmap] = []

    def empty(self, shape: tuple[int, ...]) -> np.ndarray:
        page, size = mmap.PAGESIZE, int(np.prod(shape)) * self.dtype.itemsize
        inside = -(-size // page) * page
        whole = mmap.mmap(-1, inside + 2 * page)
        self._maps.append(whole)  # they stay: to unmap what may be referred to is another matter
        first = ctypes.addressof(ctypes.c_char.from_buffer(whole))
        for fence in (first, first + page + inside):
            if _libc.mprotect(ctypes.c_void_p(fence), page, mmap.PROT_READ & 0) != 0:
                raise OSError(ctypes.get_errno(), "mprotect")
        start = page + (inside - size if self._at_end else 0)
        array = np.frombuffer(whole, self.dtype, size // self.dtype.itemsize, start).reshape(shape)
        array[...] = np.nan
        return array


_libc = ctypes.CDLL(None, use_errno=True)
