"""Batches whose rows end at different times."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from gatewright.backends.llvm.runtime.active_lines import ActiveLines
from gatewright.nn.sequence import step_mask, zero_padding


@dataclass(frozen=True)
class Ragged:
    """A batch of which row b takes the first `lengths[b]` of all `steps`, and then stays as it is.

    What kernels need is found once for all layers. torch.compile cannot follow that, and needs the mask only.
    """

    lengths: Tensor  # (batch,), int64
    steps: int

    def mask(self) -> Tensor:
        """Where a row takes a step, (time, batch)."""
        return step_mask(self.lengths, self.steps, torch.bool)

    @cached_property
    def is_whole(self) -> bool:
        """Whether every row takes every step."""
        return bool((self.lengths == self.steps).all())

    @cached_property
    def active(self) -> ActiveLines:
        """The steps that are taken, for kernels."""
        return ActiveLines(self.lengths.numpy(), self.steps)

    @cached_property
    def _ends(self) -> Tensor:
        """Where each row's states after its last step lie, in lines of states at every time (time + 1, batch, ...)."""
        batch = len(self.lengths)
        return self.lengths * batch + torch.arange(batch)

    def take_ends(self, states: Tensor) -> Tensor:
        """The state of each row after its last step, out of states at every time."""
        return states.flatten(0, 1).index_select(0, self._ends)

    def put_ends(self, states: Tensor, start: Tensor | None) -> None:
        """Set the state of each row after its last step, among states at every time; None is zeros."""
        lines = states.flatten(0, 1)
        if start is None:
            lines.index_fill_(0, self._ends, 0)
        else:
            lines.index_copy_(0, self._ends, start.reshape(len(self._ends), *lines.shape[1:]))

    def fill_padding(self, values: Tensor) -> Tensor:
        """The values (time, batch, ...) with zeros where no step is taken, even if NaN stood there."""
        return zero_padding(values, self.lengths)
