"""Linear models beside a network: the output is the mean of their scores and the network's."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gatewright.network.part import Array, Part, Signal
from gatewright.network.parts import Scale


@dataclass(frozen=True, slots=True)
class ModelBeside(Part):
    """A linear model of what the network reads, up to the end of each row. Its scores are as many as the outputs."""

    needs_steps: ClassVar[bool] = False
    width_of: ClassVar[tuple[str, int] | None] = ("bias", 0)

    def apply(self, signal: Signal) -> Signal:
        """The mean of the values and the scores."""
        return signal.with_values((signal.values + self.scores(signal)) / 2)

    @abstractmethod
    def scores(self, signal: Signal) -> Array:
        """Inputs (time, batch, ...) -> (batch, outputs)."""


@dataclass(frozen=True, slots=True)
class Ngrams(ModelBeside):
    """A linear classifier of n-grams: runs of 1 to `longest` symbols, of which the longer are hashed into buckets.

    `gatewright.tasks.data.texts.ngrams` explains it.
    """

    longest: int
    symbols: int
    buckets: int
    factor: int
    modulus: int
    weight: Array  # (n-grams, classes)
    energy: Array  # (n-grams,)
    bias: Array  # (classes,)

    def scores(self, signal: Signal) -> Array:
        """Symbols (time, batch) -> (batch, classes)."""
        inputs, ends = signal.inputs, signal.row_ends
        steps, batch = inputs.shape
        weight, energy = np.zeros((batch, len(self.bias)), self.weight.dtype), np.zeros(batch, self.energy.dtype)
        hashed = inputs.astype(np.int64)
        for size in range(1, min(self.longest, steps) + 1):
            if size > 1:
                hashed = (hashed[:-1] * self.factor + inputs[size - 1 :]) % self.modulus
            numbers = hashed if size == 1 else self.symbols + hashed % self.buckets
            present = np.arange(len(numbers))[:, None] + size <= ends
            weight += (self.weight[numbers] * present[:, :, None]).sum(0)
            energy += (self.energy[numbers] * present).sum(0)
        return weight / np.sqrt(np.maximum(energy, 1))[:, None] + self.bias


@dataclass(frozen=True, slots=True)
class LinearSeriesPart(ModelBeside):
    """A linear model of a series read at equally spaced times, from its first step to its last, on lines between steps.

    `gatewright.tasks.series_network.ResampledLinear` explains it. It reads standardised channels.
    """

    kind: ClassVar[str] = "LinearSeries"
    times: int
    mean: Array  # (channels,)
    deviation: Array
    weight: Array  # (times * channels, outputs), the first time's channels first
    bias: Array  # (outputs,)

    def scores(self, signal: Signal) -> Array:
        """Channels (time, batch, channels) -> (batch, outputs)."""
        inputs, ends = self.scale.apply(signal.with_values(signal.inputs)).values, signal.row_ends
        _, batch, channels = inputs.shape
        last, intervals = np.maximum(ends - 1, 0), max(self.times - 1, 1)
        before, share = np.divmod(np.arange(self.times)[:, None] * last, intervals)
        padded = np.concatenate([inputs, np.zeros((1, batch, channels), inputs.dtype)])
        rows, weight = np.arange(batch), (share / intervals).astype(inputs.dtype)[..., None]
        values = padded[before, rows] * (1 - weight) + padded[np.minimum(before + 1, last), rows] * weight
        values = np.where(ends[:, None] > 0, values, 0)
        return values.swapaxes(0, 1).reshape(batch, -1) @ self.weight + self.bias

    @property
    def scale(self) -> Scale:
        """How its inputs are standardised."""
        return Scale(self.mean, self.deviation)
