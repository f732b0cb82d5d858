"""The network of texts: recurrent layers, and beside them a linear classifier of n-grams."""

from typing import Any

import torch
from torch import Tensor, nn

from gatewright.tasks.data.texts.ngrams import FACTOR, MODULUS, NgramScores
from gatewright.tasks.mixed_network import MixedNetwork
from gatewright.tasks.run_data import Sizes


class NgramClassifier(nn.Module):
    """Symbols (time, batch) -> scores (batch, classes), linear in a bag of n-grams; fitted beforehand, not trained.

    See `gatewright.tasks.data.texts.ngrams` for the numbers of n-grams and for what the scores are.
    """

    weight: Tensor
    energy: Tensor
    bias: Tensor

    def __init__(self, symbols: int, classes: int, longest: int, buckets: int) -> None:
        super().__init__()
        self.symbols, self.longest, self.buckets = symbols, longest, buckets
        total = symbols + (buckets if longest > 1 else 0)
        self.register_buffer("weight", torch.zeros(total, classes))
        self.register_buffer("energy", torch.ones(total))
        self.register_buffer("bias", torch.zeros(classes))

    def take(self, scores: NgramScores) -> None:
        """Give these scores from now on."""
        for name in ("weight", "energy", "bias"):
            getattr(self, name).copy_(torch.from_numpy(getattr(scores, name)))

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The scores of the classes for each row, from the symbols before its end."""
        steps, batch = inputs.shape
        ends = inputs.new_full((batch,), steps) if lengths is None else lengths.to(inputs.device)
        weight, energy = self.weight.new_zeros(batch, len(self.bias)), self.energy.new_zeros(batch)
        hashed = inputs
        for size in range(1, min(self.longest, steps) + 1):
            numbers = inputs
            if size > 1:
                hashed = (hashed[:-1] * FACTOR + inputs[size - 1 :]) % MODULUS
                numbers = self.symbols + hashed % self.buckets
            first = torch.arange(len(numbers), device=inputs.device)[:, None]
            present = (first + size <= ends).to(self.energy.dtype)  # (runs, batch)
            weight = weight + (self.weight[numbers] * present[:, :, None]).sum(0)
            energy = energy + (self.energy[numbers] * present).sum(0)
        return weight / energy.clamp(min=1).sqrt()[:, None] + self.bias


class TextNetwork(MixedNetwork):
    """A Network of texts, and beside it a classifier of n-grams up to `ngrams` symbols."""

    def __init__(
        self, cell: Any, sizes: Sizes, *, ngrams: int = 0, buckets: int = 1, freeze: bool = False, **options: Any
    ) -> None:
        super().__init__(cell, sizes, **options)
        self.bag = NgramClassifier(sizes.inputs, sizes.outputs, ngrams, buckets) if ngrams else None
        if freeze:
            self.encode.requires_grad_(False)

    @property
    def linear_model(self) -> NgramClassifier | None:
        """The classifier of n-grams."""
        return self.bag
