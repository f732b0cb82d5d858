"""The linear model beside a network of series: read out of a model file, and computed with NumPy."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import ModelFileError

Array = NDArray[Any]
MOST = 1 << 20  # times


@dataclass(frozen=True, slots=True)
class LinearSeries:
    """See `gatewright.tasks.sequences.network.ResampledLinear`; the output is a mean of these and the network's.

    A row is read at equally spaced times, from its first step to its last; between steps a line is drawn.
    """

    times: int
    weight: Array  # (times * channels, outputs), the first time's channels first
    bias: Array  # (outputs,)

    def outputs(self, inputs: Array, lengths: Array | None) -> Array:
        """Standardised channels (time, batch, channels) -> (batch, outputs)."""
        steps, batch, channels = inputs.shape
        ends = np.full(batch, steps) if lengths is None else lengths
        last, intervals = np.maximum(ends - 1, 0), max(self.times - 1, 1)
        before, share = np.divmod(np.arange(self.times)[:, None] * last, intervals)
        padded = np.concatenate([inputs, np.zeros((1, batch, channels), inputs.dtype)])
        rows, weight = np.arange(batch), (share / intervals).astype(inputs.dtype)[..., None]
        values = padded[before, rows] * (1 - weight) + padded[np.minimum(before + 1, last), rows] * weight
        values = np.where(ends[:, None] > 0, values, 0)
        return values.swapaxes(0, 1).reshape(batch, -1) @ self.weight + self.bias


def linear_series_of(
    settings: Mapping[str, Any], tensors: Mapping[str, Array], channels: int, head: Mapping[str, Array]
) -> LinearSeries | None:
    """The linear model of a model file, in the units of the outputs; None where it has none.

    Raises KeyError where a part of it is missing, and ModelFileError where parts do not fit one another.
    """
    if "linear" not in settings:
        return None
    said = settings["linear"]
    times = said.get("times") if isinstance(said, Mapping) else None
    weight, bias = tensors["linear.weight"], tensors["linear.bias"]
    if type(times) is not int or not 0 < times < MOST:
        raise ModelFileError("the model's linear part is of a size that cannot be", got=str(said)[:80])
    expected = ((times * channels, len(head["bias"])), head["bias"].shape)
    if (weight.shape, bias.shape) != expected:
        raise ModelFileError(
            "the model's linear part does not fit its channels and outputs",
            expected=", ".join(map(str, expected)),
            got=f"{weight.shape}, {bias.shape}",
        )
    if "unscaled.deviation" in tensors:
        deviation, mean = tensors["unscaled.deviation"], tensors["unscaled.mean"]
        weight, bias = weight * deviation, bias * deviation + mean
    return LinearSeries(times, weight, bias)
