"""The linear model of whole series: that of scikit-learn, with left-out answers as if each series had been left out."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from gatewright.tasks.data.ragged import LabelledSequences, Ragged
from gatewright.tasks.data.scaling import Scaling
from gatewright.tasks.data.sequences.linear import (
    LinearSeries,
    fit_linear_series,
    flattened,
    resampled,
    ridge,
    times_of,
)

CHANNELS = 2


def labelled(count: int, steps: int, labels: np.ndarray, classes: tuple[str, ...] = ()) -> LabelledSequences:
    values = np.random.default_rng(1).normal(size=(count, steps, CHANNELS)).astype(np.float32)
    return LabelledSequences(Ragged.join(list(values)), labels, classes)


@pytest.mark.parametrize(("series", "features"), [(12, 30), (40, 6)])
def test_answers_are_those_of_a_fit_without_the_series(series: int, features: int) -> None:
    draw = np.random.default_rng(0)
    read, targets = draw.normal(size=(series, features)), draw.normal(size=(series, 2))
    targets[:, 1] += 3 * read[:, 0]
    fit, left_out = ridge(read, targets, jointly=False)
    for target in range(2):

        def penalised(penalty: float, target: int = target) -> np.ndarray:
            rest = [np.arange(series) != place for place in range(series)]
            fits = [Ridge(penalty, solver="svd").fit(read[kept], targets[kept, target]) for kept in rest]
            return np.array([fit.predict(read[[place]])[0] for place, fit in enumerate(fits)])

        centred = read - read.mean(0)
        largest = np.linalg.eigvalsh(centred.T @ centred).max()
        every = [penalised(penalty) for penalty in np.logspace(-10, 1, 45) * largest]
        errors = [np.square(one - targets[:, target]).mean() for one in every]
        best = int(np.argmin(errors))
        # what is left out is not centred anew, which moves an answer by less than a penalty's step
        error = np.square(left_out[:, target] - targets[:, target]).mean()
        assert abs(error - errors[best]) < errors[best] / 10
    assert fit.weight.shape == (features, 2)


def test_series_of_any_length_are_read_at_equal_times() -> None:
    rows = Ragged.join([np.arange(5.0)[:, np.newaxis], np.array([[2.0], [4.0]]), np.array([[7.0]])])
    np.testing.assert_allclose(resampled(rows, 3)[..., 0], [[0, 2, 4], [2, 3, 4], [7, 7, 7]])
    assert times_of(rows) == 2
    np.testing.assert_array_equal(resampled(rows, 1)[..., 0], [[0], [2], [7]])


def test_a_regression_in_the_values_is_recovered() -> None:
    series = labelled(60, 4, np.zeros((60, 1), np.float32))
    scaling = Scaling.of(series.sequences.values)
    flat = flattened(series.sequences, 4, scaling)
    series = LabelledSequences(series.sequences, (flat[:, [3]] * 2 + 7).astype(np.float32), ())
    fit = fit_linear_series(series, 4, scaling)
    np.testing.assert_allclose(fit.weight[:, 0], 2.0 * (np.arange(8) == 3), atol=1e-5)
    assert fit.skill > 0.999


def test_scores_are_as_sharp_as_left_out_answers_bear_out() -> None:
    labels = np.random.default_rng(2).permutation(np.repeat([0, 1, 2], [10, 20, 30]))
    series = labelled(60, 4, labels, ("a", "b", "c"))
    scaling = Scaling.of(series.sequences.values)

    def probabilities(fit: LinearSeries) -> np.ndarray:
        scores = flattened(series.sequences, 4, scaling) @ fit.weight + fit.bias
        powers = np.exp(scores)
        return powers / powers.sum(1, keepdims=True)

    chance = fit_linear_series(series, 4, scaling)
    assert chance.skill < 0.1
    assert np.abs(probabilities(chance).mean(0) - [1 / 6, 1 / 3, 1 / 2]).max() < 0.02
    above = (flattened(series.sequences, 4, scaling)[:, 0] > 0).astype(np.int64)
    known = LabelledSequences(series.sequences, above, ("a", "b"))
    fit = fit_linear_series(known, 4, scaling)
    assert 0.5 < fit.skill < 1
    assert (probabilities(fit).argmax(1) == known.labels).mean() > 0.95
