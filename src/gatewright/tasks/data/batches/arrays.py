"""The order of the items of an epoch, and batches of arrays in that order."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import OptionError
from gatewright.tasks.data.ragged import Array


def check_sizes(least: int = 1, /, **sizes: int) -> None:
    """Refuse a size that is below the least one."""
    for name, value in sizes.items():
        if value < least:
            raise OptionError(f"{name} is too small", expected=f"at least {least}", got=str(value))


class EpochOrder:
    """The order of so many items in each epoch: drawn from (seed, epoch), or as they lie without a seed."""

    def __init__(self, count: int, seed: int | None) -> None:
        self._count, self._seed = count, seed
        self._last: tuple[int, NDArray[np.int64]] | None = None

    def __call__(self, epoch: int) -> NDArray[np.int64]:
        """A permutation of the items. The last one is cached, since each batch of an epoch asks for it."""
        if self._seed is None:
            return np.arange(self._count)
        if self._last is None or self._last[0] != epoch:
            self._last = epoch, np.random.default_rng([self._seed, epoch]).permutation(self._count)
        return self._last[1]


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
        self._inputs, self._targets, self._batch = inputs, targets, batch
        self._axis = int(timed)
        self._order = EpochOrder(inputs.shape[1], seed)

    def __len__(self) -> int:
        return math.ceil(self._inputs.shape[1] / self._batch)

    def batch(self, epoch: int, position: int) -> Rows:
        """The rows of that place in the epoch's order."""
        rows = self._order(epoch)[position * self._batch : (position + 1) * self._batch]
        return Rows(self._inputs[:, rows], np.take(self._targets, rows, axis=self._axis))


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
