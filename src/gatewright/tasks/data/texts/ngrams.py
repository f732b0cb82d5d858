"""Bags of n-grams: runs of up to n symbols by number, and a linear classifier of them that is fitted at once.

A single symbol has its own number. Longer runs share `buckets` numbers by a hash, so that nothing but the symbols has
to be kept to read a text (Weinberger et al. 2009, 0902.2206; Joulin et al. 2016, 1607.01759).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.tasks.data.ragged import Numbers, Ragged
from gatewright.tasks.data.sklearn_fitting import Labelled, validated_regression

FACTOR, MODULUS = 1_000_003, (1 << 31) - 1
"""The hash of a run is (FACTOR * hash of all but its last symbol + the last symbol) mod MODULUS, and that mod buckets;
of one symbol it is its number. All products fit into 64 bits."""


@dataclass(frozen=True, eq=False)
class NgramScores:
    """A linear classifier of bags of n-grams.

    The scores of a text are sum(weight[i]) / sqrt(sum(energy[i])) + bias, over the numbers i of its n-grams: those of a
    multinomial logistic regression on TF-IDF. The norm counts an n-gram as often as it occurs.
    """

    weight: NDArray[np.float32]  # (n-grams, classes)
    energy: NDArray[np.float32]  # (n-grams,), the squares of their inverse document frequencies
    bias: NDArray[np.float32]  # (classes,)


def ngrams(texts: Ragged, longest: int, symbols: int, buckets: int) -> tuple[Numbers, Numbers]:
    """The numbers of all n-grams of all texts, and for each the text that it is of."""
    packed = texts.compact()
    rows = np.repeat(np.arange(len(packed)), packed.lengths)
    values = packed.values.astype(np.int64)
    left = np.repeat(packed.starts + packed.lengths, packed.lengths) - np.arange(len(values))  # steps up to the end
    numbers, owners, hashed = [values], [rows], values
    for size in range(2, longest + 1):
        hashed = (hashed[:-1] * FACTOR + values[size - 1 :]) % MODULUS
        whole = left[: len(hashed)] >= size
        numbers.append(symbols + hashed[whole] % buckets)
        owners.append(rows[: len(hashed)][whole])
    return np.concatenate(numbers), np.concatenate(owners)


def fit_ngrams(
    train: tuple[Ragged, Numbers],
    validation: tuple[Ragged, Numbers],
    *,
    classes: int,
    longest: int,
    symbols: int,
    buckets: int,
) -> NgramScores:
    """The classifier of texts to train on, (steps,) of symbols each, and their classes; see `validated_regression`."""
    total = symbols + (buckets if longest > 1 else 0)
    counts, tested = (
        _counts(ngrams(part, longest, symbols, buckets), len(part), total) for part, _ in (train, validation)
    )
    documents = np.bincount(counts.indices, minlength=total)
    frequency = np.log((1 + len(train[0])) / (1 + documents)) + 1
    used = np.flatnonzero(documents)
    model = validated_regression(
        Labelled(_weighted(counts, frequency, used), train[1]),
        Labelled(_weighted(tested, frequency, used), validation[1]),
    )
    weight = np.zeros((total, classes), np.float32)
    bias = np.full(classes, -1e4, np.float32)  # of a class without a text
    known, coefficients, intercepts = model.classes_, model.coef_, model.intercept_
    if len(known) == 2:  # one row tells both
        coefficients, intercepts = np.outer([-0.5, 0.5], coefficients), np.outer([-0.5, 0.5], intercepts).ravel()
    weight[np.ix_(used, known)] = coefficients.T * frequency[used, None]
    bias[known] = intercepts
    return NgramScores(weight, (frequency**2).astype(np.float32), bias)


def _counts(numbered: tuple[Numbers, Numbers], texts: int, total: int) -> Any:
    from scipy import sparse

    numbers, owners = numbered
    return sparse.csr_matrix((np.ones(len(numbers)), (owners, numbers)), (texts, total))


def _weighted(counts: Any, frequency: NDArray[np.float64], used: Numbers) -> Any:
    """The TF-IDF of the n-grams that occur in the texts to train on; the norm is of all n-grams, as in a network."""
    from scipy import sparse

    norms = np.sqrt(np.asarray(counts @ frequency**2).ravel())
    return sparse.diags(1 / norms) @ counts[:, used].multiply(frequency[used]).tocsr()


def tfidf_accuracies(
    train: tuple[list[str], Numbers],
    validation: tuple[list[str], Numbers],
    measured: Mapping[str, tuple[list[str], Numbers]],
) -> dict[str, float]:
    """What scikit-learn's TF-IDF of words and pairs of them with logistic regression reaches, by part.

    The penalty is chosen by the validation part, as `validated_regression` does. The result is empty where the training
    texts hold no word.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer: Any = TfidfVectorizer(ngram_range=(1, 2))
    try:
        features = vectorizer.fit_transform(train[0])
    except ValueError as error:
        if "empty vocabulary" not in str(error):
            raise
        return {}
    model = validated_regression(
        Labelled(features, train[1]), Labelled(vectorizer.transform(validation[0]), validation[1])
    )
    return {part: float(model.score(vectorizer.transform(texts), labels)) for part, (texts, labels) in measured.items()}
