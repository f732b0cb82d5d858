"""A linear model of whole series, read at equally spaced times: a ridge regression that is fitted in closed form."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.tasks.data.ragged import LabelledSequences, Ragged
from gatewright.tasks.data.scaling import Scaling

Floats = NDArray[np.float64]

_MOST_TIMES, _MOST_FEATURES = 1000, 2000
_MOST_NUMBERS = 20_000_000
"""In the features of all series that are fitted to: of more series every n-th is taken."""
_PENALTIES = np.logspace(-10, 1, 45)
"""Of the ridge regression, beside the largest variance of the features."""
_SHARPNESS = np.logspace(-1, 2.5, 43)


@dataclass(frozen=True, eq=False)
class LinearSeries:
    """`features @ weight + bias`, of features (series, times * channels), the first time's channels first.

    With classes these are logits, like those of a network; in a regression they are the targets.
    """

    weight: Floats  # (features, outputs)
    bias: Floats  # (outputs,)
    skill: float = 0.0
    """What share of the loss of an answer that is the same for all series is gone, in series that were left out: the
    mean negative logarithm of the right class's probability, or the squared error. 0 is no better."""


def times_of(series: Ragged) -> int:
    """At how many times a linear model reads series: their median length, up to a limit."""
    most = min(_MOST_TIMES, max(1, _MOST_FEATURES // series.values.shape[1]))
    return min(int(np.median(series.lengths)), most)


def resampled(sequences: Ragged, times: int) -> Floats:
    """Each series at so many equally spaced times, by linear interpolation: (series, times, channels)."""
    values = np.empty((len(sequences), times, sequences.values.shape[1]))
    for place in range(len(sequences)):
        series = sequences[place]
        before, share = np.divmod(np.arange(times) * (len(series) - 1), max(times - 1, 1))
        after = np.minimum(before + 1, len(series) - 1)
        weight = share[:, np.newaxis] / max(times - 1, 1)
        values[place] = series[before] * (1 - weight) + series[after] * weight
    return values


def flattened(sequences: Ragged, times: int, scaling: Scaling) -> Floats:
    """The features of a linear model, (series, times * channels), each channel standardised."""
    scaled = (resampled(sequences, times) - scaling.mean) / scaling.deviation
    return scaled.reshape(len(sequences), -1)


def fit_linear_series(series: LabelledSequences, times: int, scaling: Scaling) -> LinearSeries:
    """The ridge regression with the penalty that is best in leave-one-out cross-validation.

    With classes it is fitted one against the rest. Its scores are scaled to log-probabilities, so that the left-out
    answers have the highest likelihood.
    """
    features = times * series.sequences.values.shape[1]
    series = series.select(np.arange(0, len(series), -(-len(series) * features // _MOST_NUMBERS)))
    read = flattened(series.sequences, times, scaling)
    if not series.classes:
        targets = series.labels.astype(np.float64)
        fit, left_out = ridge(read, targets, jointly=False)
        return replace(
            fit, skill=_skill(np.square(left_out - targets).sum(0), np.square(targets - targets.mean(0)).sum(0))
        )
    targets = np.eye(len(series.classes))[series.labels]
    share = targets.mean(0)
    fit, left_out = ridge(read, targets, jointly=True)
    prior = np.log(np.maximum(share, 1 / len(series) ** 2))
    surprises = [_surprise(sharpness * (left_out - share) + prior, series.labels) for sharpness in _SHARPNESS]
    best, sharpness = min(surprises), _SHARPNESS[int(np.argmin(surprises))]
    same = _surprise(np.broadcast_to(prior, targets.shape), series.labels)
    return LinearSeries(sharpness * fit.weight, sharpness * (fit.bias - share) + prior, _skill(best, same))


def _skill(losses: Any, of_one_answer: Any) -> float:
    """The mean over targets, from 0 to 1."""
    return float(np.clip(1 - losses / np.maximum(of_one_answer, np.finfo(np.float64).tiny), 0, 1).mean())


def _surprise(scores: Floats, labels: NDArray[np.int64]) -> float:
    """The mean of -log p of the right classes, as if one series more had been answered wrongly.

    Otherwise few series that are all told apart would make the scores as sharp as can be.
    """
    shifted = scores - scores.max(1, keepdims=True)
    losses = np.log(np.exp(shifted).sum(1, keepdims=True)) - shifted
    wrong = losses.mean() / (len(labels) + 1)
    return float(losses[np.arange(len(labels)), labels].mean() + wrong)


def ridge(features: Floats, targets: Floats, *, jointly: bool) -> tuple[LinearSeries, Floats]:
    """The regression, and its answers for each series from all others: (series, targets).

    A penalty is chosen for each target, or one for all of them `jointly`.
    """
    level, mean = targets.mean(0), features.mean(0)
    centred = features - mean
    left, values = _decomposed(centred)
    along, best, kept, left_out = left.T @ (targets - level), np.inf, np.zeros(targets.shape[1]), np.zeros_like(targets)
    for penalty in _PENALTIES * values.max(initial=0):
        shrunk = values / (values + penalty) if penalty else np.zeros_like(values)
        own = (left**2 @ shrunk + 1 / len(features))[:, np.newaxis]  # how much of each answer is its own target
        answers = left @ (shrunk[:, np.newaxis] * along) + level
        answers = (answers - own * targets) / np.maximum(1 - own, 1e-9)
        error = np.square(answers - targets).mean(None if jointly else 0)
        better = np.broadcast_to(error < best, kept.shape)
        best, kept, left_out = (
            np.minimum(error, best),
            np.where(better, penalty, kept),
            np.where(better, answers, left_out),
        )
    inverse = np.where(kept > 0, 1 / (values[:, np.newaxis] + np.where(kept > 0, kept, 1)), 0)
    weight = centred.T @ (left @ (inverse * along))
    return LinearSeries(weight, level - mean @ weight), left_out


def _decomposed(features: Floats) -> tuple[Floats, Floats]:
    """The left singular vectors (series, rank), and the squares of the singular values (rank,)."""
    series, count = features.shape
    values, vectors = np.linalg.eigh(features @ features.T if series <= count else features.T @ features)
    present = values > 1e-12 * max(values.max(initial=0), np.finfo(np.float64).tiny)
    values, vectors = values[present], vectors[:, present]
    return (vectors if series <= count else features @ vectors / np.sqrt(values)), values
