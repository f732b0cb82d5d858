"""The handwritten digits that scikit-learn brings."""

import sys

import numpy as np
import pytest

from gatewright.errors import DataError, OptionError
from gatewright.tasks.data.images.digits import load_digits


def test_rows_are_steps_and_pixels_are_shares() -> None:
    datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn is not installed")
    parts = load_digits()
    assert [part.inputs.shape for part in parts] == [(8, 1258, 8), (8, 180, 8), (8, 359, 8)]
    published = {image.tobytes(): label for image, label in zip(*datasets.load_digits(return_X_y=True), strict=True)}
    for part in parts:
        assert part.inputs.dtype == np.float32
        assert part.labels.dtype == np.int64
        assert part.inputs.flags.c_contiguous
        assert (part.inputs.min(), part.inputs.max()) == (0, 1)
        images = (part.inputs.transpose(1, 0, 2).reshape(-1, 64) * 16).astype(np.float64)
        assert [published[image.tobytes()] for image in images] == part.labels.tolist()


def test_every_digit_has_its_share_in_every_part() -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    parts = load_digits()
    total = np.bincount(np.concatenate([part.labels for part in parts]))
    assert total.sum() == 1797
    for part in parts:
        expected = total * len(part.labels) / 1797
        assert np.abs(np.bincount(part.labels) - expected).max() < 2


def test_the_split_depends_on_the_seed_alone() -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    first, again, other = load_digits(), load_digits(), load_digits(seed=1)
    assert all(np.array_equal(a.inputs, b.inputs) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first.test.inputs, other.test.inputs)


@pytest.mark.parametrize(("validation", "test"), [(0.0, 0.2), (0.1, -0.1), (0.5, 0.5)])
def test_a_part_without_every_digit_is_an_error(validation: float, test: float) -> None:
    with pytest.raises(OptionError, match=f"got: validation={validation}, test={test}"):
        load_digits(validation=validation, test=test)


def test_without_scikit_learn_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(DataError) as caught:
        load_digits()
    assert str(caught.value) == (
        "data set 'digits' is a part of scikit-learn, which is not installed\n"
        "  got: import of sklearn halted; None in sys.modules\n"
        '  do: pip install "gatewright[train]"'
    )
