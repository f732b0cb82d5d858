"""Ragged batches: which lines of a padded array belong to the steps that rows take.

A line is one row at one step: line `step * batch + row` of an array (time, batch, ...).
"""

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]


class ActiveLines:
    """The lines of all steps that rows of some lengths take, step by step; within a step the longest row comes first.

    So the rows of a step are the first ones of those of the step before. `count` is how many lines there are;
    `addresses` are where kernels find the lines, and where each step begins among them.
    """

    def __init__(self, lengths: Indices, steps: int) -> None:
        order = np.argsort(-lengths, kind="stable")
        time = np.arange(steps)[:, None]
        taken = time < lengths[order]
        self.lines: Indices = (time * len(lengths) + order)[taken]
        self.starts: Indices = np.concatenate([[0], np.cumsum(taken.sum(1))])
        self.count = len(self.lines)
        self.addresses = (self.lines.ctypes.data, self.starts.ctypes.data)
        self._steps_before: Indices = np.concatenate([[0], np.cumsum(lengths[order])])  # of the rows before each
        self._edges: dict[int, Any] = {}

    def edges(self, ranges: int) -> Any:
        """Where to cut the rows into so many ranges, each of which takes about as many steps: an array of ctypes, which
        lives as long as this; None for no range."""
        if ranges and ranges not in self._edges:
            equal_shares = [self.count * number // ranges for number in range(1, ranges)]
            cuts = np.searchsorted(self._steps_before, equal_shares).tolist()
            self._edges[ranges] = (ctypes.c_int64 * (ranges + 1))(0, *cuts, len(self._steps_before) - 1)
        return self._edges.get(ranges)
