"""The network of a forecast: a linear forecast of the window, which recurrent layers correct; and its interval.

Every window is normalised by its own level and spread, so that a network trained on a series at one level can forecast
it at another (Kim et al. 2022, Reversible instance normalization).
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from gatewright.tasks.forecasting.windows import LEAST_SPREAD
from gatewright.tasks.network import RecipeNetwork, Standardised, State
from gatewright.tasks.objectives import SIDES, ForecastKind
from gatewright.tasks.run_data import Sizes

SOFTPLUS_IS_1 = 0.541324854612918
"""The number whose softplus is 1: intervals begin as wide as the linear forecast was wrong."""


class LocatedForecast(NamedTuple):
    """Middle, distances of both ends from it, and the linear forecast, each (horizon, batch, variables)."""

    middle: Tensor
    below: Tensor
    above: Tensor
    linear: Tensor


class Forecaster(RecipeNetwork):
    """inputs (history + horizon, batch, variables + known) -> (horizon, batch, variables, 3): low, middle, high.

    Inputs and outputs are in standard deviations of the training part. The variables of the last `horizon` steps are
    not read. The output of the network corrects a linear forecast. The weights of that forecast are stored with the
    network, with the scaling, the variables forecast by their logarithm, the share of the correction, and the factor
    on the interval. So `forecast` takes numbers as they were measured.
    """

    season: Tensor
    weight: Tensor
    rest: Tensor
    residual: Tensor
    logarithm: Tensor
    least: Tensor
    lowest: Tensor
    share: Tensor
    trust: Tensor
    widening: Tensor
    effect: Tensor

    def __init__(
        self, cell: Any, sizes: Sizes, *, history: int, horizon: int, kind: ForecastKind, **options: Any
    ) -> None:
        variables = sizes.outputs // (1 + SIDES[kind])
        known = sizes.inputs - variables
        # a further input marks past and future steps
        super().__init__(cell, Sizes(sizes.inputs + 1, sizes.outputs), **options)
        self.history, self.horizon, self.known, self.kind = history, horizon, known, kind
        self.scaling, self.inner = Standardised(variables), Standardised(variables)
        self.known_scaling = Standardised(known)
        self.register_buffer("effect", torch.zeros(known, variables))
        self.register_buffer("season", torch.ones((), dtype=torch.int64))
        self.register_buffer("weight", torch.zeros(variables, history, horizon))
        self.register_buffer("rest", torch.zeros(variables, 3, horizon))
        self.register_buffer("residual", torch.ones(variables, horizon))
        self.register_buffer("logarithm", torch.zeros(variables, dtype=torch.bool))
        self.register_buffer("least", torch.ones(variables))
        self.register_buffer("lowest", torch.full((variables,), -torch.inf))
        self.register_buffer("share", torch.ones(()))
        self.register_buffer("trust", torch.ones(()))
        self.register_buffer("widening", torch.ones(2, variables))
        if options.get("output_init", "torch") == "torch":  # at first nothing is corrected, and each width is the usual
            nn.init.zeros_(self.output.weight)
            nn.init.zeros_(self.output.bias)

    def forward(self, inputs: Tensor, state: State = None, lengths: Tensor | None = None) -> tuple[Tensor, State]:
        """The forecast, and the state after the last step."""
        forecast, state = self.located(inputs, state, lengths)
        effect = self.effect_of(inputs)[self.history :]
        ends = [forecast.middle - forecast.below, forecast.middle, forecast.middle + forecast.above]
        return torch.stack([self.outer(end + effect) for end in ends], -1), state

    def forecast(self, history: Tensor, known: Tensor | None = None) -> Tensor:
        """The forecast (horizon, batch, variables, 3) after (history, batch, variables), in the units of the data.

        `known` (history + horizon, batch, known): the inputs with a known future, if there are any.
        """
        dtype = self.output.weight.dtype
        past = self.scaling(history).to(dtype)
        inputs = torch.cat([past, past.new_zeros(self.horizon, *past.shape[1:])])
        if known is not None:
            inputs = torch.cat([inputs, self.known_scaling(known).to(dtype)], -1)
        outputs = self(inputs)[0].to(history.dtype)
        return outputs * self.scaling.deviation[:, None] + self.scaling.mean[:, None]

    def located(
        self, inputs: Tensor, state: State = None, lengths: Tensor | None = None
    ) -> tuple[LocatedForecast, State]:
        """The forecast without effects, in the units of `into`, and the state after the last step."""
        variables = len(self.weight)
        past, known = self.into(inputs[: self.history, :, :variables]), inputs[..., variables:]
        past = past - self.effect_of(inputs)[: self.history]
        level, spread = past.mean(0), past.std(0, correction=0).clamp(min=LEAST_SPREAD)  # (batch, variables)
        away = past - level
        base = level + self._linear(away, torch.stack([spread, level, torch.ones_like(level)]))
        to_come = inputs.new_zeros(*inputs.shape[:2], 1)
        to_come[self.history :] = 1
        seen = torch.cat([away, base - level]) / spread
        outputs, state = super().forward(torch.cat([seen, known, to_come], -1), state, lengths)
        changes = outputs[self.history :].unflatten(-1, (variables, -1))  # (horizon, batch, variables, values)
        middle = base + self.share * spread * changes[..., 0]
        learned = softplus(self.trust * changes[..., 1:] + SOFTPLUS_IS_1)
        widths = spread[..., None] * self.residual.T[:, None, :, None] * learned
        below, above = widths.expand(*widths.shape[:-1], 2).unbind(-1)
        return LocatedForecast(middle, below * self.widening[0], above * self.widening[1], base), state

    def effect_of(self, inputs: Tensor) -> Tensor:
        """What the known inputs add to the variables: (history + horizon, batch, variables)."""
        return inputs[..., len(self.weight) :] @ self.effect

    def _linear(self, away: Tensor, beside: Tensor) -> Tensor:
        """(history, batch, variables) about their level, (3, batch, variables) -> (horizon, batch, variables)."""
        features = torch.cat([away, beside]).permute(2, 1, 0)  # (variables, batch, history + 3)
        return (features @ torch.cat([self.weight, self.rest], 1)).permute(2, 1, 0)

    def into(self, values: Tensor) -> Tensor:
        """Values (..., variables) in the units of the forecast: for some variables the logarithm."""
        measured = values * self.scaling.deviation + self.scaling.mean
        return torch.where(self.logarithm, self.inner(torch.maximum(measured, self.least).log()), values)

    def outer(self, values: Tensor) -> Tensor:
        """The inverse of `into`, with the lower bound of each variable."""
        logarithms = torch.where(self.logarithm, values * self.inner.deviation + self.inner.mean, 0)
        return torch.maximum(torch.where(self.logarithm, self.scaling(logarithms.exp()), values), self.lowest)
