"""Memory that kernels need while they run, kept from one call to the next: the first write to new memory is slow."""

import torch
from torch import Tensor

_MOST_BYTES = 256 * 1024 * 1024
"""A larger block is given back to the system."""
_MOST_BLOCKS = 4
_idle: list[Tensor] = []  # threads share it: one that takes a block is alone with it


def take(size: int) -> Tensor:
    """A block of so many bytes or more, with anything in it."""
    try:
        block = _idle.pop()
    except IndexError:
        return torch.empty(size, dtype=torch.uint8)
    return block if block.numel() >= size else torch.empty(size, dtype=torch.uint8)


def give_back(block: Tensor) -> None:
    """Let others have a block."""
    if block.numel() <= _MOST_BYTES and len(_idle) < _MOST_BLOCKS:
        _idle.append(block)
