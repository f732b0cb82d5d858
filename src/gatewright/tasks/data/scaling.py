"""Scaling of variables, and what a model keeps of their scales, so that numbers in other units are refused."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import DataError
from gatewright.tasks.formatting import spell

Values = NDArray[np.float32] | NDArray[np.float64]
Scales = Mapping[str, Mapping[str, float]]

_FAR = 20  # deviations between two means; a series that grows, or a sensor at rest, stays far below
_WIDER = 50  # times the deviation; grams for kilograms are 1,000, percent for shares 100
_ROUNDING = 16 * float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class Scaling:
    """Mean and standard deviation of each variable, (variables,); a variable that never changes has deviation 1.

    A variable counts as constant where it changes by no more than float64 rounds: 4e-15 of its largest number.
    """

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]

    @classmethod
    def of(cls, values: Values) -> Self:
        """The scaling of those steps, (steps, variables), which have to be of the training part only."""
        if not len(values):
            raise DataError("there are no steps to scale by")
        deviation = values.std(0, dtype=np.float64)
        # The mean of a constant is off by its rounding, and so is each difference from it: that is no deviation.
        rounding = _ROUNDING * np.abs(values).max(0)
        return cls(values.mean(0, dtype=np.float64), np.where(deviation > rounding, deviation, 1.0))

    def apply(self, values: Values) -> NDArray[np.float32]:
        """The values scaled to mean 0 and deviation 1, as measured on the training part."""
        return ((values - self.mean) / self.deviation).astype(np.float32)


def variable_scales(values: NDArray[Any], names: Sequence[str]) -> dict[str, dict[str, float]]:
    """By name: mean, deviation, least and greatest of each column of (rows, variables), without missing values.

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


def check_scales(trained: Scales, scales: Scales, source: str) -> None:
    """Refuse data in other units than those that the model was trained on.

    A variable is refused where its mean is more than 20 deviations of the training part from that part's mean, where
    its deviation is more than 50 times as large, or where mean and deviation are both less than a fiftieth.
    """
    for name, scale in scales.items():
        if name in trained and _is_absurd(trained[name], scale):
            raise DataError(
                f"{source}: the numbers of {name!r} are of another scale than those that the model was trained on",
                expected=_described(trained[name]),
                got=_described(scale),
                do="give them in the units of the training data, or accept any with any_scale=True",
                shell="give them in the units of the training data, or accept any with --any-scale",
            )


def _is_absurd(trained: Mapping[str, float], scale: Mapping[str, float]) -> bool:
    deviation = trained["deviation"] or abs(trained["mean"]) or 1.0
    far = abs(scale["mean"] - trained["mean"]) > _FAR * deviation
    wider = scale["deviation"] > _WIDER * deviation
    smaller = all(_WIDER * abs(scale[name]) < abs(trained[name]) for name in ("mean", "deviation"))
    return far or wider or (smaller and abs(trained["mean"]) > trained["deviation"])


def _described(scale: Mapping[str, float]) -> str:
    mean, deviation, least, greatest = (spell(scale[name]) for name in ("mean", "deviation", "least", "greatest"))
    return f"a mean of {mean} with a deviation of {deviation}, from {least} to {greatest}"
