"""What a network that corrects a naive forecast has around its layers, as numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """A window (history, batch, variables) -> (horizon, batch, variables, values), both in the units of the series.

    The layers read the window and then the naive forecast, by the level and the spread of the window, and are told
    which steps are to come. What they say of these is a change of the naive forecast, in spreads: a first value, and
    how far each further one lies above 0 (a deviation) or above the one before it (`rises`).
    """

    mean: Array  # (variables,) of the training part
    deviation: Array
    history: int
    season: int
    repeated: Array  # (horizon,): which step of the window is the naive forecast of each step to come
    values: tuple[str, ...]  # what each value of a forecast is
    moved: Array  # (values,): 1 for those that go along with the series, 0 for a deviation
    least: Array  # (variables, values): what is added to each value, so that a deviation is never 0
    least_spread: float  # of a window, in deviations of the training part
    rises: bool
    about: Mapping[str, Any]  # what a person must know beside it

    @property
    def steps(self) -> Array:
        """Which step of the window the layers read, one after the other."""
        return np.concatenate([np.arange(self.history), self.repeated])

    @property
    def to_come(self) -> Array:
        """1 where a step that the layers read is to come, 0 where it is past; (steps, 1, 1)."""
        return np.repeat([0.0, 1.0], [self.history, len(self.repeated)])[:, None, None].astype(self.mean.dtype)


def forecast_of(recipe: object, tensors: Mapping[str, Array]) -> Forecast | None:
    """How a recipe's network forecasts; None where it does something else.

    Raises KeyError for a tensor that is missing.
    """
    from gatewright.tasks.data import repeated_steps
    from gatewright.tasks.forecasts import LEAST_DEVIATION, LEAST_SPREAD, MOVED, Forecasting

    if not isinstance(recipe, Forecasting):
        return None
    mean, deviation, season = tensors["scaling.mean"], tensors["scaling.deviation"], int(tensors["season"])
    quantiles = tuple(f"quantile {level:g}" for level in recipe.objective().levels)
    values = quantiles if recipe.kind == "quantiles" else ("mean", "deviation")
    moved = np.asarray(MOVED[recipe.kind], mean.dtype)
    return Forecast(
        mean=mean,
        deviation=deviation,
        history=recipe.history,
        season=season,
        repeated=repeated_steps(recipe.history, season, recipe.horizon),
        values=values,
        moved=moved,
        least=deviation[:, None] * (LEAST_DEVIATION * (1 - moved)),
        least_spread=LEAST_SPREAD,
        rises=recipe.kind == "quantiles",
        about={
            "history": recipe.history,
            "horizon": recipe.horizon,
            "season": season,
            "values": values,
            "variables": recipe.variables or None,
        },
    )
