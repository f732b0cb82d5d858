"""The memory that the engine computes in, from torch.

Kernels write to a workspace. It is kept from one call to the next, since the first write to new memory is slow.
"""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

from gatewright.backends.base import execute, prepare
from gatewright.backends.llvm.runtime.huge_pages import LEAST_ADVISED_BYTES, advise, map_block
from gatewright.backends.torch_rules import rules
from gatewright.trace.ir import Equation

_MOST_BYTES = 256 * 1024 * 1024
"""A larger workspace is returned to the system."""
_MOST_BLOCKS = 4
idle: list[Tensor] = []
"""Workspaces that no call uses. Threads share the list: one that pops a block has it alone."""


def empty_block(size: int) -> Tensor:
    """Memory of `size` bytes, not initialised; a large block is on huge pages."""
    mapped = map_block(size)
    if mapped is None:
        return torch.empty(size, dtype=torch.uint8)
    memory, start = mapped
    return torch.frombuffer(memory, dtype=torch.uint8, count=size, offset=start)


def advised(tensors: list[Tensor]) -> list[Tensor]:
    """New tensors, for which the system was asked to use huge pages where they are large."""
    for tensor in tensors:
        if tensor.nbytes >= LEAST_ADVISED_BYTES:
            advise(tensor.data_ptr(), tensor.nbytes)
    return tensors


class TorchArrays:
    """Tensors of one dtype on the CPU."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype, self.itemsize = dtype, dtype.itemsize
        self._like = torch.empty((), dtype=dtype)

    def zeros(self, shape: tuple[int, ...]) -> Tensor:
        """A tensor of zeros."""
        return torch.zeros(shape, dtype=self.dtype)

    def take_workspace(self, size: int) -> Tensor:
        """A block of at least `size` bytes, not initialised."""
        try:
            block = idle.pop()
        except IndexError:
            return empty_block(size)
        return block if block.numel() >= size else empty_block(size)

    def give_back(self, block: Tensor) -> None:
        """Return a workspace for other calls."""
        if block.numel() <= _MOST_BYTES and len(idle) < _MOST_BLOCKS:
            idle.append(block)

    def addresses(self, arrays: Sequence[Tensor]) -> list[int]:
        """The address of each tensor."""
        return list(map(Tensor.data_ptr, arrays))

    def view(self, array: Tensor, offset: int, shape: tuple[int, ...]) -> Tensor:
        """A view of a contiguous tensor that begins `offset` bytes behind its start."""
        start = offset // self.itemsize
        return array.detach().view(-1)[start : start + prod(shape)].view(shape)

    def fill(self, target: Tensor, value: Tensor | float) -> None:
        """Write a number, or a tensor of the same or of a broadcast shape, to a tensor."""
        if isinstance(value, Tensor):
            target.copy_(value)
        else:
            target.fill_(value)

    def contiguous(self, array: Tensor) -> Tensor:
        """The same numbers, one row after the other."""
        return array.contiguous()

    def compute(self, equations: Sequence[Equation], values: dict[str, Any], sizes: Mapping[str, int]) -> None:
        """Compute equations on parameters; results are added to `values`."""
        if equations:
            execute(prepare(equations, rules(self._like), sizes), values)
