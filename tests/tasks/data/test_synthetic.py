"""Adding numbers bit by bit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewright.errors import OptionError
from gatewright.tasks.data.synthetic import addition_arrays, as_bits, from_bits, random_pairs


def test_bits_are_the_lowest_first() -> None:
    assert as_bits(3, 4) == [1, 1, 0, 0]
    assert as_bits(3, 5) == [1, 1, 0, 0, 0]
    assert as_bits(6, 3) == [0, 1, 1]
    assert as_bits(0, 0) == []


@given(st.integers(0, 2**200))
def test_bits_write_their_number(number: int) -> None:
    assert from_bits(as_bits(number, 201)) == number
    assert as_bits(number, 201)[::-1] == [int(bit) for bit in f"{number:0201b}"]


def test_bits_may_be_predictions_after_their_threshold() -> None:
    assert from_bits(np.array([0.1, 0.9, 0.7]) > 0.5) == 6
    assert from_bits(np.array([0.0, 1.0], np.float32)) == 2
    assert isinstance(from_bits(np.array([1])), int)


@pytest.mark.parametrize(("number", "num_bits", "expected"), [(8, 3, "0 to 7"), (-1, 3, "0 to 7"), (1, 0, "0 to 0")])
def test_a_number_is_never_cut_off(number: int, num_bits: int, expected: str) -> None:
    with pytest.raises(OptionError) as caught:
        as_bits(number, num_bits)
    assert str(caught.value) == (
        f"{number} cannot be written in {num_bits} bits\n  expected: {expected}\n  got: {number}"
    )


def test_what_is_no_bit_is_an_error() -> None:
    with pytest.raises(OptionError, match=r"bit 1 is no bit\n  expected: 0 or 1\n  got: 0\.5"):
        from_bits([1, 0.5])


@pytest.mark.parametrize("num_bits", [2, 3, 5])
def test_numbers_are_uniform_and_the_largest_never_comes(num_bits: int) -> None:
    pairs = random_pairs(2000, num_bits, seed=1)
    largest = 2 ** (num_bits - 1) - 2
    counts = np.bincount(np.ravel(pairs), minlength=largest + 1)
    expected = 4000 / (largest + 1)
    assert len(counts) == largest + 1
    assert ((counts - expected) ** 2 / expected).sum() < 45  # 15 values at most: far beyond the 0.9999 quantile
    assert all(a + b <= 2**num_bits - 4 for a, b in pairs)


def test_pairs_depend_on_the_seed_alone() -> None:
    assert random_pairs(5, 64, seed=3) == random_pairs(5, 64, seed=3)
    assert random_pairs(5, 64, seed=3) != random_pairs(5, 64, seed=4)
    assert random_pairs(3, 64, seed=3) == random_pairs(5, 64, seed=3)[:3]


@pytest.mark.parametrize("num_bits", [5, 64, 100])
def test_arrays_hold_the_sums_at_any_length(num_bits: int) -> None:
    pairs = random_pairs(20, num_bits, seed=0)
    inputs, targets = addition_arrays(pairs, num_bits)
    assert (inputs.shape, targets.shape) == ((num_bits, 20, 2), (num_bits, 20, 1))
    assert inputs.dtype == targets.dtype == np.float32
    assert [(from_bits(inputs[:, row, 0]), from_bits(inputs[:, row, 1])) for row in range(20)] == pairs
    assert [from_bits(targets[:, row, 0]) for row in range(20)] == [a + b for a, b in pairs]


def test_the_texts_example_of_twenty_bits() -> None:
    inputs, targets = addition_arrays([(1024, 16)], 20)
    assert np.flatnonzero(inputs[:, 0, 0]).tolist() == [10]
    assert np.flatnonzero(targets[:, 0, 0]).tolist() == [4, 10]


def test_a_sum_that_does_not_fit_is_an_error() -> None:
    with pytest.raises(OptionError, match="8 cannot be written in 3 bits"):
        addition_arrays([(4, 4)], 3)


def test_too_few_bits_and_pairs_are_errors() -> None:
    with pytest.raises(OptionError, match="num_bits is too small to draw numbers to add\n  expected: at least 2"):
        random_pairs(1, 1, seed=0)
    with pytest.raises(OptionError, match="count is negative"):
        random_pairs(-1, 5, seed=0)
