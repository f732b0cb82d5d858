"""Baselines of taggers: the most frequent tag of each token, and a logistic regression on the tokens around it."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gatewright.tasks.data.sklearn_fitting import bounded_iterations
from gatewright.tasks.data.tags.schemes import entities_of
from gatewright.tasks.run_data import Data
from gatewright.tasks.tagging.objective import Tags

Numbers = NDArray[np.int64]

_AROUND = (-2, -1, 0, 1, 2)  # the places that the regression sees, from that of the tag
_NONE = -1  # what stands before the first and after the last step
_PASSES = 5
_ROWS_AROUND = (-16, -8, -4, -2, -1, 0, 1, 2, 4, 8, 16)
_MOST_ROWS = 50_000  # that the regression of channels learns from
_PADDING = Tags.padding


class _Steps(NamedTuple):
    """The steps of a part, one after the other, and how many each sequence has."""

    symbols: Numbers  # (steps, features)
    tags: Numbers  # (steps,)
    lengths: Numbers  # (sequences,)

    @classmethod
    def of(cls, batches: Any) -> "_Steps":
        inputs, targets = batches.inputs, batches.targets
        return cls(inputs.compact().values, targets.compact().values, inputs.lengths)


def token_baselines(data: Data) -> Mapping[str, Mapping[str, float]]:
    """By part: the accuracy, or the F1 of entities if tags mark them, of two methods fitted to the training part.

    The first gives each token its most frequent tag, and unknown tokens the most frequent tag of all. The second is a
    multinomial logistic regression, trained by stochastic gradient descent, on all features of the token and of two
    tokens to each side.
    """
    steps = {name: _Steps.of(data.parts[name]) for name in ("train", *data.measured)}
    classes = data.sizes.classes or ()
    measure = "f1" if data.signature["scheme"] != "none" else "accuracy"
    counted = _most_frequent(steps["train"])
    regression = _regression(steps["train"])
    answers = {
        name: {"most frequent tag": counted(part), "logistic regression": regression(part)}
        for name, part in steps.items()
        if name != "train"
    }
    return {
        name: {
            f"{measure} of {method}": _measured(measure, predicted, steps[name], classes)
            for method, predicted in predictions.items()
        }
        for name, predictions in answers.items()
    }


def _most_frequent(train: _Steps) -> Any:
    words, tags = train.symbols[:, 0], train.tags
    count = int(tags.max()) + 1
    table = np.zeros((int(words.max()) + 2, count), np.int64)
    np.add.at(table, (words, tags), 1)
    best = np.where(table.any(1), table.argmax(1), np.bincount(tags).argmax())
    return lambda part: best[np.minimum(part.symbols[:, 0], len(best) - 1)]


def _regression(train: _Steps) -> Any:
    from sklearn.linear_model import SGDClassifier
    from sklearn.preprocessing import OneHotEncoder

    encoders: Any = OneHotEncoder  # their types know neither float32 nor a tolerance of None
    models: Any = SGDClassifier
    encoder = encoders(handle_unknown="ignore", dtype=np.float32)
    model = models(loss="log_loss", alpha=1e-6, max_iter=_PASSES, tol=None, average=True, random_state=0)
    with bounded_iterations():
        model.fit(encoder.fit_transform(_with_neighbours(train)), train.tags)
    return lambda part: model.predict(encoder.transform(_with_neighbours(part)))


def _with_neighbours(part: _Steps) -> Numbers:
    """(steps, places around * features): the features at each place around a step, within its sequence."""
    steps, last = np.arange(len(part.symbols)), np.repeat(np.cumsum(part.lengths), part.lengths) - 1
    first = np.repeat(np.cumsum(part.lengths) - part.lengths, part.lengths)
    columns: list[Numbers] = []
    for place in _AROUND:
        at = steps + place
        inside = (at >= first) & (at <= last)
        columns.append(np.where(inside[:, None], part.symbols[np.where(inside, at, 0)], _NONE))
    return np.concatenate(columns, 1)


def _measured(measure: str, predicted: Numbers, part: _Steps, classes: Sequence[str]) -> float:
    if measure == "accuracy":
        return float((predicted == part.tags).mean())
    right = total = 0
    ends = np.cumsum(part.lengths)[:-1]
    for rows in zip(np.split(predicted, ends), np.split(part.tags, ends), strict=True):
        guessed, present = (set(entities_of([classes[int(tag)] for tag in row])) for row in rows)
        right, total = right + len(guessed & present), total + len(guessed) + len(present)
    return 2 * right / total if total else 0.0


def channel_baselines(data: Data) -> Mapping[str, Mapping[str, float]]:
    """By part: the accuracy of the most frequent label, and of multinomial logistic regression on the rows around."""
    train = _rows_around(data.parts["train"], data.scaling)
    most, regression = int(np.bincount(train[1]).argmax()), _logistic(*train)
    accuracies: dict[str, dict[str, float]] = {}
    for name in data.measured:
        rows, labels = _rows_around(data.parts[name], data.scaling)
        accuracies[name] = {
            "accuracy of most frequent label": float((labels == most).mean()),
            "accuracy of logistic regression": float((regression(rows) == labels).mean()),
        }
    return accuracies


def _logistic(rows: NDArray[np.float32], labels: Numbers) -> Any:
    from sklearn.linear_model import LogisticRegression

    chosen = np.random.default_rng(0).permutation(len(rows))[:_MOST_ROWS]
    if len(np.unique(labels[chosen])) < 2:
        return lambda part: np.full(len(part), labels[chosen[0]])
    model = LogisticRegression(max_iter=200)
    with bounded_iterations():
        model.fit(rows[chosen], labels[chosen])
    return model.predict


def _rows_around(batches: Any, scaling: Any) -> tuple[NDArray[np.float32], Numbers]:
    """For each labelled row: its standardised channels, and those of the rows around it in its window."""
    inputs, targets = batches.inputs.compact(), batches.targets.compact().values
    values = scaling.apply(inputs.values)
    first, last = (np.repeat(places, inputs.lengths) for places in (inputs.starts, inputs.starts + inputs.lengths - 1))
    steps = np.arange(len(values))
    around = [values[np.clip(steps + place, first, last)] for place in _ROWS_AROUND]
    answered = targets != _PADDING
    return np.concatenate(around, 1)[answered], targets[answered]
