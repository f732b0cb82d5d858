"""Packed matrices, kept from one call to the next for as long as the parameters are the same.

Where a call takes few steps of few rows, packing takes longer than all the rest. Whether parameters have changed is
seen by reading them, since they can change in ways that leave no other trace: through `.data`, or an array that shares
their memory.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from gatewright.backends.llvm.runtime.digest import digest

LEAST_BYTES = 512 * 1024
"""Smaller panels are packed sooner than it is found out whether they have to be."""
_KEPT = 2  # of threads that call one layer at the same time


class PackedWeights:
    """Memory for packed matrices, and the digest of the parameters that it was packed from."""

    __slots__ = ("block", "digest")

    def __init__(self, size: int) -> None:
        self.block, self.digest = torch.empty(size, dtype=torch.uint8), b""

    def holds(self, parameters: Sequence[Tensor]) -> bool:
        """Whether it is packed from these very numbers; from now on it is expected to be."""
        now = digest((one.data_ptr(), one.numel() * one.element_size()) for one in parameters)
        known, self.digest = self.digest == now, now
        return known


class PackedWeightCache:
    """Panels of one layout. Threads may share this: who takes panels is alone with them."""

    def __init__(self) -> None:
        self._idle: list[PackedWeights] = []

    def take(self, size: int) -> PackedWeights:
        """Panels that an earlier call has left, or new ones."""
        try:
            return self._idle.pop()
        except IndexError:
            return PackedWeights(size)

    def give_back(self, panels: PackedWeights) -> None:
        """Leave panels, packed, for a later call."""
        if len(self._idle) < _KEPT:
            self._idle.append(panels)
