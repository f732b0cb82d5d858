"""Large memory that is used again when nobody holds it any more.

What a forward run saves lives until the gradient is computed, and the next run needs as much. The system would take it
back in between, and give out pages that have to be cleared one by one: a tenth of the time of a training step.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

_LEAST_BYTES = 1 << 20
"""Smaller blocks are kept at hand by the allocator."""
_KEPT = 2  # blocks: the graph of one step may still be held while the next one is made
_holders: Callable[[int], int] | None = getattr(
    torch._C,  # pyright: ignore[reportPrivateUsage]
    "_storage_Use_Count",
    None,
)
"""How many hold on to a storage. Where torch does not tell, every block is a new one."""


class _Block(NamedTuple):
    whole: Tensor
    storage: int
    idle: int  # how many hold on to its storage when nobody uses it


class BlockPool:
    """Gives out blocks of memory, and gives those again that nobody holds any more.

    A block is in use for as long as any tensor or array shares its memory. Threads may share a pool: one that looks
    at a block has taken it out.
    """

    def __init__(self) -> None:
        self._blocks: list[_Block] = []

    @property
    def nbytes(self) -> int:
        """The bytes of the blocks that it knows, in use or not."""
        return sum(block.whole.numel() for block in self._blocks)

    def take(self, size: int) -> Tensor:
        """Memory of so many bytes, with anything in it."""
        if size < _LEAST_BYTES or _holders is None:
            return torch.empty(size, dtype=torch.uint8)
        block = self._idle(size, _holders) or _new_block(size, _holders)
        given = block.whole[:size]
        self._blocks.append(block)
        del self._blocks[:-_KEPT]
        return given

    def _idle(self, size: int, holders: Callable[[int], int]) -> _Block | None:
        """A block that nobody uses, and that is large enough but not much too large."""
        busy: list[_Block] = []
        found = None
        while found is None and self._blocks:
            try:
                block = self._blocks.pop()
            except IndexError:  # another thread was quicker
                break
            if holders(block.storage) > block.idle:
                busy.append(block)
            elif size <= block.whole.numel() <= 2 * size:
                found = block
        self._blocks[:0] = busy
        return found


def _new_block(size: int, holders: Callable[[int], int]) -> _Block:
    whole = torch.empty(size, dtype=torch.uint8)
    storage = whole.untyped_storage()._cdata  # pyright: ignore[reportPrivateUsage]
    return _Block(whole, storage, holders(storage))
