"""Vectors of words that others have trained: text files of word2vec, fastText (.vec) and GloVe, packed or not."""

from collections.abc import Container, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import DataError
from gatewright.tasks.data.reading import text_lines
from gatewright.tasks.data.tags.token_features import lowered
from gatewright.tasks.data.texts.vocabulary import WordVocabulary


class WordVectors(NamedTuple):
    """The vectors of those words of a vocabulary that a file has."""

    numbers: NDArray[np.int64]  # (known words,), of the words in the vocabulary
    values: NDArray[np.float32]  # (known words, dimension)

    @property
    def dimension(self) -> int:
        """The numbers in each vector."""
        return self.values.shape[1]


def read_word_vectors(path: Path, vocabulary: WordVocabulary) -> WordVectors:
    """The vectors of a vocabulary's words: a file has a word and its numbers in each line, with spaces between.

    A first line of two whole numbers (how many words, how many numbers each) may stand before them. Of a word that
    occurs twice the first vector counts. Raises DataError, with the line, where a line is of another kind or length,
    and where the file has no word of the vocabulary.
    """
    known: dict[int, NDArray[np.float32]] = {}
    for number, word, fields in _words(path):
        if word in vocabulary and (place := vocabulary.number(word)) not in known:
            known[place] = _vector(path, number, fields)
    if not known:
        raise DataError(
            f"{path} has a vector for none of the {len(vocabulary)} words of the training texts",
            expected="words as the texts are divided into: " + ", ".join(vocabulary.symbols[1:6]),
            do="give vectors of the language of the texts, or another tokenise",
            shell="give vectors of the language of the texts, or another --set tokenise=...",
        )
    return WordVectors(np.array([*known], np.int64), np.stack([*known.values()]))


def read_lower_vectors(path: Path, words: Container[str], *, also: int) -> dict[str, NDArray[np.float32]]:
    """The vectors of those words and of the file's first words, `also` of them, each by its `lowered` form.

    The first word in the file counts where several have the same form. Files and errors are those of
    `read_word_vectors`, but a file without any of the words is accepted.
    """
    known: dict[str, NDArray[np.float32]] = {}
    for place, (number, word, fields) in enumerate(_words(path)):
        if (lower := lowered(word)) not in known and (place < also or lower in words):
            known[lower] = _vector(path, number, fields)
    return known


def _words(path: Path) -> Iterator[tuple[int, str, list[str]]]:
    """The number of each line, its word, and the texts of the numbers after it."""
    if not path.is_file():
        raise DataError(f"there is no file of word vectors {path}", do="give the path of a .vec or GloVe text file")
    dimension = 0
    for number, line in enumerate(text_lines(path), 1):
        if not line.strip():
            continue
        fields = line.rstrip().split(" ")
        if number == 1 and len(fields) == 2 and all(field.isdecimal() for field in fields):
            dimension = int(fields[1])
            continue
        dimension = dimension or len(fields) - 1
        if dimension < 1 or len(fields) <= dimension:  # a word may hold spaces itself
            raise DataError(
                f"{path}, line {number}: this is no vector of a word",
                expected=f"a word and {dimension or 'its'} numbers, with spaces between",
                got=f"{len(fields)} fields: {line.strip()[:60]!r}",
            )
        yield number, " ".join(fields[:-dimension]), fields[-dimension:]


def _vector(path: Path, line: int, fields: list[str]) -> NDArray[np.float32]:
    try:
        values = np.array(fields, np.float32)
    except ValueError:
        values = np.array([np.nan], np.float32)
    if not np.isfinite(values).all():
        raise DataError(
            f"{path}, line {line}: a vector holds what is no finite number",
            expected=f"{len(fields)} numbers after the word",
            got=" ".join(fields)[:60],
        )
    return values
