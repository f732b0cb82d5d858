"""Noticing that a result was changed in place after it was handed out, as `F.relu(output, inplace=True)` does."""

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor


class ChangeMarks:
    """Tells whether any of some tensors was changed in place since this was made, without keeping their memory.

    torch counts the changes of a tensor for all tensors that were made of it by detach(), and goes on counting for one
    whose data was exchanged.
    """

    __slots__ = ("_counters", "_versions")

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self._counters: list[Tensor] = []
        self._versions: list[int] = []
        for tensor in tensors:
            counter = tensor.detach()
            counter.data = _no_data(counter.device)
            self._counters.append(counter)
            self._versions.append(counter._version)  # pyright: ignore[reportPrivateUsage]

    @property
    def changed(self) -> bool:
        """Whether one was changed."""
        return [counter._version for counter in self._counters] != self._versions  # pyright: ignore[reportPrivateUsage]


@cache
def _no_data(device: torch.device) -> Tensor:
    return torch.empty(0, device=device)
