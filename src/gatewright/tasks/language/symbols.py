"""Between text and symbol numbers, for language models of characters and of words."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import DataError
from gatewright.tasks.data.texts.vocabulary import (
    END,
    END_OF_LINE,
    START,
    UNKNOWN,
    CharVocabulary,
    WordVocabulary,
    tokeniser,
)
from gatewright.tasks.run_data import Sizes

_LINE_ENDS = (END_OF_LINE, END)
_MARKS = (".", "!", "?", "…")
_WIDE_MARKS = ("。", "！", "？")


class CharacterCodec:
    """Each character is a symbol. `forbidden` are numbers that are never written: that of what is unknown."""

    end = start = None  # the symbols with which a sentence ends and begins

    def __init__(self, sizes: Sizes) -> None:
        self.vocabulary = vocabulary_of(sizes)
        self.forbidden = (0,) if self.vocabulary.unknown else ()
        self._known = frozenset(self.vocabulary.symbols[int(self.vocabulary.unknown) :])

    def read(self, prompt: str) -> list[int]:
        """The numbers of its characters."""
        return self.vocabulary.encode(prompt).tolist()

    def parts(self, prompt: str) -> Sequence[str]:
        """What a prompt consists of, to a person: characters."""
        return prompt

    def knows(self, part: str) -> bool:
        """Whether the character has a number."""
        return part in self._known

    def ends_sentence(self, before: str, piece: str) -> bool:
        """Whether a sentence ends before `piece`: after a mark and a space, after a wide mark, at an empty line."""
        return before in _WIDE_MARKS or (piece.isspace() and before in _MARKS) or before == piece == "\n"

    def write(self, symbols: Iterable[int], prompt: str) -> Iterator[str]:
        """The characters."""
        return (self.vocabulary.symbols[symbol] for symbol in symbols)


class WordCodec:
    """Each word is a symbol, and so is the end of a line or of a sentence, which is written as a new line.

    A prompt is read from the start of a line or sentence on. A word of it that is unknown as it stands is looked for in
    small letters, then by its parts ("Don't!" as "don't" and "!").
    """

    def __init__(self, sizes: Sizes) -> None:
        self.vocabulary = WordVocabulary((sizes.vocabulary or ())[1:])
        known = {word: self.vocabulary.number(word) for word in (START, END, END_OF_LINE) if word in self.vocabulary}
        self.start, self.end = known.get(START), known.get(END)
        self.forbidden = (0,) if self.start is None else (0, self.start)
        self._before_all = known.get(START, known.get(END_OF_LINE))

    def read(self, prompt: str) -> list[int]:
        """The numbers of its words, after that of a beginning."""
        before = [] if self._before_all is None else [self._before_all]
        return before + [number for word in prompt.split() for number in self._numbers(word)]

    def parts(self, prompt: str) -> Sequence[str]:
        """Its words."""
        return prompt.split()

    def knows(self, part: str) -> bool:
        """Whether the word has a number, or each of its parts."""
        return part == UNKNOWN or 0 not in self._numbers(part)

    def ends_sentence(self, before: str, piece: str) -> bool:
        """Whether a sentence has ended before `piece`, which follows the other: after a mark, and at a line's end."""
        return before.strip() in (*_MARKS, *_WIDE_MARKS) or piece == "\n"

    def write(self, symbols: Iterable[int], prompt: str) -> Iterator[str]:
        """The words, with a space before each that does not begin a line."""
        begins = not prompt or prompt[-1].isspace()
        for symbol in symbols:
            word = self.vocabulary.symbols[symbol]
            ends = word in _LINE_ENDS
            yield "\n" if ends else word if begins else f" {word}"
            begins = ends

    def _numbers(self, word: str) -> list[int]:
        whole = next((form for form in (word, word.lower()) if form in self.vocabulary), None)
        if whole is not None or word == UNKNOWN:
            return [self.vocabulary.number(whole or word)]
        return self.vocabulary.encode(tokeniser("words")(word)).tolist()


SymbolCodec = CharacterCodec | WordCodec
"""Between a text and the numbers of its symbols."""


def vocabulary_of(sizes: Sizes) -> CharVocabulary:
    """The characters that a network was made for."""
    symbols = sizes.vocabulary or ()
    unknown = symbols[:1] == (UNKNOWN,)
    return CharVocabulary(symbols[int(unknown) :], unknown=unknown)


def check_known(name: str, tokens: Sequence[str], known: NDArray[np.bool_]) -> None:
    """Refuse a text of which a model knows nothing: one of another script or language."""
    marks = (END_OF_LINE, START, END)
    own = [place for place, token in enumerate(tokens) if not token.isspace() and token not in marks]
    if own and not known[own].any():
        raise DataError(
            f"the model knows nothing of {name}",
            expected="a text in the script and language of the one that it was trained on",
            got=" ".join(tokens[place] for place in own[:12]),
            do="train a model on such texts",
        )
