"""Tasks with long time lags: marked numbers to add (the adding problem), and symbols to repeat (copy memory)."""

import numpy as np

from gatewright.tasks.data.batches.arrays import Rows, check_sizes

COPIED = 10  # symbols to repeat
COPY_SYMBOLS = 10  # 0 is blank, 1 to 8 are repeated, 9 says that it is time to
NOTHING_TO_SAY = -100


def marked_sums(count: int, steps: int, seed: int) -> Rows:
    """The adding problem: inputs (steps, count, 2), and the sum of the two numbers that are marked (count, 1).

    The first feature is uniform over 0 to 1, the second 1 at two different steps and 0 elsewhere, as Bai et al. (2018,
    https://arxiv.org/abs/1803.01271) draw them; Hochreiter and Schmidhuber (1997) have the first mark near the start.
    """
    random = np.random.default_rng(seed)
    check_sizes(0, count=count)
    check_sizes(2, lag=steps)
    inputs = np.zeros((steps, count, 2), np.float32)
    inputs[:, :, 0] = random.random((steps, count), np.float32)
    rows = np.arange(count)
    first = random.integers(steps, size=count)
    second = (first + random.integers(1, steps, size=count)) % steps
    inputs[first, rows, 1] = inputs[second, rows, 1] = 1
    return Rows(inputs, inputs[first, rows, :1] + inputs[second, rows, :1])


def copy_arrays(count: int, lag: int, seed: int) -> Rows:
    """Copy memory: symbols to read and to answer, (lag + 20, count) each, int64.

    Ten symbols 1 to 8, blanks (0), and from step lag + 9 on 9, eleven times: from the second of these on the ten are to
    be repeated in their order, as Bai et al. (2018) have it. Before that there is nothing to learn, which a target of
    -100 says; the literature asks for blanks there, so that its loss is ours times 10 / (lag + 20) in the least.
    """
    check_sizes(0, count=count)
    check_sizes(lag=lag)
    symbols = np.random.default_rng(seed).integers(1, COPY_SYMBOLS - 1, (COPIED, count))
    inputs = np.zeros((lag + 2 * COPIED, count), np.int64)
    inputs[:COPIED] = symbols
    inputs[lag + COPIED - 1 :] = COPY_SYMBOLS - 1
    targets = np.full_like(inputs, NOTHING_TO_SAY)
    targets[-COPIED:] = symbols
    return Rows(inputs, targets)
