"""Bags of n-grams: their numbers, the classifier of them, and the baseline."""

import numpy as np
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from gatewright.tasks.data import Ragged
from gatewright.tasks.data.ngrams import FACTOR, MODULUS, fit_ngrams, ngrams, tfidf_accuracies

TEXTS = Ragged.join([np.array([3, 1, 2]), np.array([4]), np.array([1, 2])])
SYMBOLS, BUCKETS = 5, 97


def test_runs_stay_within_their_text() -> None:
    numbers, owners = ngrams(TEXTS.select([1, 0, 2]), 3, SYMBOLS, BUCKETS)
    pair, triple = (3 * FACTOR + 1) % MODULUS, ((3 * FACTOR + 1) * FACTOR + 2) % MODULUS
    other = (FACTOR + 2) % MODULUS
    hashed = [SYMBOLS + one % BUCKETS for one in (pair, other, other, triple)]
    assert numbers.tolist() == [4, 3, 1, 2, 1, 2, *hashed]
    assert owners.tolist() == [0, 1, 1, 1, 2, 2, 1, 1, 2, 1]


def test_the_scores_are_those_of_the_regression(rng: np.random.Generator) -> None:
    texts = Ragged.join([rng.integers(0, SYMBOLS, rng.integers(1, 9)) for _ in range(60)])
    labels = np.arange(60) % 3
    fitted = fit_ngrams(texts, labels, classes=3, longest=2, symbols=SYMBOLS, buckets=BUCKETS)
    numbers, owners = ngrams(texts, 2, SYMBOLS, BUCKETS)
    counts = sparse.csr_matrix((np.ones(len(numbers)), (owners, numbers)), (60, SYMBOLS + BUCKETS)).toarray()
    frequency = np.log(61 / (1 + (counts > 0).sum(0))) + 1
    features = counts * frequency / np.sqrt((counts * frequency**2).sum(1, keepdims=True))
    used = (counts > 0).any(0)
    model = LogisticRegression(C=10, max_iter=300).fit(features[:, used], labels)
    scores = counts @ fitted.weight / np.sqrt(counts @ fitted.energy)[:, None] + fitted.bias
    np.testing.assert_allclose(scores, model.decision_function(features[:, used]), atol=2e-3)
    assert not fitted.weight[~used].any()


def test_two_classes_and_one_that_no_text_has() -> None:
    labels = np.array([0, 2, 2])
    fitted = fit_ngrams(TEXTS, labels, classes=3, longest=1, symbols=SYMBOLS, buckets=BUCKETS)
    assert fitted.weight.shape == (SYMBOLS, 3)
    assert fitted.bias[1] == -1e4
    assert fitted.weight[3, 0] > 0 > fitted.weight[3, 2]


def test_the_baseline() -> None:
    train = ["good film", "bad film", "good one", "bad one"] * 3, np.array([1, 0, 1, 0] * 3)
    assert tfidf_accuracies(train, {"test": (["a good", "so bad"], np.array([1, 1]))}) == {"test": 0.5}
    assert tfidf_accuracies((["!", "?"], np.array([0, 1])), {"test": (["!"], np.array([0]))}) == {}
