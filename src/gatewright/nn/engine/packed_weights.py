"""The packed-weight cache: packed matrices, reused by later calls for as long as the parameters are the same.

In a call with few steps of few rows, packing takes longer than everything else. A digest of the parameters tells
whether they have changed. Version counters would not: parameters also change through `.data`, or through an array that
shares their memory.
"""

from collections.abc import Sequence

from torch import Tensor

from gatewright.backends.llvm.runtime.digest import digest
from gatewright.nn.engine.torch_arrays import empty_block

LEAST_BYTES = 512 * 1024
"""Smaller matrices take longer to compare than to pack."""
_MOST_BLOCKS = 2  # threads may call one layer at the same time


class PackedWeights:
    """Memory for packed matrices, and the digest of the parameters that it was packed from."""

    __slots__ = ("block", "digest")

    def __init__(self, size: int) -> None:
        self.block, self.digest = empty_block(size), b""

    def holds(self, parameters: Sequence[Tensor]) -> bool:
        """Whether the block was packed from these numbers. The caller packs it from them if not."""
        now = digest((x.data_ptr(), x.numel() * x.element_size()) for x in parameters)
        is_same, self.digest = self.digest == now, now
        return is_same


class PackedWeightCache:
    """Packed matrices of one layout. Threads may share a cache: a thread that takes a block has it alone."""

    def __init__(self) -> None:
        self._idle: list[PackedWeights] = []

    def take(self, size: int) -> PackedWeights:
        """The block of an earlier call, or a new one."""
        try:
            return self._idle.pop()
        except IndexError:
            return PackedWeights(size)

    def give_back(self, weights: PackedWeights) -> None:
        """Keep a packed block for a later call."""
        if len(self._idle) < _MOST_BLOCKS:
            self._idle.append(weights)
