"""Matrices and vectors of whole numbers, and their products."""

import numpy as np
import pytest

from gatewright.errors import OptionError
from gatewright.int8 import LEAST, MOST_COLUMNS, Quantised, product, quantised, require_sums_fit, rounded


def test_no_number_is_off_by_more_than_half_a_step_of_its_row(rng: np.random.Generator) -> None:
    matrix = rng.normal(size=(9, 20)) * 10.0 ** rng.integers(-9, 9, (9, 1))
    made = quantised(matrix, "float64")
    assert made.numbers.dtype == np.int8
    assert (np.abs(made.numbers).max(axis=1) == 127).all()
    assert (np.abs(made.matrix() - matrix) <= made.scales[:, None] * 0.5000001).all()


def test_a_row_of_zeros_stays_one_and_no_columns_are_no_problem() -> None:
    np.testing.assert_array_equal(quantised(np.zeros((2, 3))).matrix(), np.zeros((2, 3)))
    assert quantised(np.zeros((2, 0))).shape == (2, 0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_vector_is_off_by_at_most_half_a_step_of_its_own(rng: np.random.Generator, dtype: str) -> None:
    vectors = (rng.normal(size=(3, 5, 33)) * 10.0 ** rng.integers(-20, 20, (3, 5, 1))).astype(dtype)
    numbers, scales = rounded(vectors)
    assert (numbers.dtype, scales.dtype) == (np.int8, vectors.dtype)
    assert (np.abs(numbers).max(-1) == 127).all()
    assert (np.abs(numbers * scales.astype(np.float64) - vectors) <= scales * 0.50001).all()


def test_vectors_of_zeros_and_of_numbers_close_to_it_are_zero() -> None:
    for value in (0.0, LEAST / 2, -1e-40):
        numbers, _ = rounded(np.full((1, 4), value, np.float32))
        np.testing.assert_array_equal(numbers, np.zeros((1, 4)))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_product_is_that_of_the_whole_numbers_times_both_scales(rng: np.random.Generator, dtype: str) -> None:
    matrix, vectors = quantised(rng.normal(size=(7, 19)), dtype), rng.normal(size=(4, 19)).astype(dtype)
    numbers, scales = rounded(vectors)
    result = product(matrix, vectors)
    assert result.dtype == vectors.dtype
    for row in range(4):
        for unit in range(7):
            total = sum(int(a) * int(b) for a, b in zip(numbers[row], matrix.numbers[unit], strict=True))
            want = total * (float(scales[row, 0]) * float(matrix.scales[unit]))
            assert result[row, unit] == pytest.approx(want, rel=4 * float(np.finfo(dtype).eps))
    exact = vectors.astype(np.float64) @ matrix.matrix().astype(np.float64).T
    assert np.abs(result - exact).max() < 0.5 * scales.max() * np.abs(matrix.matrix()).sum(1).max()


def test_sums_of_the_largest_numbers_are_exact() -> None:
    columns = 1000
    matrix = Quantised(np.full((1, columns), -127, np.int8), np.ones(1, np.float64))
    assert product(matrix, np.full((1, columns), 127.0)) == -127 * 127 * columns


def test_nan_and_infinity_are_not_lost() -> None:
    matrix, vectors = quantised(np.eye(3) + 1.0), np.ones((3, 3), np.float32)
    vectors[0, 1], vectors[1, 2] = np.nan, np.inf
    finite = np.isfinite(product(matrix, vectors)).all(-1)
    np.testing.assert_array_equal(finite, [False, False, True])


def test_a_matrix_whose_sums_may_not_fit_is_refused() -> None:
    require_sums_fit(MOST_COLUMNS)
    with pytest.raises(OptionError, match="a matrix has too many columns for weights of eight bits") as caught:
        require_sums_fit(MOST_COLUMNS + 1)
    assert str(MOST_COLUMNS + 1)[:2] in str(caught.value)
