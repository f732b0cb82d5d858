"""Words: texts divided into them, and the numbers that stand for them."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import OptionError
from gatewright.tasks.data.texts.vocabulary import UNKNOWN, Vocabulary

END_OF_LINE, START, END = "<eos>", "<s>", "</s>"

Tokeniser = Callable[[str], list[str]]

_WORD = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]")
_MARKUP = re.compile(r"<br\s*/?>", re.IGNORECASE)


def divided_by_spaces(text: str) -> list[str]:
    """What stands between white space: for texts that others have divided into words, such as PTB's and SST-2's."""
    return text.split()


def plain_words(text: str) -> list[str]:
    """Lower-case words and single signs: plain_words("It's 5 o'clock!") == ["it's", "5", "o'clock", "!"].

    A word is letters, digits and underscores of any script, with apostrophes inside; every other sign that is no white
    space is a word of its own; the line breaks of web pages (<br />) count as white space.
    """
    return _WORD.findall(_MARKUP.sub(" ", text).lower())


TOKENISERS: dict[str, Tokeniser] = {"spaces": divided_by_spaces, "words": plain_words}


def tokeniser(name: str) -> Tokeniser:
    """The way of that name to divide a text into words; no word goes across white space."""
    if name not in TOKENISERS:
        raise OptionError(
            f"there is no tokeniser named {name!r}", expected="one of " + ", ".join(TOKENISERS), got=repr(name)
        )
    return TOKENISERS[name]


def token_rule(name: str) -> dict[str, Any]:
    """What a tokeniser does, for whoever has to do the same.

    `read_as_space` and `tokens` are regular expressions: of what counts as a space, in small or capital letters, and of
    the tokens; with `lower_case` letters become small in between.
    """
    if name == "words":
        return {"read_as_space": _MARKUP.pattern, "lower_case": True, "tokens": _WORD.pattern}
    return {"read_as_space": "", "lower_case": False, "tokens": r"\S+"}


class WordVocabulary(Vocabulary):
    """The words that have a number; 0 is "<unk>", which stands for all others.

    `counts` says how often each occurred in the text that the vocabulary was made of, (words,), int64; those that were
    left out are counted with "<unk>".
    """

    kind = "word"

    def __init__(self, words: Iterable[str], counts: Sequence[int] | NDArray[np.int64] | None = None) -> None:
        self.symbols = (UNKNOWN, *words)
        self._numbers = _NumbersOfWords(zip(self.symbols, range(len(self.symbols)), strict=True))
        if len(self._numbers) != len(self.symbols):
            twice, _ = Counter(self.symbols).most_common(1)[0]
            raise OptionError("the words of a vocabulary differ from each other", got=f"{twice!r} twice")
        self.counts = np.zeros(len(self), np.int64) if counts is None else np.asarray(counts, np.int64)
        if len(self.counts) != len(self):
            raise OptionError("each word has a count", expected=str(len(self)), got=str(len(self.counts)))
        self.dtype = np.dtype(np.uint16 if len(self) <= 1 << 16 else np.int32)

    @classmethod
    def from_counts(
        cls, counts: Mapping[str, int], *, size: int | None = None, least: int = 1, special: Sequence[str] = ()
    ) -> Self:
        """The most frequent words, `size` in all with "<unk>" and the special ones; each occurs `least` times.

        Equally frequent words stand in the order of their letters. Special words are always there, right after
        "<unk>".
        """
        first = [word for word in special if word != UNKNOWN]
        if size is not None and size < len(first) + 2:
            raise OptionError("the vocabulary is too small", expected=f"at least {len(first) + 2}", got=str(size))
        plain = [word for word in counts if word not in first and word != UNKNOWN and counts[word] >= least]
        chosen = sorted(plain, key=lambda word: (-counts[word], word))[
            : None if size is None else size - len(first) - 1
        ]
        known = [counts.get(word, 0) for word in (*first, *chosen)]
        return cls((*first, *chosen), [sum(counts.values()) - sum(known), *known])

    def __repr__(self) -> str:
        return f"WordVocabulary({len(self)} words)"

    def __contains__(self, word: str) -> bool:
        return word in self._numbers

    def number(self, word: str) -> int:
        """The number of a word; 0 where it has none."""
        return self._numbers[word]

    def encode(self, words: Sequence[str]) -> NDArray[Any]:
        """The numbers of those words, uint16, or int32 where there are more than 65,536."""
        return np.fromiter(map(self._numbers.__getitem__, words), self.dtype, len(words))

    def decode(self, numbers: Iterable[int]) -> str:
        """The words of those numbers, a space between each two."""
        return " ".join(self.symbols_of(numbers))


class _NumbersOfWords(dict[str, int]):
    """A word that is missing has the number of the unknown."""

    def __missing__(self, word: str) -> int:
        return 0
