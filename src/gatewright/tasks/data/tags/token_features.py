"""Features of tokens: the token itself, its prefixes and suffixes, and its shape, as numbers.

Beginnings and endings tell of words that were not in the training data what characters would (Ma & Hovy 2016,
1603.01354, and Lample et al. 2016, 1603.01360, read characters for it), and a stranger can compute them in a few lines.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.tasks.data.texts.vocabulary import UNKNOWN

FEATURES = ("word", "lower", "prefix1", "prefix2", "prefix3", "suffix1", "suffix2", "suffix3", "suffix4", "shape")
RULES: Mapping[str, str] = {
    "word": "the token as it is written",
    "lower": "the token in lower case, with every digit as 0",
    "prefixN": "the first N characters of `lower`, or all of it where it is shorter",
    "suffixN": "the last N characters of `lower`, or all of it where it is shorter",
    "shape": "the token with X for an upper-case letter, x for a lower-case letter, d for a digit and every other "
    "character as it is; three and more equal characters in a row are written as two",
    "symbol": "NAME=VALUE, such as suffix2=ed; where the vocabulary has no such symbol, NAME=<unk>",
}
"""How the features are computed: a part of a model's signature."""

_DIGIT = re.compile(r"\d")
_RUN = re.compile(r"(.)\1{2,}", re.DOTALL)


def features_of(token: str) -> tuple[str, ...]:
    """The symbols of a token, in the order of FEATURES: features_of("Added")[6] == "suffix2=ed"."""
    lower = lowered(token)
    beginnings = (lower[:length] for length in (1, 2, 3))
    endings = (lower[-length:] for length in (1, 2, 3, 4))
    shape = _RUN.sub(r"\1\1", "".join(map(_kind, token)))
    values = (token, lower, *beginnings, *endings, shape)
    return tuple(f"{name}={value}" for name, value in zip(FEATURES, values, strict=True))


def lowered(token: str) -> str:
    """In lower case, with every digit as 0."""
    return _DIGIT.sub("0", token.lower())


def _kind(character: str) -> str:
    if character.isupper():
        return "X"
    if character.islower():
        return "x"
    return "d" if character.isdigit() else character


class FeatureVocabulary:
    """The symbols that have a number; the first ones, NAME=<unk>, stand for all others of their name."""

    def __init__(self, symbols: Sequence[str]) -> None:
        self.symbols = tuple(symbols)
        self._numbers = {symbol: number for number, symbol in enumerate(self.symbols)}
        self._tokens: dict[str, tuple[int, ...]] = {}

    @classmethod
    def from_sentences(
        cls, sentences: Iterable[Sequence[str]], *, least: int, words: Iterable[str] = ()
    ) -> "FeatureVocabulary":
        """The symbols that occur `least` times; the most frequent first, equally frequent ones by their letters.

        After them are further `words` in lower case, which something else tells of.
        """
        tokens = Counter(token for sentence in sentences for token in sentence)
        counts: Counter[str] = Counter()
        for token, count in tokens.items():
            for symbol in features_of(token):
                counts[symbol] += count
        unknown = [f"{name}={UNKNOWN}" for name in FEATURES]
        chosen = sorted((s for s, count in counts.items() if count >= least), key=lambda s: (-counts[s], s))
        further = (f"lower={word}" for word in words)
        return cls(tuple(dict.fromkeys((*unknown, *chosen, *further))))

    def __len__(self) -> int:
        return len(self.symbols)

    def encode(self, tokens: Iterable[str]) -> NDArray[np.int64]:
        """The numbers of the features of each token, (tokens, features)."""
        return np.array([self._of_token(token) for token in tokens], np.int64).reshape(-1, len(FEATURES))

    def numbers_of_lower(self, words: Iterable[str]) -> NDArray[np.int64]:
        """The numbers of words that are known in lower case."""
        return np.array([self._numbers[f"lower={word}"] for word in words], np.int64)

    def knows(self, token: str) -> bool:
        """Whether the token itself has a number."""
        return f"word={token}" in self._numbers

    def _of_token(self, token: str) -> tuple[int, ...]:
        numbers: Any = self._tokens.get(token)
        if numbers is None:
            features = features_of(token)
            numbers = tuple(self._numbers.get(symbol, place) for place, symbol in enumerate(features))
            self._tokens[token] = numbers
        return numbers
