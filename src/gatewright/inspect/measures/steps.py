"""The steps of all rows of activations, one after the other, from one batch or from a stream of batches."""

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import DataError, OptionError
from gatewright.inspect.activity.activations import Activations, LayerActivations
from gatewright.lang.ops import Op

Values = NDArray[np.float64]
Source = Activations | Iterable[Activations]
_SHARES = frozenset({Op.SIGMOID, Op.HARD_SIGMOID})


def batches_of(source: Source) -> Iterator[Activations]:
    """The batches of a source; activations that are at hand are one batch. Raises OptionError for anything else."""
    batches: Any = (source,) if isinstance(source, Activations) else source
    if isinstance(batches, (str, os.PathLike)) or not isinstance(batches, Iterable):
        raise _no_activations(batches)
    for batch in cast("Iterable[Any]", batches):
        if not isinstance(batch, Activations):
            raise _no_activations(batch)
        yield batch


def recorded(source: object) -> Activations:
    """The activations that a measure of one batch was given. Raises OptionError for anything else."""
    if not isinstance(source, Activations):
        raise _no_activations(source)
    return source


def _no_activations(source: object) -> OptionError:
    return OptionError(
        f"a {type(source).__name__} is no activations",
        expected="activations, or a stream of them",
        do="record a model, or observe a run",
    )


def valid_steps(layer: LayerActivations, name: str) -> Values:
    """A gate or state at all steps of all rows, (steps, units), without what lies after the ends of rows."""
    return layer.values(name)[: layer.steps][layer.mask()].astype(np.float64)


def share_gates(layer: LayerActivations) -> Iterator[str]:
    """The gates with values from 0 to 1, by the operation that computes them."""
    definitions = layer.trace.definitions()
    for name, value in layer.trace.gates:
        if value.name in definitions and definitions[value.name].op in _SHARES:
            yield name


class Moments:
    """Count, mean and variance of the steps of a stream, by unit (Chan, Golub & LeVeque 1979)."""

    def __init__(self) -> None:
        self.count, self.mean, self._squares = 0, np.zeros(0), np.zeros(0)

    def add(self, values: Values) -> None:
        """Take (steps, units) into account."""
        count = len(values)
        if not count:
            return
        mean, squares = values.mean(0), ((values - values.mean(0)) ** 2).sum(0)
        if not self.count:
            self.count, self.mean, self._squares = count, mean, squares
            return
        total, shift = self.count + count, mean - self.mean
        self._squares = self._squares + squares + shift**2 * (self.count * count / total)
        self.mean = self.mean + shift * (count / total)
        self.count = total

    @property
    def variance(self) -> Values:
        """The mean square of the distance to the mean."""
        return self._squares / max(self.count, 1)


def by_value(source: Source) -> Mapping[tuple[str, str], Moments]:
    """The moments of every gate and state of every layer, by the names of both. Raises DataError without steps."""
    moments: dict[tuple[str, str], Moments] = {}
    for activations in batches_of(source):
        for layer in activations:
            for name in (*layer.gates, *layer.states):
                moments.setdefault((layer.name, name), Moments()).add(valid_steps(layer, name))
    if not any(found.count for found in moments.values()):
        raise DataError("there is no step to measure: the data has no rows")
    return moments
