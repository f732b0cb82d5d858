"""What a simple method reaches on labelled sounds: a logistic regression on mean and deviation of each band."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from gatewright.tasks.data.ragged import LabelledSequences


def reached_by_levels(
    train: LabelledSequences, measured: Mapping[str, LabelledSequences]
) -> Mapping[str, Mapping[str, float]]:
    """By part: the accuracy of scikit-learn's logistic regression on each band's mean and deviation over time."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

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
