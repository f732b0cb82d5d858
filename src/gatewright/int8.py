"""Products in eight bits: matrices of whole numbers with a scale for each row, vectors that are rounded as they come.

What a quantised product means, exactly:

    s = max(|x|) / 127;  q = rint(x * (127 / max(|x|)))          # a vector, each time
    y[i] = (numbers[i] @ q) * (s * scales[i])                    # whole numbers are summed exactly

`numbers` and `scales` are those of `quantised(matrix)`.
"""

from dataclasses import dataclass
from math import prod
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import OptionError

Array = NDArray[Any]
LARGEST = 127  # of the whole numbers that stand for a matrix, or for a vector
MOST_COLUMNS = 2**31 // (255 * LARGEST)
"""Sums of more products may not fit 32 bits, where vectors are offset by 128."""
LEAST = 1e-30
"""Vectors whose numbers are all smaller count as zero: 127 over a number of theirs may be infinite."""


@dataclass(frozen=True, slots=True)
class Quantised:
    """matrix[i, j] is near scales[i] * numbers[i, j]."""

    numbers: NDArray[np.int8]
    scales: Array

    @property
    def shape(self) -> tuple[int, ...]:
        return self.numbers.shape

    @property
    def ndim(self) -> int:
        return self.numbers.ndim

    def matrix(self) -> Array:
        """The numbers that stand for the matrix."""
        return self.scales[:, None] * self.numbers


def quantised(matrix: Array, dtype: str = "float32") -> Quantised:
    """The nearest such matrix whose rows' largest numbers are kept. A row of zeros stays one."""
    largest = np.abs(matrix).max(axis=1, initial=0.0)
    scales = np.where(largest == 0, 1.0, largest / LARGEST).astype(dtype)  # a row with NaN has that as its scale
    with np.errstate(invalid="ignore", divide="ignore"):  # a scale of subnormal numbers may be 0, as their products are
        numbers = np.clip(np.rint(matrix / scales[:, None].astype(np.float64)), -LARGEST, LARGEST)
    return Quantised(np.nan_to_num(numbers, nan=0.0).astype(np.int8), scales)


def rounded(vectors: Array) -> tuple[NDArray[np.int8], Array]:
    """Whole numbers for vectors (..., features), and the scale of each (..., 1), which tells of NaN and infinity."""
    largest = np.abs(vectors).max(axis=-1, keepdims=True, initial=0.0)
    kind = vectors.dtype.type
    with np.errstate(all="ignore"):
        inverse = np.where(largest < LEAST, 0, kind(LARGEST) / largest).astype(vectors.dtype)
        numbers = np.nan_to_num(np.rint(vectors * inverse), nan=0.0)
    return numbers.astype(np.int8), (largest * kind(1 / LARGEST)).astype(vectors.dtype)


def product(matrix: Quantised, vectors: Array) -> Array:
    """The quantised products with vectors (..., columns), in their dtype.

    Raises OptionError for a matrix of more than MOST_COLUMNS columns.
    """
    require_sums_fit(matrix.shape[1])
    numbers, scales = rounded(vectors)
    sums = numbers.astype(np.float64) @ matrix.numbers.T.astype(np.float64)  # exact: far below 2^53
    with np.errstate(invalid="ignore"):
        return sums.astype(vectors.dtype) * (scales * matrix.scales.astype(vectors.dtype))


def require_sums_fit(columns: int) -> None:
    """Raise OptionError where whole numbers of 32 bits may not hold a sum."""
    if columns > MOST_COLUMNS:
        raise OptionError(
            "a matrix has too many columns for weights of eight bits",
            expected=f"at most {MOST_COLUMNS:,}",
            got=f"{columns:,}",
        )


@dataclass(frozen=True, slots=True)
class Loss:
    """How far the outputs of weights in fewer bits are from those of the weights themselves."""

    largest: float
    rms: float
    outputs_rms: float
    same_largest: float | None  # the share of steps in which the same output is the largest; None of a single output
    steps: int
    inputs: str  # of what kind they were
    weights: str = "int8"

    def __str__(self) -> str:
        share = self.rms / self.outputs_rms if self.outputs_rms else 0.0
        same = "" if self.same_largest is None else f", and the largest output is the same in {self.same_largest:.1%}"
        return (
            f"{self.weights} weights: over {self.steps} steps of {self.inputs} the outputs are off by at most "
            f"{self.largest:.2g}, rms {self.rms:.2g} ({share:.2%} of theirs){same}"
        )

    @classmethod
    def between(cls, want: Array, got: Array, inputs: str, weights: str = "int8") -> Self:
        """That of outputs (..., features) for inputs of some kind."""
        error = got - want
        several = want.shape[-1] > 1
        return cls(
            largest=float(np.abs(error).max(initial=0.0)),
            rms=float(np.sqrt(np.mean(error**2))),
            outputs_rms=float(np.sqrt(np.mean(want**2))),
            same_largest=float(np.mean(got.argmax(-1) == want.argmax(-1))) if several else None,
            steps=prod(want.shape[:-1]),
            inputs=inputs,
            weights=weights,
        )
