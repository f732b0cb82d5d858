"""What a network that corrects a linear forecast has around its layers, as numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import ModelFileError

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """A window (history, batch, variables) -> (horizon, batch, variables, 3): low, middle and high.

    Both are in the units of the series; where several series were trained on together, in deviations of each one's
    training part. Beside the window stands what is known beforehand (history + horizon, batch, known), if anything.

    The window, less the effects of what is known, goes through a linear forecast. The layers read the window and that
    forecast by the level and the spread of the window, with what is known and with which steps are to come. They give
    a change of the forecast, in spreads, and how wide the interval is beside the usual error.
    """

    mean: Array  # (variables,) of the training part
    deviation: Array
    history: int
    horizon: int
    weight: Array  # (variables, history + 3, horizon): on the window about its level, its spread, its level, and 1
    width: Array  # (horizon, 1, variables, 1): half of the usual interval, in spreads
    widening: Array  # (variables, 2): of the lower and the upper half
    share: float  # of the change that is used
    trust: float  # of what is learned of the width
    at_first: float  # what a width begins with, before softplus
    logarithm: Array  # (variables,): which are forecast by their logarithm
    inner_mean: Array  # (variables,): of the logarithms
    inner_deviation: Array
    least: Array  # (variables,): what a logarithm is taken of at least
    lowest: Array  # (variables,): the least value that is possible
    least_spread: float  # of a window, in deviations of the training part
    known_mean: Array  # (known,)
    known_deviation: Array
    effect: Array  # (known, variables)
    values: tuple[str, ...]  # what each value of a forecast is
    is_measured: bool  # whether windows are in the units of the series
    about: Mapping[str, Any]  # what a person must know beside it

    @property
    def steps(self) -> int:
        """How many steps the layers read."""
        return self.history + self.horizon

    @property
    def to_come(self) -> Array:
        """1 where a step that the layers read is to come, 0 where it is past; (steps, 1, 1)."""
        return np.repeat([0.0, 1.0], [self.history, self.horizon])[:, None, None].astype(self.mean.dtype)


def forecast_of(recipe: object, tensors: Mapping[str, Array], signature: Mapping[str, Any]) -> Forecast | None:
    """How a recipe's network forecasts; None where it does something else.

    Raises KeyError for a tensor that is missing, and ModelFileError for a model of an earlier version.
    """
    from gatewright.tasks.forecasting.network import SOFTPLUS_IS_1
    from gatewright.tasks.forecasting.windows import LEAST_SPREAD
    from gatewright.tasks.recipes.series import Series

    if not isinstance(recipe, Series):
        return None
    if "season" in tensors and "weight" not in tensors:
        raise ModelFileError(
            "the model forecasts as an earlier version did, by changes of the seasonal naive forecast",
            expected="a model that corrects a linear forecast",
            do="train it again",
        )
    mean, deviation = tensors["scaling.mean"], tensors["scaling.deviation"]
    residual = tensors["residual"]
    values = tuple(f"quantile {level:g}" for level in recipe.objective().levels)
    return Forecast(
        mean=mean,
        deviation=deviation,
        history=recipe.history,
        horizon=recipe.horizon,
        weight=np.concatenate([tensors["weight"], tensors["rest"]], 1),
        width=residual.T[:, None, :, None],
        widening=tensors["widening"].T,
        share=float(tensors["share"]),
        trust=float(tensors["trust"]),
        at_first=SOFTPLUS_IS_1,
        logarithm=tensors["logarithm"],
        inner_mean=tensors["inner.mean"],
        inner_deviation=tensors["inner.deviation"],
        least=tensors["least"],
        lowest=tensors["lowest"] * deviation + mean,
        least_spread=LEAST_SPREAD,
        known_mean=tensors["known_scaling.mean"],
        known_deviation=tensors["known_scaling.deviation"],
        effect=tensors["effect"],
        values=values,
        is_measured=len(signature.get("series", ())) <= 1,
        about={
            "history": recipe.history,
            "horizon": recipe.horizon,
            "season": int(tensors["season"]),
            "values": values,
        },
    )
