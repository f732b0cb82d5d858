"""Characters to numbers and back."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewright.errors import DataError, OptionError
from gatewright.tasks.data.texts import vocabulary as module
from gatewright.tasks.data.texts.vocabulary import CharVocabulary, WordVocabulary

ANY_CHARACTER = st.characters(exclude_categories=())  # lone surrogates too
ANY_TEXT = st.text(ANY_CHARACTER, min_size=1)


def test_symbols_are_in_the_order_of_their_code_points() -> None:
    vocabulary = CharVocabulary.from_text("b🕰a\nbé")
    assert vocabulary.symbols == ("\n", "a", "b", "é", "🕰")
    assert vocabulary.encode("ab🕰").tolist() == [1, 2, 4]
    assert vocabulary.decode([1, 2, 4]) == "ab🕰"


def test_the_first_symbol_may_be_the_unknown() -> None:
    vocabulary = CharVocabulary.from_text("ab", unknown=True)
    assert vocabulary.symbols == ("<unk>", "a", "b")
    assert vocabulary.encode("aXb🕰").tolist() == [1, 0, 2, 0]
    assert vocabulary.decode([1, 0, 2]) == "a<unk>b"


@given(ANY_TEXT, st.booleans())
def test_what_is_encoded_is_decoded(text: str, unknown: bool) -> None:
    vocabulary = CharVocabulary.from_text(text, unknown=unknown)
    assert vocabulary.decode(vocabulary.encode(text)) == text
    assert vocabulary == CharVocabulary(sorted(set(text)), unknown=unknown)


@given(ANY_TEXT, st.booleans())
def test_vocabularies_of_the_same_symbols_are_equal(text: str, unknown: bool) -> None:
    vocabulary = CharVocabulary.from_text(text, unknown=unknown)
    again = CharVocabulary(vocabulary.symbols[int(unknown) :], unknown=unknown)
    assert again == vocabulary
    assert hash(again) == hash(vocabulary)
    assert vocabulary != WordVocabulary(vocabulary.symbols[1:])


def test_pieces_of_a_long_text_join_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 7)
    text = "".join(chr(97 + place * place % 26) for place in range(100))
    vocabulary = CharVocabulary.from_text(text)
    assert vocabulary.symbols == tuple(sorted(set(text)))
    assert vocabulary.decode(vocabulary.encode(text)) == text
    with pytest.raises(DataError, match=r"at position 100, in line 1"):
        vocabulary.encode(text + "?")


@pytest.mark.parametrize(("size", "dtype"), [(256, np.uint8), (257, np.uint16), (65_537, np.uint32)])
def test_numbers_take_no_more_memory_than_they_need(size: int, dtype: type[np.generic]) -> None:
    vocabulary = CharVocabulary(chr(0x20 + code) for code in range(size))
    numbers = vocabulary.encode(vocabulary.symbols[-1])
    assert numbers.dtype == dtype
    assert numbers.tolist() == [size - 1]


def test_encoding_a_long_text_needs_little_more_than_its_result() -> None:
    text = "to be or not to be " * 500_000
    tracemalloc.start()
    numbers = CharVocabulary.from_text(text).encode(text)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert numbers.nbytes == len(text)
    assert peak < numbers.nbytes + 30e6


def test_an_unknown_character_is_named_with_its_place() -> None:
    vocabulary = CharVocabulary.from_text("abc\n")
    with pytest.raises(DataError) as caught:
        vocabulary.encode("abc\nabc\nabéc")
    assert str(caught.value) == (
        "the character 'é' (U+00E9) is not in the vocabulary\n"
        "  expected: one of its 4 symbols, '\\nabc'\n"
        "  got: 'abc\\nabc\\nabéc', at position 10, in line 3\n"
        "  do: leave the character out, or make the vocabulary with unknown=True"
    )


@pytest.mark.parametrize("number", [-1, 3, 2**40])
def test_a_number_that_is_no_symbol_is_an_error(number: int) -> None:
    with pytest.raises(DataError, match=f"no symbol has that number\n  expected: 0 to 2\n  got: {number}"):
        CharVocabulary("abc").decode([0, number])


@pytest.mark.parametrize(
    ("characters", "message"),
    [
        ([], "needs at least one character"),
        (["a", "bc"], "is one character\n  got: 'bc'"),
        (["a", "b", "a"], "differ from each other\n  got: 'a' twice"),
    ],
)
def test_wrong_symbols_are_an_error(characters: list[str], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        CharVocabulary(characters)


def test_an_empty_text_has_no_vocabulary_and_no_numbers() -> None:
    assert CharVocabulary("ab").encode("").shape == (0,)
    with pytest.raises(OptionError, match="needs at least one character"):
        CharVocabulary.from_text("")
