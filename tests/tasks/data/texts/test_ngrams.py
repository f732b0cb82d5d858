"""Bags of n-grams: their numbers, the classifier of them, and the baseline."""

import numpy as np
from scipy import sparse

from gatewright.tasks.data.ragged import Ragged
from gatewright.tasks.data.sklearn_fitting import Labelled, validated_regression
from gatewright.tasks.data.texts.ngrams import FACTOR, MODULUS, fit_ngrams, ngrams, tfidf_accuracies

TEXTS = Ragged.join([np.array([3, 1, 2]), np.array([4]), np.array([1, 2])])
SYMBOLS, BUCKETS = 5, 97


def test_runs_stay_within_their_text() -> None:
    numbers, owners = ngrams(TEXTS.select([1, 0, 2]), 3, SYMBOLS, BUCKETS)
    pair, triple = (3 * FACTOR + 1) % MODULUS, ((3 * FACTOR + 1) * FACTOR + 2) % MODULUS
    other = (FACTOR + 2) % MODULUS
    hashed = [SYMBOLS + one % BUCKETS for one in (pair, other, other, triple)]
    assert numbers.tolist() == [4, 3, 1, 2, 1, 2, *hashed]
    assert owners.tolist() == [0, 1, 1, 1, 2, 2, 1, 1, 2, 1]


def _features(texts: Ragged, frequency: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    numbers, owners = ngrams(texts, 2, SYMBOLS, BUCKETS)
    counts = sparse.csr_matrix((np.ones(len(numbers)), (owners, numbers)), (len(texts), SYMBOLS + BUCKETS)).toarray()
    if frequency is None:
        frequency = np.log((1 + len(texts)) / (1 + (counts > 0).sum(0))) + 1
    return counts, frequency, counts * frequency / np.sqrt((counts * frequency**2).sum(1, keepdims=True))


def test_the_scores_are_those_of_the_regression_that_is_best_on_the_validation_part(rng: np.random.Generator) -> None:
    texts, tested = (Ragged.join([rng.integers(0, SYMBOLS, rng.integers(1, 9)) for _ in range(60)]) for _ in range(2))
    labels, wanted = (np.array([part[place][0] % 3 for place in range(60)]) for part in (texts, tested))
    sizes = {"classes": 3, "longest": 2, "symbols": SYMBOLS, "buckets": BUCKETS}
    fitted = fit_ngrams((texts, labels), (tested, wanted), **sizes)
    counts, frequency, features = _features(texts)
    used = (counts > 0).any(0)
    unseen = _features(tested, frequency)[2][:, used]
    model = validated_regression(Labelled(features[:, used], labels), Labelled(unseen, wanted))
    scores = counts @ fitted.weight / np.sqrt(counts @ fitted.energy)[:, None] + fitted.bias
    np.testing.assert_allclose(scores, model.decision_function(features[:, used]), atol=2e-3)
    assert not fitted.weight[~used].any()


def test_the_penalty_is_chosen_by_the_validation_part(rng: np.random.Generator) -> None:
    features = rng.normal(size=(200, 5))
    labels = (features[:, 0] > 0).astype(np.int64)
    clear = validated_regression(Labelled(features, labels), Labelled(features, labels))
    assert clear.C == 100
    noise = np.repeat([0, 1], 100)
    doubtful = validated_regression(Labelled(features, noise), Labelled(-features, noise))
    assert doubtful.C == 1


def test_a_validation_part_may_have_a_class_that_the_training_part_lacks() -> None:
    train = Labelled(np.array([[0.0], [1.0], [3.0]]), np.array([0, 0, 2]))
    model = validated_regression(train, Labelled(np.array([[0.0], [2.0], [3.0]]), np.array([0, 1, 3])))
    assert model.classes_.tolist() == [0, 2]


def test_two_classes_and_one_that_no_text_has() -> None:
    labels = np.array([0, 2, 2])
    part = TEXTS, labels
    fitted = fit_ngrams(part, part, classes=3, longest=1, symbols=SYMBOLS, buckets=BUCKETS)
    assert fitted.weight.shape == (SYMBOLS, 3)
    assert fitted.bias[1] == -1e4
    assert fitted.weight[3, 0] > 0 > fitted.weight[3, 2]


def test_the_baseline() -> None:
    train = ["good film", "bad film", "good one", "bad one"] * 3, np.array([1, 0, 1, 0] * 3)
    measured = {"test": (["a good", "so bad"], np.array([1, 1]))}
    assert tfidf_accuracies(train, train, measured) == {"test": 0.5}
    empty = ["!", "?"], np.array([0, 1])
    assert tfidf_accuracies(empty, empty, {"test": (["!"], np.array([0]))}) == {}
