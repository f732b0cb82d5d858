"""Files of word vectors: both formats, packed or not, and lines that are none."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from gatewright.errors import DataError
from gatewright.tasks.data.texts.vocabulary import WordVocabulary
from gatewright.tasks.data.texts.word_vectors import read_word_vectors

VOCABULARY = WordVocabulary(["the", "film", ". .", "unheard"])
LINES = "the 1 2.5 -3\nother 0 0 0\n. . 4 5e-1 6\nfilm 7 8 9\nthe 0 0 0\n"


@pytest.mark.parametrize("header", ["", "5 3\n"])
@pytest.mark.parametrize("name", ["words.vec", "words.txt.gz"])
def test_the_vectors_of_known_words(header: str, name: str, tmp_path: Path) -> None:
    content = (header + LINES).encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    found = read_word_vectors(tmp_path / name, VOCABULARY)
    assert [VOCABULARY.symbols[one] for one in found.numbers] == ["the", ". .", "film"]
    np.testing.assert_array_equal(found.values, np.array([[1, 2.5, -3], [4, 0.5, 6], [7, 8, 9]], np.float32))
    assert found.dimension == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "the 1 2\nfilm 3\n",
            (
                "{}, line 2: this is no vector of a word\n  expected: a word and 2 numbers, with spaces between\n"
                "  got: 2 fields: 'film 3'"
            ),
        ),
        (
            "2 2\nthe 1 2\nfilm 3 x\n",
            "{}, line 3: a vector holds what is no finite number\n  expected: 2 numbers after the word\n  got: 3 x",
        ),
        (
            "le 1 2\n",
            (
                "{} has a vector for none of the 5 words of the training texts\n"
                "  expected: words as the texts are divided into: the, film, . ., unheard\n"
                "  do: give vectors of the language of the texts, or another tokenise"
            ),
        ),
    ],
)
def test_what_is_no_vector(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "words.vec"
    path.write_text(content)
    with pytest.raises(DataError) as caught:
        read_word_vectors(path, VOCABULARY)
    assert str(caught.value) == message.format(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no file of word vectors"):
        read_word_vectors(tmp_path / "none.vec", VOCABULARY)
