"""Words: found in texts, numbered by frequency."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewright.errors import DataError, OptionError
from gatewright.tasks.data.texts.vocabulary import END_OF_LINE, TOKENISERS, WordVocabulary, plain_words, tokeniser

COUNTS = {"b": 3, "a": 3, "c": 5, "d": 1, "<unk>": 2}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("It's 5 o'clock!", ["it's", "5", "o'clock", "!"]),
        ("Good film.<br /><br />Really", ["good", "film", ".", "really"]),
        ("'quoted' -- well...", ["'", "quoted", "'", "-", "-", "well", ".", ".", "."]),
        ("Ça va très bien, 東京!", ["ça", "va", "très", "bien", ",", "東京", "!"]),
        (" \t\n", []),
    ],
)
def test_plain_words_are_letters_and_single_signs(text: str, words: list[str]) -> None:
    assert plain_words(text) == words


def test_words_of_divided_texts_are_left_as_they_are() -> None:
    assert tokeniser("spaces")("the U.S. 's  <unk> \n") == ["the", "U.S.", "'s", "<unk>"]
    with pytest.raises(OptionError, match="there is no tokeniser named 'bpe'\n  expected: one of spaces, words"):
        tokeniser("bpe")


@given(st.text(st.sampled_from("aB'’.! \t\n<br/>é")), st.text(st.sampled_from("aB'’.!é")))
@pytest.mark.parametrize("name", TOKENISERS)
def test_no_word_goes_across_white_space(name: str, one: str, other: str) -> None:
    divide = tokeniser(name)
    if name == "words":  # a line break of the web is white space, and may hold some
        one = one.replace("<", "")
    assert divide(one + "\n" + other) == divide(one) + divide(other)


def test_the_most_frequent_come_first_after_the_unknown() -> None:
    vocabulary = WordVocabulary.from_counts(COUNTS)
    assert vocabulary.symbols == ("<unk>", "c", "a", "b", "d")
    assert vocabulary.counts.tolist() == [2, 5, 3, 3, 1]
    small = WordVocabulary.from_counts(COUNTS, size=3)
    assert small.symbols == ("<unk>", "c", "a")
    assert small.counts.tolist() == [2 + 3 + 1, 5, 3]
    assert WordVocabulary.from_counts(COUNTS, least=3).symbols == ("<unk>", "c", "a", "b")


def test_special_words_have_the_first_places() -> None:
    vocabulary = WordVocabulary.from_counts(COUNTS, size=4, special=(END_OF_LINE, "d"))
    assert vocabulary.symbols == ("<unk>", END_OF_LINE, "d", "c")
    assert vocabulary.counts.tolist() == [2 + 3 + 3, 0, 1, 5]
    with pytest.raises(OptionError, match="the vocabulary is too small\n  expected: at least 4\n  got: 3"):
        WordVocabulary.from_counts(COUNTS, size=3, special=(END_OF_LINE, "d"))


def test_unknown_words_have_the_number_0() -> None:
    vocabulary = WordVocabulary(["a", "b"])
    assert vocabulary.encode(["b", "never", "a", "<unk>"]).tolist() == [2, 0, 1, 0]
    assert vocabulary.encode([]).shape == (0,)
    assert vocabulary.decode(np.array([2, 0, 1])) == "b <unk> a"
    assert ("a" in vocabulary, "never" in vocabulary) == (True, False)
    assert (vocabulary.number("b"), vocabulary.number("never")) == (2, 0)
    assert "never" not in vocabulary


@pytest.mark.parametrize(("size", "dtype"), [(65_536, np.uint16), (65_537, np.int32)])
def test_numbers_take_no_more_memory_than_they_need(size: int, dtype: type[np.generic]) -> None:
    vocabulary = WordVocabulary(str(place) for place in range(size - 1))
    numbers = vocabulary.encode([vocabulary.symbols[-1]])
    assert (numbers.dtype, numbers.tolist()) == (dtype, [size - 1])


def test_vocabularies_of_the_same_words_are_equal() -> None:
    vocabulary = WordVocabulary.from_counts(COUNTS)
    again = WordVocabulary(vocabulary.symbols[1:])
    assert again == vocabulary
    assert hash(again) == hash(vocabulary)
    assert vocabulary != WordVocabulary(["a"])
    assert repr(vocabulary) == "WordVocabulary(5 words)"


def test_wrong_words_and_numbers_are_errors() -> None:
    with pytest.raises(OptionError, match="the words of a vocabulary differ from each other\n  got: 'a' twice"):
        WordVocabulary(["a", "b", "a"])
    with pytest.raises(OptionError, match="each word has a count\n  expected: 2\n  got: 1"):
        WordVocabulary(["a"], [1])
    with pytest.raises(DataError, match="no word has that number\n  expected: 0 to 1\n  got: -1"):
        WordVocabulary(["a"]).decode([-1])
