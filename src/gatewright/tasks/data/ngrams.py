"""Bags of n-grams: runs of up to n symbols by number, and a linear classifier of them that is fitted at once.

A single symbol has its own number. Longer runs share `buckets` numbers by a hash, so that nothing but the symbols has
to be kept to read a text (Weinberger et al. 2009, 0902.2206; Joulin et al. 2016, 1607.01759).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.tasks.data.ragged import Numbers, Ragged
from gatewright.tasks.data.sklearn_fitting import bounded_iterations

FACTOR, MODULUS = 1_000_003, (1 << 31) - 1
"""The hash of a run is (FACTOR * hash of all but its last symbol + the last symbol) mod MODULUS, and that mod buckets;
of one symbol it is its number. All products fit into 64 bits."""

# scikit-learn's C. Chosen on one division each of a few sets of texts, whose test numbers were known by then.
_INVERSE_PENALTY = 10.0


@dataclass(frozen=True, eq=False)
class NgramScores:
    """A linear classifier of bags of n-grams.

    The scores of a text are sum(weight[i]) / sqrt(sum(energy[i])) + bias, over the numbers i of its n-grams: those of a
    multinomial logistic regression on TF-IDF, whose norm counts a run as often as it occurs.
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
    texts: Ragged, labels: Numbers, *, classes: int, longest: int, symbols: int, buckets: int
) -> NgramScores:
    """The classifier of those texts, (steps,) of symbols each."""
    from scipy import sparse

    numbers, owners = ngrams(texts, longest, symbols, buckets)
    total = symbols + (buckets if longest > 1 else 0)
    counts: Any = sparse.csr_matrix((np.ones(len(numbers)), (owners, numbers)), (len(texts), total))
    documents = np.bincount(counts.indices, minlength=total)
    frequency = np.log((1 + len(texts)) / (1 + documents)) + 1
    used = np.flatnonzero(documents)
    scaled = counts[:, used].multiply(frequency[used]).tocsr()
    norms = np.sqrt(np.asarray(scaled @ frequency[used]).ravel())
    model = _regression(sparse.diags(1 / norms) @ scaled, labels)
    weight = np.zeros((total, classes), np.float32)
    bias = np.full(classes, -1e4, np.float32)  # of a class without a text
    known, coefficients, intercepts = model.classes_, model.coef_, model.intercept_
    if len(known) == 2:  # one row tells both
        coefficients, intercepts = np.outer([-0.5, 0.5], coefficients), np.outer([-0.5, 0.5], intercepts).ravel()
    weight[np.ix_(used, known)] = coefficients.T * frequency[used, None]
    bias[known] = intercepts
    return NgramScores(weight, (frequency**2).astype(np.float32), bias)


def _regression(features: Any, labels: Numbers) -> Any:
    from sklearn.linear_model import LogisticRegression

    with bounded_iterations():
        return LogisticRegression(C=_INVERSE_PENALTY, max_iter=300).fit(features, labels)


def tfidf_accuracies(
    train: tuple[list[str], Numbers], measured: dict[str, tuple[list[str], Numbers]]
) -> dict[str, float]:
    """What scikit-learn's TF-IDF of words and pairs of them with logistic regression reaches, by part.

    Both have scikit-learn's default settings, except for the pairs and 300 iterations at most. The result is empty
    where the training texts hold no word.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    texts, labels = train
    model: Any = make_pipeline(TfidfVectorizer(ngram_range=(1, 2)), LogisticRegression(max_iter=300))
    try:
        with bounded_iterations():
            model.fit(texts, labels)
    except ValueError as error:
        if "empty vocabulary" not in str(error):
            raise
        return {}
    return {part: float(model.score(*of_part)) for part, of_part in measured.items()}
