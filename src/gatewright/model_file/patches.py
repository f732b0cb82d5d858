"""The matrix of a patch of steps, whose part for the changes from step to step is kept apart."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

CHANGES = 3.0
"""What the changes from step to step are multiplied by: in smooth series they are small beside the values."""


def folded(weight: NDArray[Any], weight_changes: NDArray[Any], steps: int) -> NDArray[Any]:
    """The matrix of the values alone, (features, steps * inputs), that does what the two together do."""
    changes = weight_changes.reshape(len(weight_changes), steps, -1)
    after, none = changes[:, 1:], np.zeros_like(changes[:, :1])
    moved = np.concatenate([none, after], 1) - np.concatenate([after, none], 1)
    return weight + np.asarray(CHANGES, weight.dtype) * moved.reshape(weight.shape)
