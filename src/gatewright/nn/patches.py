"""Patches: several steps of a sequence become one before a recurrent layer reads it."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from gatewright.model_file.patches import CHANGES
from gatewright.nn.host_copies import copied_to
from gatewright.nn.sequence import step_mask


class Patches(nn.Module):
    """A dense layer on each `steps` consecutive steps: y[t] = W @ [x[steps * t], ..., x[steps * t + steps - 1]] + b.

    (time, batch, in_features) -> (ceil(time / steps), batch, out_features). The layer above has fewer steps to
    remember. The last patch of a row is filled up with zeros. Nie et al. 2022, 2211.14730, without overlap.

    `weight` multiplies the values, `weight_changes` the changes within a patch from the second step on, times 3. Both
    are (out_features, steps * in_features), the features of the first step first. They amount to a single matrix of the
    values, `folded()`. It is learned more easily in this form: smooth series differ mostly in their slopes.
    """

    def __init__(self, in_features: int, out_features: int, steps: int) -> None:
        super().__init__()
        self.in_features, self.steps = in_features, steps
        dense = nn.Linear(2 * steps * in_features, out_features)  # draws the initial values
        values, changes = dense.weight.detach().chunk(2, 1)
        self.weight, self.weight_changes = nn.Parameter(values.clone()), nn.Parameter(changes.clone())
        self.bias = dense.bias

    def folded(self) -> Tensor:
        """The matrix of the values, (out_features, steps * in_features)."""
        changes = self.weight_changes.unflatten(1, (self.steps, self.in_features))
        after = changes[:, 1:]
        none = torch.zeros_like(changes[:, :1])
        return self.weight + CHANGES * (torch.cat([none, after], 1) - torch.cat([after, none], 1)).flatten(1)

    def forward(self, input: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """The patches, and how many of them each row has."""
        steps, batch, features = input.shape
        if lengths is not None:
            lengths = copied_to(torch.as_tensor(lengths), input.device)
            input = input.masked_fill(~step_mask(lengths, steps, torch.bool)[..., None], 0)
            lengths = (lengths + (self.steps - 1)) // self.steps
        whole = functional.pad(input, (0, 0, 0, 0, 0, -steps % self.steps))
        parts = whole.reshape(-1, self.steps, batch, features).transpose(1, 2)  # (patches, batch, steps, features)
        return functional.linear(parts.flatten(2), self.folded(), self.bias), lengths

    def extra_repr(self) -> str:
        """The sizes, as torch prints them."""
        return f"in_features={self.in_features}, out_features={len(self.bias)}, steps={self.steps}"
