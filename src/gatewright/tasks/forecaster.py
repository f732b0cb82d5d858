"""The network of a forecast: it reads what has been, then the seasonal naive forecast, and says what is to be changed.

Every window is seen by its own level and spread, so that a network that has learned one series at one height forecasts
it at another (Kim et al. 2022, Reversible instance normalization).
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import softplus

from gatewright.tasks.data import repeated_steps
from gatewright.tasks.forecasts import LEAST_DEVIATION, LEAST_SPREAD, MOVED
from gatewright.tasks.network import Network, Standardised, State
from gatewright.tasks.objectives import ForecastKind
from gatewright.tasks.recipe import Sizes


class Forecaster(Network):
    """inputs (history + horizon, batch, variables) -> (horizon, batch, variables, values).

    The last `horizon` steps of the inputs are the naive forecast. The values are what `Forecasts` expects: the mean and
    the deviation of a Gaussian, or rising quantiles. Inputs and values are in deviations of the training part; its
    scaling and season are kept beside the weights, so that `forecast` can be given numbers as they were measured.
    """

    season: Tensor
    kind: ForecastKind

    def __init__(self, cell: Any, sizes: Sizes, *, horizon: int, kind: ForecastKind, **options: Any) -> None:
        # beside the variables, the network is told whether a step is past or to come
        super().__init__(cell, Sizes(sizes.inputs + 1, sizes.outputs), **options)
        self.horizon, self.kind = horizon, kind
        self.scaling = Standardised(sizes.inputs)
        self.register_buffer("season", torch.ones((), dtype=torch.int64))

    def forecast(self, history: Tensor) -> Tensor:
        """What comes after (history, batch, variables): (horizon, batch, variables, values) in the same units."""
        past = self.scaling(history).to(self.output.weight.dtype)
        naive = past[repeated_steps(len(past), int(self.season), self.horizon)]
        outputs = self(torch.cat([past, naive]))[0].to(history.dtype)
        moved = outputs.new_tensor(MOVED[self.kind])
        return outputs * self.scaling.deviation[:, None] + moved * self.scaling.mean[:, None]

    def forward(self, inputs: Tensor, state: State = None, lengths: Tensor | None = None) -> tuple[Tensor, State]:
        """The forecast, and the state after the last step."""
        past, naive = inputs[: -self.horizon], inputs[-self.horizon :]
        level, spread = past.mean(0), past.std(0, correction=0).clamp(min=LEAST_SPREAD)  # (batch, variables)
        to_come = inputs.new_zeros(*inputs.shape[:2], 1)
        to_come[-self.horizon :] = 1
        read = torch.cat([(inputs - level) / spread, to_come], -1)
        outputs, state = super().forward(read, state, lengths)
        changes = outputs[-self.horizon :].unflatten(-1, (naive.shape[-1], -1))  # (horizon, batch, variables, values)
        first, others = changes[..., :1], softplus(changes[..., 1:])
        if self.kind == "gaussian":
            return torch.cat([naive[..., None] + spread[..., None] * first, _deviation(spread, others)], -1), state
        rising = torch.cat([first, others], -1).cumsum(-1)
        return naive[..., None] + spread[..., None] * rising, state


def _deviation(spread: Tensor, others: Tensor) -> Tensor:
    return spread[..., None] * others + LEAST_DEVIATION
