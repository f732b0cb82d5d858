"""The linear classifier of n-grams beside a network of texts: read out of a model file, and computed with NumPy."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import ModelFileError

Array = NDArray[Any]
MOST = 16  # symbols of an n-gram
_SIZES = ("longest", "buckets", "factor", "modulus")


@dataclass(frozen=True, slots=True)
class Ngrams:
    """The mean of the network's own scores and those of `gatewright.tasks.data.texts.ngrams`."""

    longest: int
    symbols: int
    buckets: int
    factor: int
    modulus: int
    weight: Array  # (n-grams, classes)
    energy: Array  # (n-grams,)
    bias: Array  # (classes,)

    def outputs(self, inputs: Array, lengths: Array | None) -> Array:
        """Symbols (time, batch) -> (batch, classes)."""
        steps, batch = inputs.shape
        ends = np.full(batch, steps) if lengths is None else lengths
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


def ngrams_of(settings: Mapping[str, Any], tensors: Mapping[str, Array], symbols: int) -> Ngrams | None:
    """The classifier of a model file; None where it has none.

    Raises KeyError where a part of it is missing, and ModelFileError where parts do not fit one another.
    """
    if "ngrams" not in settings:
        return None
    sizes = dict(settings["ngrams"]) if isinstance(settings["ngrams"], Mapping) else {}
    longest, buckets, factor, modulus = (sizes.get(name) for name in _SIZES)
    weight, energy, bias = (tensors[f"bag.{name}"] for name in ("weight", "energy", "bias"))
    numbers = (longest, buckets, factor, modulus)
    if not all(type(one) is int and 0 < one < 1 << 31 for one in numbers) or sizes["longest"] > MOST:
        raise ModelFileError("the model's n-grams are of sizes that cannot be", got=str(settings["ngrams"])[:80])
    total = symbols + (sizes["buckets"] if sizes["longest"] > 1 else 0)
    if weight.shape != (total, len(bias)) or energy.shape != (total,):
        raise ModelFileError(
            "the model's n-grams do not fit its symbols",
            expected=f"scores of {total} n-grams",
            got=f"scores {weight.shape}, energies {energy.shape}",
        )
    return Ngrams(sizes["longest"], symbols, sizes["buckets"], sizes["factor"], sizes["modulus"], weight, energy, bias)
