"""The network of texts: recurrent layers, and beside them a linear classifier of n-grams."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gatewright.tasks.data.ngrams import FACTOR, MODULUS, NgramScores
from gatewright.tasks.feed import tensor_batch
from gatewright.tasks.network import Network, State
from gatewright.tasks.recipe import Batches, Sizes

_LOWEST = -30.0  # below the highest score of a text: of classes that the n-grams do not know


class NgramClassifier(nn.Module):
    """Symbols (time, batch) -> scores (batch, classes), linear in a bag of n-grams; fitted beforehand, not trained.

    See `gatewright.tasks.data.ngrams` for the numbers of n-grams and for what the scores are.
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


class TextNetwork(Network):
    """A `Network` of texts. What it gives in evaluation is the mean of its own scores and those of a classifier of
    n-grams up to `ngrams` symbols; in training it gives its own, so that it learns as if it were alone.

    A linear classifier is better where there are few texts, a recurrent one where there are many, and their mean is
    mostly better than both: it is an ensemble of two that err differently. `balance` scales both for that mean.
    """

    def __init__(
        self, cell: Any, sizes: Sizes, *, ngrams: int = 0, buckets: int = 1, freeze: bool = False, **options: Any
    ) -> None:
        super().__init__(cell, sizes, **options)
        self.bag = NgramClassifier(sizes.inputs, sizes.outputs, ngrams, buckets) if ngrams else None
        if freeze:
            self.encode.requires_grad_(False)

    def forward(self, inputs: Tensor, state: State = None, lengths: Tensor | None = None) -> tuple[Tensor, State]:
        """The scores of the classes, and the state after the last step."""
        outputs, state = super().forward(inputs, state, lengths)
        if self.bag is None or self.training:
            return outputs, state
        return (outputs + self.bag(inputs, lengths)) / 2, state

    @torch.no_grad()
    def balance(self, batches: Batches) -> None:
        """Scale both scores so that the labels of these batches are as likely as possible (stacking, Wolpert 1992).

        A network that has learned its training part by heart is too sure of itself, and would outvote the n-grams.
        """
        if self.bag is None:
            return
        self.eval()
        parts: list[tuple[Tensor, Tensor, Tensor]] = []
        for position in range(len(batches)):
            batch = tensor_batch(batches, 0, position).to(self.bag.bias.device)
            outputs, _ = super().forward(batch.inputs, None, batch.lengths)
            parts.append((outputs, self.bag(batch.inputs, batch.lengths), batch.targets))
        outputs, scores, labels = (torch.cat(part).cpu().double().numpy() for part in zip(*parts, strict=True))
        own, ngrams = stacking_weights(outputs, scores, labels.astype(np.int64)) * 2
        self.output.weight *= own
        self.output.bias *= own
        self.bag.weight *= ngrams
        self.bag.bias *= ngrams


def stacking_weights(one: NDArray[np.float64], other: NDArray[np.float64], labels: NDArray[np.int64]) -> Any:
    """The factors, 0 at least, of two scores (rows, classes) whose sum makes the labels (rows,) most likely.

    A weak prior at one half each keeps them finite where few rows, all of them right, would have them grow.
    """
    from scipy.optimize import minimize

    both = np.stack([np.maximum(part - part.max(1, keepdims=True), _LOWEST) for part in (one, other)])
    wanted = both[:, np.arange(len(labels)), labels]  # (2, rows)

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        exponentials = np.exp(np.tensordot(weights, both, 1))
        total = exponentials.sum(1)
        away = weights - 0.5
        value = (np.log(total) - weights @ wanted).sum() + away @ away
        gradient = (both * (exponentials / total[:, None])).sum((1, 2)) - wanted.sum(1) + 2 * away
        return float(value), gradient

    return minimize(loss, [0.5, 0.5], jac=True, bounds=[(0, None)] * 2, method="L-BFGS-B").x
