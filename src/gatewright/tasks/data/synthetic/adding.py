"""Adding two numbers, bit by bit from the lowest, at any length: a task with known answers.

A network must learn to keep the carry in its state. Numbers are Python's, so 64 bits and more work.
"""

import random
from collections.abc import Iterable, Sequence
from operator import index
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import OptionError


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

    Time is first, the lowest bit at time 0. A sum that does not fit in num_bits is an error.
    """
    inputs = np.empty((num_bits, len(pairs), 2), np.float32)
    targets = np.empty((num_bits, len(pairs), 1), np.float32)
    for row, (first, second) in enumerate(pairs):
        inputs[:, row, 0] = as_bits(first, num_bits)
        inputs[:, row, 1] = as_bits(second, num_bits)
        targets[:, row, 0] = as_bits(first + second, num_bits)
    return inputs, targets
