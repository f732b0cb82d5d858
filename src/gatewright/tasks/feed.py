"""Batches as tensors, from any place on."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from gatewright.tasks.recipe import Batches


class TensorBatch(NamedTuple):
    """A batch as tensors; `lengths` where its rows are ragged.

    `continues` says that each row goes on where the same row of the batch before it ended.
    """

    inputs: Tensor
    targets: Tensor
    lengths: Tensor | None
    continues: bool

    def to(self, device: torch.device) -> "TensorBatch":
        """The batch on that device."""
        lengths = None if self.lengths is None else self.lengths.to(device)
        return TensorBatch(self.inputs.to(device), self.targets.to(device), lengths, self.continues)


def tensor_batch(batches: Batches, epoch: int, position: int) -> TensorBatch:
    """The batch at that place."""
    found = batches.batch(epoch, position)
    lengths = getattr(found, "lengths", None)
    return TensorBatch(
        torch.as_tensor(found.inputs),
        torch.as_tensor(found.targets),
        None if lengths is None else torch.as_tensor(lengths),
        continues=batches.carries_state and position > 0,
    )


class Feed:
    """What Lightning iterates over once an epoch: the batches from the iteration on that `reached` names.

    `take` says what of a batch this process takes.
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
