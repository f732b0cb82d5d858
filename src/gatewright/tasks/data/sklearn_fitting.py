"""scikit-learn's linear models, fitted with a bounded number of iterations."""

import warnings
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_INVERSE_PENALTIES = (1.0, 3.0, 10.0, 30.0, 100.0)  # scikit-learn's C; its default is 1
_LEAST_PROBABILITY = 1e-12


class Labelled(NamedTuple):
    """Features (rows, features), sparse or dense, and the class of each row."""

    features: Any
    labels: NDArray[np.int64]


@contextmanager
def bounded_iterations() -> Generator[None]:
    """Within this, a fit that reaches its number of iterations does not warn: nearly converged is good enough."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


def validated_regression(train: Labelled, validation: Labelled) -> Any:
    """scikit-learn's logistic regression with the penalty that is best on the validation part.

    C grows from 1 to 100 for as long as accuracy or log-likelihood there gets better. Of all that were fitted, the most
    accurate is returned, and among equally accurate ones that with the highest log-likelihood.
    """
    from sklearn.linear_model import LogisticRegression

    best: tuple[tuple[float, float], Any] | None = None
    for penalty in _INVERSE_PENALTIES:
        # Each starts at zero: a warm start stops at once where the gradient is small, far from the optimum.
        with bounded_iterations():
            model = LogisticRegression(C=penalty, max_iter=300).fit(*train)
        reached = _reached(model, validation)
        if best is not None and all(now <= before for now, before in zip(reached, best[0], strict=True)):
            break
        if best is None or reached > best[0]:
            best = reached, model
    assert best is not None
    return best[1]


def _reached(model: Any, part: Labelled) -> tuple[float, float]:
    """Accuracy, and the mean logarithm of the probability of the right class."""
    probabilities, classes = model.predict_proba(part.features), model.classes_
    columns = np.searchsorted(classes, part.labels).clip(max=len(classes) - 1)
    of_label = probabilities[np.arange(len(part.labels)), columns] * (classes[columns] == part.labels)
    accuracy = float((classes[probabilities.argmax(1)] == part.labels).mean())
    return accuracy, float(np.log(of_label.clip(min=_LEAST_PROBABILITY)).mean())
