"""Parts that move or take together steps, by hand: three steps of two rows, the second of which has one step."""

import numpy as np
import pytest

from gatewright.errors import ConversionError
from gatewright.network.part import Signal
from gatewright.network.steps import Last, Max, Mean, PatchPart, Reshape, Reverse

# (time, batch, features): padding is so large that it shows wherever it is read
VALUES = np.array([[[1.0, -1.0], [4.0, 5.0]], [[2.0, -2.0], [900.0, 900.0]], [[6.0, -3.0], [900.0, 900.0]]])
PRESENT = np.array([[True, True], [True, False], [True, False]])


def signal(masked: bool, values: np.ndarray = VALUES) -> Signal:
    """The padding is told by a mask, or by lengths."""
    told = {"mask": PRESENT} if masked else {"lengths": np.array([3, 1])}
    return Signal(values, values, np.dtype("float64"), **told)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    ("part", "want"),
    [
        (Mean(), [[3.0, -2.0], [4.0, 5.0]]),
        (Max(), [[6.0, -1.0], [4.0, 5.0]]),
        (Last(), [[6.0, -3.0], [4.0, 5.0]]),
        (Last(backward=1), [[6.0, -1.0], [4.0, 5.0]]),
    ],
)
def test_one_vector_of_the_steps_that_are_no_padding(part: Mean | Max | Last, want: list, masked: bool) -> None:
    given = part.apply(signal(masked))
    np.testing.assert_allclose(given.values, want, rtol=1e-15)
    assert given.mask is None


@pytest.mark.parametrize(("part", "want"), [(Mean, np.nan), (Max, -np.inf)])
def test_a_row_of_no_step(part: type[Mean | Max], want: float) -> None:
    nothing = Signal(VALUES, VALUES, np.dtype("float64"), lengths=np.array([0, 3]))
    np.testing.assert_equal(part().apply(nothing).values[0], [want, want])
    np.testing.assert_equal(part(zeros_if_empty=True).apply(nothing).values[0], [0.0, 0.0])
    np.testing.assert_equal(Last().apply(nothing).values[0], [0.0, 0.0])


def test_a_sequence_read_backwards_has_its_padding_first() -> None:
    given = Reverse().apply(signal(masked=True))
    np.testing.assert_equal(given.values, VALUES[::-1])
    np.testing.assert_equal(given.mask, [[True, False], [True, False], [True, True]])
    np.testing.assert_allclose(Mean().apply(given).values, [[3.0, -2.0], [4.0, 5.0]], rtol=1e-15)


@pytest.mark.parametrize("masked", [False, True])
def test_patches_read_zeros_for_padding(masked: bool) -> None:
    part = PatchPart(np.eye(4), np.zeros(4), size=2)
    given = part.apply(signal(masked))
    np.testing.assert_equal(
        given.values, [[[1.0, -1.0, 2.0, -2.0], [4.0, 5.0, 0.0, 0.0]], [[6.0, -3.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]]
    )
    np.testing.assert_equal(given.present, [[True, True], [True, False]])


def test_another_shape_goes_row_by_row() -> None:
    flat = Reshape((-1,)).apply(signal(masked=True))
    np.testing.assert_equal(flat.values[0], [1.0, -1.0, 2.0, -2.0, 6.0, -3.0])
    assert flat.mask is None
    again = Reshape((3, 2)).apply(flat)
    np.testing.assert_equal(again.values, VALUES)


def test_rows_that_do_not_fit_a_shape_are_refused() -> None:
    with pytest.raises(ConversionError, match=r"a Reshape to \(-1, 4\) cannot read rows of this shape"):
        Reshape((-1, 4)).apply(Signal(np.zeros((5, 2, 3)), np.zeros((5, 2, 3)), np.dtype("float64")))
