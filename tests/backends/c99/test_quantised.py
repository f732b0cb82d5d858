"""Matrices of whole numbers."""

import numpy as np

from gatewright.backends.c99.parts import quantised


def test_no_number_is_off_by_more_than_half_a_step_of_its_row(rng: np.random.Generator) -> None:
    matrix = rng.normal(size=(9, 20)) * 10.0 ** rng.integers(-9, 9, (9, 1))
    made = quantised(matrix, "float64")
    assert made.numbers.dtype == np.int8
    assert (np.abs(made.numbers).max(axis=1) == 127).all()
    assert (np.abs(made.matrix() - matrix) <= made.scales[:, None] * 0.5000001).all()


def test_a_row_of_zeros_stays_one_and_no_columns_are_no_problem() -> None:
    np.testing.assert_array_equal(quantised(np.zeros((2, 3))).matrix(), np.zeros((2, 3)))
    assert quantised(np.zeros((2, 0))).shape == (2, 0)
