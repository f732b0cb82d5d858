"""How often gates are shut or open: Karpathy, Johnson & Fei-Fei 2015, "Visualizing and Understanding Recurrent
Networks", 1506.02078, figure 3.
"""

from dataclasses import dataclass

import numpy as np

from gatewright.errors import DataError
from gatewright.inspect.measures.steps import Source, Values, batches_of, share_gates, valid_steps

LOW, HIGH = 0.1, 0.9


@dataclass(frozen=True, eq=False)
class GateSaturation:
    """One gate of one layer: `left` and `right` (units,) are the shares of steps below 0.1 and above 0.9."""

    layer: str
    gate: str
    left: Values
    right: Values
    steps: int


def saturation(source: Source) -> list[GateSaturation]:
    """The saturation of every gate between 0 and 1, over all steps of all rows.

    `source`: activations, or a stream of them such as `gw.inspect.observations(run, data)`. Gates that something else
    than a sigmoid computes are left out. The shares of a unit that is NaN at a step are NaN. Raises DataError where
    there are no steps.
    """
    sums: dict[tuple[str, str], _Counts] = {}
    steps = 0
    for activations in batches_of(source):
        for layer in activations:
            steps += int(layer.lengths.sum())
            for gate in share_gates(layer):
                sums.setdefault((layer.name, gate), _Counts()).add(valid_steps(layer, gate))
    if not steps:
        raise DataError("there is no step to measure: the data has no rows")
    return [
        GateSaturation(*key, counts.left / counts.steps, counts.right / counts.steps, counts.steps)
        for key, counts in sums.items()
    ]


class _Counts:
    """Steps below and above the limits, (units,); NaN for a unit that is NaN at some step."""

    def __init__(self) -> None:
        self.left: Values = np.zeros(1)
        self.right: Values = np.zeros(1)
        self.steps = 0

    def add(self, values: Values) -> None:
        unknown = np.where(np.isnan(values).any(0), np.nan, 0.0)
        self.left = self.left + (values < LOW).sum(0) + unknown
        self.right = self.right + (values > HIGH).sum(0) + unknown
        self.steps += len(values)
