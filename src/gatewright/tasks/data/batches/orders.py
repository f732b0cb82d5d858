"""The order in which an epoch takes its items."""

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import OptionError


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
