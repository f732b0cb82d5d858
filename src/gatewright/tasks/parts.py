"""Data sets in parts, as batches that can be asked for by their place."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Rows(NamedTuple):
    """A batch: inputs (time, rows, ...), targets (rows, ...) or (time, rows, ...)."""

    inputs: Array
    targets: Array


class ArrayBatches:
    """Rows of arrays, in their order, or in one that is drawn for each epoch from (seed, epoch).

    The last batch may be shorter. `timed` says that targets have a time axis before their rows, as inputs have.
    """

    carries_state = False

    def __init__(
        self, inputs: Array, targets: Array, batch: int, *, seed: int | None = None, timed: bool = False
    ) -> None:
        self._inputs, self._targets, self._batch, self._seed = inputs, targets, batch, seed
        self._axis = int(timed)
        self._order: tuple[int, NDArray[np.int64]] | None = None

    def __len__(self) -> int:
        return math.ceil(self._inputs.shape[1] / self._batch)

    def batch(self, epoch: int, position: int) -> Rows:
        """The rows of that place in the epoch's order."""
        rows = self._drawn(epoch)[position * self._batch : (position + 1) * self._batch]
        return Rows(self._inputs[:, rows], np.take(self._targets, rows, axis=self._axis))

    def _drawn(self, epoch: int) -> NDArray[np.int64]:
        count = self._inputs.shape[1]
        if self._seed is None:
            return np.arange(count)
        if self._order is None or self._order[0] != epoch:
            self._order = epoch, np.random.default_rng([self._seed, epoch]).permutation(count)
        return self._order[1]


class MadeBatches:
    """Batches that a function makes anew, from a seed that is another for each of them."""

    carries_state = False

    def __init__(self, make: Callable[[int], Rows], count: int, *, seed: int) -> None:
        self._make, self._count, self._seed = make, count, seed

    def __len__(self) -> int:
        return self._count

    def batch(self, epoch: int, position: int) -> Rows:
        """The batch of that place; always the same for the same seed."""
        drawn = np.random.SeedSequence([self._seed, epoch, position]).generate_state(1, np.uint64)
        return self._make(int(drawn[0]))
