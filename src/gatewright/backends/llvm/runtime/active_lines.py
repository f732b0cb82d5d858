"""Ragged batches: which lines of a padded array belong to the steps that rows take.

A line is one row at one step: line `step * batch + row` of an array (time, batch, ...).
"""

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]


class ActiveLines:
    """The lines of all steps that rows of some lengths take, step by step; within a step the longest row comes first.

    So the rows of a step are the first ones of those of the step before.
    """

    def __init__(self, lengths: Indices, steps: int) -> None:
        order = np.argsort(-lengths, kind="stable")
        time = np.arange(steps)[:, None]
        taken = time < lengths[order]
        self.lines: Indices = (time * len(lengths) + order)[taken]
        self.starts: Indices = np.concatenate([[0], np.cumsum(taken.sum(1))])
        self._before: Indices = np.concatenate([[0], np.cumsum(lengths[order])])  # steps of the rows before each

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.lines)

    @property
    def addresses(self) -> tuple[int, int]:
        """Where kernels find them: the lines, and where each step begins among them."""
        return self.lines.ctypes.data, self.starts.ctypes.data

    def edges(self, fewest: int, threads: int) -> list[int]:
        """Where to cut the rows of a step, so that in every range about the same number of steps are taken."""
        rows = len(self._before) - 1
        parts = max(1, min(threads, rows // max(fewest, 1)))
        wanted = [self.count * part // parts for part in range(1, parts)]
        return [0, *np.searchsorted(self._before, wanted).tolist(), rows]
