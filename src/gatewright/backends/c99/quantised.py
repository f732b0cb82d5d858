"""Matrices of whole numbers from -127 to 127, with a scale for each row."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

LARGEST = 127


@dataclass(frozen=True, slots=True)
class Quantised:
    """matrix[i, j] is near scales[i] * numbers[i, j]."""

    numbers: NDArray[np.int8]
    scales: NDArray[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.numbers.shape

    def matrix(self) -> NDArray[Any]:
        """The numbers that stand for the matrix."""
        return self.scales[:, None] * self.numbers


def quantised(matrix: NDArray[Any], dtype: str = "float32") -> Quantised:
    """The nearest such matrix whose rows' largest numbers are kept. A row of zeros stays one."""
    largest = np.abs(matrix).max(axis=1, initial=0.0)
    scales = np.where(largest > 0, largest / LARGEST, 1.0).astype(dtype)
    numbers = np.clip(np.rint(matrix / scales[:, None].astype(np.float64)), -LARGEST, LARGEST)
    return Quantised(numbers.astype(np.int8), scales)
