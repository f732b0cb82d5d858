"""What simple methods reach on labelled series and sounds: linear models, the nearest neighbour, the mean."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.tasks.data.ragged import LabelledSequences
from gatewright.tasks.data.sequences.linear import flattened
from gatewright.tasks.run_data import Data

_LONGEST = 1000  # steps that are compared one by one
_PENALTIES = np.logspace(-5, 5, 21)
_MOST = 5000  # series to train on that are compared with
_MOST_WORK = 10**10  # of a ridge regression: series times squared features
_FEWEST = 4  # series for a ridge regression, which leaves out each in turn

Array = NDArray[np.float64]
Methods = Mapping[str, Callable[[Array], Array]]


def _examples(data: Data) -> tuple[LabelledSequences, dict[str, LabelledSequences]]:
    """The training part, and those that are measured."""
    parts: dict[str, Any] = {name: data.parts[name] for name in ("train", *data.measured)}
    examples: dict[str, LabelledSequences] = {name: part.examples for name, part in parts.items()}
    return examples.pop("train"), examples


def reached(data: Data) -> Mapping[str, Mapping[str, float]]:
    """By part and method: the accuracy, or of a regression the root of the mean squared error.

    Channels are standardised by the training part. Series of different lengths, or of more than 1,000 steps, are
    resampled to the median length, 1,000 at most; no more than the first 5,000 series to train on are compared with,
    and of many features fewer by a ridge regression.
    """
    (train, measured), scaling = _examples(data), data.scaling
    assert scaling is not None
    steps = min(int(np.median(train.sequences.lengths)), _LONGEST)
    train = train.select(np.arange(min(len(train), _MOST)))
    flat = flattened(train.sequences, steps, scaling)
    methods = _classifiers(flat, train.labels) if train.classes else _regressions(flat, train.labels)
    measure = "accuracy" if train.classes else "rmse"
    return {
        name: {
            f"{measure} of {method}": _measured(measure, answer(flattened(part.sequences, steps, scaling)), part.labels)
            for method, answer in methods.items()
        }
        for name, part in measured.items()
        if len(part)
    }


def _measured(measure: str, answers: Array, wanted: NDArray[Any]) -> float:
    if measure == "accuracy":
        return float((answers == wanted).mean())
    return float(np.sqrt(np.mean(np.square(answers.reshape(wanted.shape) - wanted))))


def _classifiers(train: Array, labels: NDArray[np.int64]) -> Methods:
    from sklearn.linear_model import RidgeClassifierCV
    from sklearn.neighbors import KNeighborsClassifier

    nearest: Any = KNeighborsClassifier(1).fit(train, labels)
    return {"1-nearest neighbour": nearest.predict, **_ridge(RidgeClassifierCV(_PENALTIES), train, labels)}


def _regressions(train: Array, targets: Array) -> Methods:
    from sklearn.linear_model import RidgeCV

    mean = targets.mean(0)
    return {
        **_ridge(RidgeCV(_PENALTIES), train, targets),
        "the mean": lambda part: np.broadcast_to(mean, (len(part), len(mean))),
    }


def _ridge(model: Any, train: Array, labels: NDArray[Any]) -> Methods:
    few = slice(max(_FEWEST, _MOST_WORK // train.shape[1] ** 2))
    if len(train) < _FEWEST or len(np.unique(labels[few], axis=0)) < 2:
        return {}
    return {"ridge regression": model.fit(train[few], labels[few]).predict}


def reached_by_levels(data: Data) -> Mapping[str, Mapping[str, float]]:
    """By part: the accuracy of scikit-learn's logistic regression on each band's mean and deviation over time."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    train, measured = _examples(data)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000)).fit(_levels(train), train.labels)
    name = "accuracy of logistic regression on means and deviations"
    return {
        part: {name: float((model.predict(_levels(sounds)) == sounds.labels).mean())}
        for part, sounds in measured.items()
    }


def _levels(sounds: LabelledSequences) -> NDArray[np.float64]:
    """(sounds, 2 * bands)."""
    features = [sounds.sequences[place].astype(np.float64) for place in range(len(sounds))]
    return np.array([np.concatenate([sound.mean(0), sound.std(0)]) for sound in features])
