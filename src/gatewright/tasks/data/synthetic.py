"""Made-up tasks with known answers: adding two numbers bit by bit, and two tasks with long time lags."""

import random
from collections.abc import Iterable, Sequence
from operator import index
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import OptionError
from gatewright.tasks.data.batches.arrays import Rows, check_sizes

COPIED = 10  # symbols to repeat
COPY_SYMBOLS = 10  # 0 is blank, 1 to 8 are repeated, 9 says that it is time to
NOTHING_TO_SAY = -100


def as_bits(number: int, num_bits: int) -> list[int]:
    """The bits of a number, the lowest first.

    as_bits(3, 4) == [1, 1, 0, 0]. A number that needs more bits is an error: none is cut off.
    """
    number = index(number)
    if number < 0 or number.bit_length() > num_bits:
        raise OptionError(
            f"{number} cannot be written in {num_bits} bits",
            expected=f"0 to {2**num_bits - 1}" if num_bits >= 0 else "a number of bits that is not negative",
            got=str(number),
        )
    return [number >> place & 1 for place in range(num_bits)]


def from_bits(bits: Iterable[Any]) -> int:
    """The number that those bits write, the lowest first; each is 0 or 1 (a float or truth value will do)."""
    listed = list(bits)
    wrong = next((place for place, bit in enumerate(listed) if bit not in (0, 1)), None)
    if wrong is not None:
        raise OptionError(f"bit {wrong} is no bit", expected="0 or 1", got=repr(listed[wrong]))
    return sum(int(bit) << place for place, bit in enumerate(listed))


def random_pairs(count: int, num_bits: int, seed: int) -> list[tuple[int, int]]:
    """Pairs of numbers to add, each number uniform over 0 .. 2**(num_bits - 1) - 2, both ends included.

    This is NumPy's `randint(0, 2**(num_bits - 1) - 1)`, which leaves the upper end out. So the highest bit of
    a summand is always 0, the largest number of the other bits (all ones) never occurs, and a sum is at most
    2**num_bits - 4, which always fits. With num_bits=2 the only pair is (0, 0).
    """
    if num_bits < 2:
        raise OptionError("num_bits is too small to draw numbers to add", expected="at least 2", got=str(num_bits))
    if count < 0:
        raise OptionError("count is negative", expected="0 or more", got=str(count))
    draw, end = random.Random(seed).randrange, 2 ** (num_bits - 1) - 1
    return [(draw(end), draw(end)) for _ in range(count)]


def addition_arrays(pairs: Sequence[tuple[int, int]], num_bits: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The task as 0 and 1: the summands' bits (num_bits, batch, 2), their sum's bits (num_bits, batch, 1).

    Time is first, the lowest bit at time 0, so a network has to keep the carry in its state. A sum that does not fit in
    num_bits is an error. Numbers are Python's: 64 bits and more work.
    """
    inputs = np.empty((num_bits, len(pairs), 2), np.float32)
    targets = np.empty((num_bits, len(pairs), 1), np.float32)
    for row, (first, second) in enumerate(pairs):
        inputs[:, row, 0] = as_bits(first, num_bits)
        inputs[:, row, 1] = as_bits(second, num_bits)
        targets[:, row, 0] = as_bits(first + second, num_bits)
    return inputs, targets


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
