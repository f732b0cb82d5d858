"""Large blocks of memory that are reused as soon as no tensor refers to them.

What a forward run saves lives until the gradient is computed, and the next run needs as much. Without the pool the
system would take the memory back in between, and clear every page before it is used again: a tenth of the time of a
training step.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from gatewright.nn.engine.torch_arrays import advised

_LEAST_BYTES = 1 << 20
"""The allocator itself reuses smaller blocks."""
_MOST_BLOCKS = 2  # the graph of one step may still be alive while the next one is built
_use_count: Callable[[int], int] | None = getattr(
    torch._C,  # pyright: ignore[reportPrivateUsage]
    "_storage_Use_Count",
    None,
)
"""The reference count of a storage. Without it every block is a new one."""


class _Block(NamedTuple):
    whole: Tensor
    storage: int
    idle: int  # the reference count when only the pool refers to it


class BlockPool:
    """Blocks of memory, each in use for as long as any tensor or array shares it.

    Threads may share a pool: a thread takes a block out before it looks at it.
    """

    def __init__(self) -> None:
        self._blocks: list[_Block] = []

    @property
    def nbytes(self) -> int:
        """The bytes of the blocks that it knows, in use or not."""
        return sum(block.whole.numel() for block in self._blocks)

    def take(self, size: int) -> Tensor:
        """Memory of `size` bytes, not initialised."""
        if size < _LEAST_BYTES or _use_count is None:
            return torch.empty(size, dtype=torch.uint8)
        block = self._idle(size, _use_count) or _new_block(size, _use_count)
        memory = block.whole[:size]
        self._blocks.append(block)
        del self._blocks[:-_MOST_BLOCKS]
        return memory

    def _idle(self, size: int, use_count: Callable[[int], int]) -> _Block | None:
        """A block that is not in use, large enough and not much too large."""
        busy: list[_Block] = []
        idle = None
        while idle is None and self._blocks:
            try:
                block = self._blocks.pop()
            except IndexError:  # another thread was quicker
                break
            if use_count(block.storage) > block.idle:
                busy.append(block)
            elif size <= block.whole.numel() <= 2 * size:
                idle = block
        self._blocks[:0] = busy
        return idle


def _new_block(size: int, use_count: Callable[[int], int]) -> _Block:
    (whole,) = advised([torch.empty(size, dtype=torch.uint8)])
    storage = whole.untyped_storage()._cdata  # pyright: ignore[reportPrivateUsage]
    return _Block(whole, storage, use_count(storage))
