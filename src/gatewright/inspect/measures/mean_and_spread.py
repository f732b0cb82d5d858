"""The course of a gate or state over many rows: mean and spread at each step, from the start or from the end."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import DataError, OptionError
from gatewright.inspect.arguments import whole_number
from gatewright.inspect.measures.steps import Moments, Source, Values, batches_of

Align = Literal["start", "end"]


@dataclass(frozen=True, eq=False)
class MeanCourse:
    """The course of one gate or state of one layer.

    - `steps` (steps,): 0, 1, 2, ... from the start of rows, or ..., -2, -1 from their ends.
    - `mean`, `deviation` (steps, units): over the rows that have the step.
    - `rows` (steps,): how many these are.
    """

    layer: str
    value: str
    steps: NDArray[np.int64]
    mean: Values
    deviation: Values
    rows: NDArray[np.int64]


def mean_and_spread(
    source: Source, value: str, *, layer: str | None = None, align: Align = "start", steps: int | None = None
) -> MeanCourse:
    """Mean and standard deviation of a gate or state at each step, over the rows of a data set.

        course = gw.inspect.mean_and_spread(gw.inspect.observations("runs/films", "films.csv"), "z", align="end")

    - `source`: activations, or a stream of them.
    - `value`: the name of a gate or state; `layer`: the name of a layer, by default the first one.
    - `align`: step 0 is the first step of each row, or with "end" step -1 is the last one.
    - `steps`: only so many steps from there; by default those of the longest row.

    Raises OptionError for a gate, state, layer or number of steps that does not exist, DataError where there are no
    steps.
    """
    if align not in ("start", "end"):
        raise OptionError(f"rows cannot be aligned at {align!r}", expected="start, end")
    if steps is not None and whole_number("steps", steps) < 1:
        raise OptionError("there is no step to measure", expected="steps of 1 or more", got=str(steps))
    moments: list[Moments] = []
    name = ""
    for activations in batches_of(source):
        activity = activations.layer(layer)
        name, values = activity.name, activity.values(value)
        count = activity.steps if steps is None else min(steps, activity.steps)
        moments += [Moments() for _ in range(len(moments), count)]
        for offset in range(count):
            rows = np.flatnonzero(activity.lengths > offset)
            places = np.full(len(rows), offset) if align == "start" else activity.lengths[rows] - 1 - offset
            moments[offset].add(values[places, rows].astype(np.float64))
    if not moments:
        raise DataError("there is no step to measure: the data has no rows")
    numbers = np.arange(len(moments))
    if align == "end":
        moments, numbers = moments[::-1], numbers - len(moments)
    return MeanCourse(
        name,
        value,
        numbers,
        np.stack([step.mean for step in moments]),
        np.sqrt(np.stack([step.variance for step in moments])),
        np.array([step.count for step in moments]),
    )
