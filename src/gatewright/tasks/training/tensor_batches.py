"""Batches as tensors, and the loader that Lightning iterates over."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from gatewright.tasks.network import State, map_state
from gatewright.tasks.run_data import Batches


class TensorBatch(NamedTuple):
    """A batch as tensors; `lengths` (rows,) if its rows are ragged.

    `continues` says which rows continue the same row of the previous batch, so that its state is carried on: True or
    False for all of them, or a bool tensor (rows,).
    """

    inputs: Tensor
    targets: Tensor
    lengths: Tensor | None
    continues: bool | Tensor

    def to(self, device: torch.device) -> "TensorBatch":
        """The batch on that device."""
        lengths = None if self.lengths is None else self.lengths.to(device)
        continues = self.continues if isinstance(self.continues, bool) else self.continues.to(device)
        return TensorBatch(self.inputs.to(device), self.targets.to(device), lengths, continues)

    def begins_with(self, before: State) -> State:
        """The initial state of this batch, given the final state of the previous one; None means zeros."""
        if isinstance(self.continues, bool) or before is None:
            return before if self.continues is True else None
        rows = self.continues
        return map_state(lambda tensor: torch.where(rows.view(1, -1, *[1] * (tensor.dim() - 2)), tensor, 0.0), before)


def tensor_batch(batches: Batches, epoch: int, position: int) -> TensorBatch:
    """The batch at that position of the epoch, as tensors."""
    batch = batches.batch(epoch, position)
    lengths, continues = getattr(batch, "lengths", None), getattr(batch, "continues", None)
    return TensorBatch(
        torch.as_tensor(batch.inputs),
        torch.as_tensor(batch.targets),
        None if lengths is None else torch.as_tensor(lengths),
        batches.carries_state and position > 0 if continues is None else torch.as_tensor(continues),
    )


class BatchLoader:
    """The loader of one epoch: it starts at the iteration `reached()`, so that a resumed run skips what it has done.

    `take` selects the rows of a batch that this process trains on.
    """

    def __init__(
        self, batches: Batches, reached: Callable[[], int], take: Callable[[TensorBatch], TensorBatch]
    ) -> None:
        self._batches, self._reached, self._take = batches, reached, take

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[TensorBatch]:
        epoch, first = divmod(self._reached(), len(self))
        return (self._take(tensor_batch(self._batches, epoch, position)) for position in range(first, len(self)))
