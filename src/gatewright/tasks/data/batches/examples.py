"""Batches of labelled sequences to measure, and what batches to train on change a little."""

import numpy as np
from numpy.typing import NDArray

from gatewright.tasks.data.batches.buckets import RaggedBatches
from gatewright.tasks.data.ragged import LabelledSequences


class MeasuredExamples(RaggedBatches):
    """Batches of sequences that are only measured, from short to long."""

    def __init__(self, examples: LabelledSequences, batch: int = 100) -> None:
        super().__init__(examples.sequences, examples.labels, batch)
        self.examples = examples


def interpolated(rows: NDArray[np.floating], places: NDArray[np.float64]) -> NDArray[np.float64]:
    """The rows at places between them, by linear interpolation: (places, ...)."""
    if len(rows) == 1:
        return np.repeat(rows.astype(np.float64), len(places), 0)
    before = np.minimum(places.astype(np.int64), len(rows) - 2)
    share = (places - before)[:, np.newaxis]
    return rows[before] * (1 - share) + rows[before + 1] * share
