"""What simple methods reach on labelled time series: a ridge regression, and the nearest neighbour or the mean."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from gatewright.tasks.data import LabelledSequences, Scaling
from gatewright.tasks.data.linear_series import flattened

_LONGEST = 1000  # steps that are compared one by one
_PENALTIES = np.logspace(-5, 5, 21)
_MOST = 5000  # series to train on that are compared with

Array = NDArray[np.float64]


def reached(
    train: LabelledSequences, measured: Mapping[str, LabelledSequences], scaling: Scaling
) -> Mapping[str, Mapping[str, float]]:
    """By part and method: the accuracy, or of a regression the root of the mean squared error.

    Channels are standardised by the training part. Series of different lengths, or of more than 1,000 steps, are
    resampled to the median length, 1,000 at most; no more than the first 5,000 series to train on are compared with.
    """
    steps = min(int(np.median(train.sequences.lengths)), _LONGEST)
    train = train.select(np.arange(min(len(train), _MOST)))
    flat = {name: flattened(part.sequences, steps, scaling) for name, part in (("", train), *measured.items())}
    methods = _classifiers if train.classes else _regressions
    return {
        name: methods(flat[""], train.labels, flat[name], part.labels) for name, part in measured.items() if len(part)
    }


def _classifiers(train: Array, labels: NDArray[np.int64], part: Array, wanted: NDArray[np.int64]) -> dict[str, float]:
    from sklearn.linear_model import RidgeClassifierCV
    from sklearn.neighbors import KNeighborsClassifier

    models = {"1-nearest neighbour": KNeighborsClassifier(1), "ridge regression": RidgeClassifierCV(_PENALTIES)}
    return {
        f"accuracy of {name}": float((model.fit(train, labels).predict(part) == wanted).mean())
        for name, model in models.items()
    }


def _regressions(train: Array, targets: Array, part: Array, wanted: Array) -> dict[str, float]:
    from sklearn.linear_model import RidgeCV

    ridge = RidgeCV(_PENALTIES).fit(train, targets)
    answers = {"ridge regression": ridge.predict(part).reshape(wanted.shape), "the mean": targets.mean(0)}
    return {f"rmse of {name}": float(np.sqrt(np.mean((answer - wanted) ** 2))) for name, answer in answers.items()}
