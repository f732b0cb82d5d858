"""Patches: several steps of a sequence become one, before a recurrent layer reads it."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from gatewright.nn.sequence import step_mask


class Patches(nn.Module):
    """A dense layer on each `steps` consecutive steps: y[t] = W @ [x[steps * t], ..., x[steps * t + steps - 1]] + b.

    (time, batch, in_features) -> (ceil(time / steps), batch, out_features). A layer behind it has that many steps less
    to remember. The last patch of a row is filled up with zeros behind the row's end. `weight` is
    (out_features, steps * in_features), the features of the first step first. Nie et al. 2022, 2211.14730, without
    overlap.
    """

    def __init__(self, in_features: int, out_features: int, steps: int) -> None:
        super().__init__()
        self.steps = steps
        dense = nn.Linear(steps * in_features, out_features)  # which draws the numbers to begin with
        self.weight, self.bias = dense.weight, dense.bias

    def forward(self, input: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """The patches, and how many of them each row has."""
        steps, batch, features = input.shape
        if lengths is not None:
            lengths = torch.as_tensor(lengths).to(input.device)
            input = input.masked_fill(~step_mask(lengths, steps, torch.bool)[..., None], 0)
            lengths = (lengths + (self.steps - 1)) // self.steps
        whole = functional.pad(input, (0, 0, 0, 0, 0, -steps % self.steps))
        parts = whole.reshape(-1, self.steps, batch, features).transpose(1, 2)  # (patches, batch, steps, features)
        return functional.linear(parts.flatten(2), self.weight, self.bias), lengths

    def extra_repr(self) -> str:
        """The sizes, as torch prints them."""
        outputs, inputs = self.weight.shape
        return f"in_features={inputs // self.steps}, out_features={outputs}, steps={self.steps}"
