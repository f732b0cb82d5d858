"""The packed-weight cache: packed matrices, reused by later calls for as long as the parameters are the same. And
converted parameters, likewise.

In a call with few steps of few rows, packing takes longer than everything else. A digest of the parameters tells
whether they have changed. Version counters would not: parameters also change through `.data`, or through an array that
shares their memory.
"""

from collections.abc import Sequence
from typing import Any

import torch
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


class ConvertedParameters:
    """Parameters of a narrow dtype in the dtype of the kernels' arrays, converted anew where they have changed.

    For calls without gradients. Threads may share it: what is kept is replaced, and never written to.
    """

    def __init__(self) -> None:
        self._kept: tuple[tuple[object, ...], list[Tensor]] = ((), [])

    def of(self, parameters: Sequence[Tensor], dtype: torch.dtype) -> list[Tensor]:
        """The parameters in a dtype."""
        # a digest is of contiguous memory, in words of 4 bytes
        if not all(x.is_contiguous() and x.nbytes % 4 == 0 for x in parameters):
            return [x.to(dtype) for x in parameters]
        # the same bits are other numbers in another dtype
        now = (digest((x.data_ptr(), x.nbytes) for x in parameters), dtype, *[x.dtype for x in parameters])
        last, converted = self._kept
        if last != now:
            converted = [x.to(dtype) for x in parameters]
            self._kept = (now, converted)
        return converted


def converted(made: dict[Any, Any], parameters: Sequence[Tensor], dtype: torch.dtype) -> list[Tensor]:
    """The parameters of a direction in another dtype; without gradients they are kept in `made`, the cache of a cell,
    and converted anew where they have changed."""
    if torch.is_grad_enabled() or all(x.dtype is dtype for x in parameters):
        return [x.to(dtype) for x in parameters]
    if "converted" not in made:
        made["converted"] = ConvertedParameters()
    return made["converted"].of(parameters, dtype)
