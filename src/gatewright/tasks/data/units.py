"""The scale of each variable, kept with a model, so that numbers in other units are not taken for its own."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import DataError
from gatewright.tasks.formatting import spell

Scales = Mapping[str, Mapping[str, float]]

_FAR = 20  # deviations between two means; a series that grows, or a sensor at rest, stays far below
_WIDER = 50  # times the deviation; grams for kilograms are 1,000, percent for shares 100


def variable_scales(values: NDArray[Any], names: Sequence[str]) -> dict[str, dict[str, float]]:
    """By name: mean, deviation, least and greatest of each column of (rows, variables); what is missing is left out.

    A recipe puts those of its training part into `Data.signature["variables"]`, and they stay with the model.
    """
    scales: dict[str, dict[str, float]] = {}
    for place, name in enumerate(names):
        column = np.asarray(values[:, place], np.float64)
        column = column[np.isfinite(column)]
        if len(column):
            scales[name] = {
                "mean": float(column.mean()),
                "deviation": float(column.std()),
                "least": float(column.min()),
                "greatest": float(column.max()),
            }
    return scales


def check_scales(trained: Scales, given: Scales, source: str) -> None:
    """Refuse data whose numbers cannot be in the units that the model was trained on.

    A variable is refused where its mean is more than 20 deviations of the training part from that part's mean, where
    its deviation is more than 50 times as large, or where mean and deviation are both less than a fiftieth.
    """
    for name, scale in given.items():
        if name in trained and _is_absurd(trained[name], scale):
            raise DataError(
                f"{source}: the numbers of {name!r} are of another scale than those that the model was trained on",
                expected=_told(trained[name]),
                got=_told(scale),
                do="give them in the units of the training data, or accept any with any_scale=True",
                shell="give them in the units of the training data, or accept any with --any-scale",
            )


def _is_absurd(trained: Mapping[str, float], given: Mapping[str, float]) -> bool:
    deviation = trained["deviation"] or abs(trained["mean"]) or 1.0
    far = abs(given["mean"] - trained["mean"]) > _FAR * deviation
    wider = given["deviation"] > _WIDER * deviation
    smaller = all(_WIDER * abs(given[name]) < abs(trained[name]) for name in ("mean", "deviation"))
    return far or wider or (smaller and abs(trained["mean"]) > trained["deviation"])


def _told(scale: Mapping[str, float]) -> str:
    mean, deviation, least, greatest = (spell(scale[name]) for name in ("mean", "deviation", "least", "greatest"))
    return f"a mean of {mean} with a deviation of {deviation}, from {least} to {greatest}"
