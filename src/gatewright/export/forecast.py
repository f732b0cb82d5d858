"""How a recipe's network forecasts: what it has around its layers, out of a model file."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from gatewright.errors import ModelFileError
from gatewright.network.forecast import Forecast
from gatewright.network.part import Arrays


def forecast_of(recipe: object, tensors: Arrays, signature: Mapping[str, Any]) -> Forecast | None:
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
