"""Handwritten digits of 8 x 8 pixels, read one row a step; scikit-learn brings them, offline."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import DataError, OptionError
from gatewright.tasks.data.ragged import Splits

_BRIGHTEST = 16  # the pixels are whole numbers from 0 to this


class LabelledRows(NamedTuple):
    """Inputs (8 rows as time steps, examples, 8 pixels) from 0 to 1, float32; labels (examples,), int64."""

    inputs: NDArray[np.float32]
    labels: NDArray[np.int64]


def load_digits(*, validation: float = 0.1, test: float = 0.2, seed: int = 0) -> Splits[LabelledRows]:
    """The 1,797 digits, split at random by the seed, with about the same share of each digit in every part."""
    if min(validation, test) < 0.01 or validation + test > 0.9:
        raise OptionError(
            "every part of the digits must hold each digit",
            expected="validation and test of at least 0.01, together at most 0.9",
            got=f"validation={validation}, test={test}",
        )
    try:
        from sklearn import datasets, model_selection
    except ImportError as error:
        raise DataError(
            "data set 'digits' is a part of scikit-learn, which is not installed",
            got=str(error),
            do='pip install "gatewright[train]"',
        ) from error
    digits: Any = datasets.load_digits()
    labels: NDArray[np.int64] = np.asarray(digits.target, np.int64)

    def parted(rows: NDArray[np.int64], share: float) -> Any:
        size = round(share * len(labels))
        return model_selection.train_test_split(rows, test_size=size, random_state=seed, stratify=labels[rows])

    def examples(rows: NDArray[np.int64]) -> LabelledRows:
        pixels = np.asarray(digits.images[rows] / _BRIGHTEST, np.float32)  # (examples, row, pixel)
        return LabelledRows(np.ascontiguousarray(pixels.transpose(1, 0, 2)), labels[rows])

    rest, test_rows = parted(np.arange(len(labels)), test)
    train_rows, validation_rows = parted(rest, validation)
    return Splits(examples(train_rows), examples(validation_rows), examples(test_rows))
