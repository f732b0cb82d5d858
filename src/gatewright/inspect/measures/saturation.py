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
    than a sigmoid computes are left out. Raises DataError where there are no steps.
    """
    left: dict[tuple[str, str], Values] = {}
    right: dict[tuple[str, str], Values] = {}
    steps = 0
    for activations in batches_of(source):
        steps += int(activations.lengths.sum())
        for layer in activations:
            for gate in share_gates(layer):
                values, key = valid_steps(layer, gate), (layer.name, gate)
                left[key] = left.get(key, np.zeros(values.shape[1])) + (values < LOW).sum(0)
                right[key] = right.get(key, np.zeros(values.shape[1])) + (values > HIGH).sum(0)
    if not steps:
        raise DataError("there is no step to measure: the data has no rows")
    return [GateSaturation(*key, left[key] / steps, right[key] / steps, steps) for key in left]
