"""The network of labelled series: outputs that are numbers come in the units of their targets."""

from typing import Any

import torch
from torch import Tensor, nn

from gatewright.tasks.data import Scaling
from gatewright.tasks.network import Network, State
from gatewright.tasks.recipe import Sizes


class Unscaled(nn.Module):
    """Numbers of mean 0 and deviation 1 -> the units of what they stand for; both stay with the weights.

    The gradient of a squared error in those units is made that of standardised numbers, so that rates, and the small
    numbers in optimisers, mean the same for targets of any unit.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, numbers: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(numbers))
        self.register_buffer("deviation", torch.ones(numbers))

    def take(self, scaling: Scaling) -> None:
        """Give the units of these from now on."""
        self.mean.copy_(torch.from_numpy(scaling.mean))
        self.deviation.copy_(torch.from_numpy(scaling.deviation))

    def forward(self, inputs: Tensor) -> Tensor:
        """The numbers in their units."""
        if inputs.requires_grad:
            inputs.register_hook(lambda gradient: gradient / self.deviation.square())
        return inputs * self.deviation + self.mean


class SeriesNetwork(Network):
    """A Network whose outputs, where they are no scores of classes, are in the units of their targets."""

    def __init__(self, cell: Any, sizes: Sizes, **options: Any) -> None:
        super().__init__(cell, sizes, **options)
        self.unscaled = None if sizes.classes else Unscaled(sizes.outputs)

    def forward(self, inputs: Tensor, state: State = None, lengths: Tensor | None = None) -> tuple[Tensor, State]:
        """The outputs (rows, outputs), and the state after the last step."""
        outputs, state = super().forward(inputs, state, lengths)
        return outputs if self.unscaled is None else self.unscaled(outputs), state
