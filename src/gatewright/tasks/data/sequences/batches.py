"""Batches of time series to train on, each time changed a little, so that few series are not learned by heart."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gatewright.tasks.data.batches.buckets import RaggedBatch, RaggedBatches
from gatewright.tasks.data.ragged import LabelledSequences
from gatewright.tasks.data.scaling import Scaling

_KNOTS = 7  # between which time runs at one speed


@dataclass(frozen=True)
class Variation:
    """Random changes of a series; the fields are standard deviations at strength 1.

    Time runs faster and slower (`warp`, of the logarithm of the speed between two knots), the series moves by up to the
    share `shift` of its length, each channel is multiplied (`scale`, of the logarithm), and noise is added (of the
    channel's deviation). Um et al. 2017 (1706.00527) compare such changes.
    """

    strength: float
    warp: float = 0.2
    shift: float = 0.05
    scale: float = 0.1
    noise: float = 0.05

    def apply(self, series: NDArray[np.float32], deviation: NDArray[np.float64], draw: np.random.Generator) -> None:
        """Change that series (steps, channels) in place."""
        steps, channels = series.shape
        moved = interpolated(series, self._times(steps, draw)) if steps > 1 else series
        factors = np.exp(self.strength * self.scale * draw.normal(size=channels))
        noise = self.strength * self.noise * deviation * draw.normal(size=series.shape)
        series[...] = moved * factors + noise

    def _times(self, steps: int, draw: np.random.Generator) -> NDArray[np.float64]:
        """The position in the series that each step of the changed series is read at."""
        speeds = np.exp(self.strength * self.warp * draw.normal(size=_KNOTS - 1))
        knots = np.concatenate([[0.0], np.cumsum(speeds)]) / speeds.sum()
        warped = np.interp(np.linspace(0, 1, steps), np.linspace(0, 1, _KNOTS), knots)
        moved = self.strength * self.shift * draw.uniform(-1, 1)
        return np.clip(warped + moved, 0, 1) * (steps - 1)


def interpolated(rows: NDArray[np.floating], places: NDArray[np.float64]) -> NDArray[np.float64]:
    """The rows at places between them, by linear interpolation: (places, ...)."""
    if len(rows) == 1:
        return np.repeat(rows.astype(np.float64), len(places), 0)
    before = np.minimum(places.astype(np.int64), len(rows) - 2)
    share = (places - before)[:, np.newaxis]
    return rows[before] * (1 - share) + rows[before + 1] * share


class SeriesBatches:
    """Batches to train on, of about equally long series: at least `least` of them are an epoch.

    An epoch goes through the series as often as that takes, each time in another order and changed anew by (seed,
    epoch, position).
    """

    carries_state = False

    def __init__(
        self,
        series: LabelledSequences,
        batch: int,
        least: int = 1,
        *,
        seed: int,
        scaling: Scaling,
        variation: Variation,
    ) -> None:
        self.examples = series
        self._batches = RaggedBatches(series.sequences, series.labels, batch, seed=seed)
        self._passes = math.ceil(least / len(self._batches))
        self._seed, self._deviation, self._variation = seed, scaling.deviation, variation

    def __len__(self) -> int:
        return self._passes * len(self._batches)

    def batch(self, epoch: int, position: int) -> RaggedBatch:
        """The batch at that place of the epoch."""
        done, place = divmod(position, len(self._batches))
        varied = self._batches.batch(epoch * self._passes + done, place)
        if self._variation.strength:
            draw = np.random.default_rng([self._seed, epoch, position, 2])
            for row, length in enumerate(varied.lengths):
                self._variation.apply(varied.inputs[:length, row], self._deviation, draw)
        return varied
