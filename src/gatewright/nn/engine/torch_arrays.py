"""The memory that the engine computes in, from torch."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import prod
from typing import Any

import torch
from torch import Tensor

from gatewright.backends.base import execute, prepare
from gatewright.backends.torch_eager import rules
from gatewright.nn.engine import workspace
from gatewright.trace.ir import Equation


class TorchArrays:
    """Tensors of one dtype on the CPU."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype, self.itemsize = dtype, dtype.itemsize
        self._like = torch.empty((), dtype=dtype)
        self.take_workspace, self.give_back = workspace.take, workspace.give_back

    def empty(self, shape: tuple[int, ...]) -> Tensor:
        """A tensor with anything in it."""
        return torch.empty(shape, dtype=self.dtype)

    def zeros(self, shape: tuple[int, ...]) -> Tensor:
        """A tensor of zeros."""
        return torch.zeros(shape, dtype=self.dtype)

    def addresses(self, arrays: Sequence[Tensor]) -> list[int]:
        """Where each of some tensors begins."""
        return list(map(Tensor.data_ptr, arrays))

    def view(self, array: Tensor, offset: int, shape: tuple[int, ...]) -> Tensor:
        """What lies in a contiguous tensor from so many bytes on."""
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
        """Compute equations on parameters."""
        if equations:
            execute(prepare(equations, rules(self._like), sizes), values)


@lru_cache
def torch_arrays(dtype: torch.dtype) -> TorchArrays:
    """The one TorchArrays of a dtype."""
    return TorchArrays(dtype)
