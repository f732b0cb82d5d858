"""Texts divided into characters or words, and the numbers that stand for these."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import DataError, OptionError

UNKNOWN = "<unk>"
_CODE_POINTS = 0x110000
CHUNK = 1 << 20  # characters encoded at once: what bounds the memory for a long text
END_OF_LINE, START, END = "<eos>", "<s>", "</s>"

Tokeniser = Callable[[str], list[str]]

_WORD = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]")
_MARKUP = re.compile(r"<br\s*/?>", re.IGNORECASE)


class Vocabulary:
    """Symbols by number; two of a kind are equal where their symbols are."""

    symbols: tuple[str, ...]
    kind = "symbol"  # what a message calls one of them

    def __len__(self) -> int:
        return len(self.symbols)

    def __eq__(self, other: object) -> bool:
        return self.symbols == other.symbols if isinstance(other, type(self)) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.symbols)

    def symbols_of(self, numbers: Iterable[int]) -> list[str]:
        """The symbols of those numbers. Raises DataError for a number that no symbol has."""
        listed = [int(number) for number in numbers]
        wrong = next((number for number in listed if not 0 <= number < len(self)), None)
        if wrong is not None:
            raise DataError(f"no {self.kind} has that number", expected=f"0 to {len(self) - 1}", got=str(wrong))
        return [self.symbols[number] for number in listed]


class CharVocabulary(Vocabulary):
    """The symbols of a text, numbered; a symbol is one character (one Unicode code point).

    `CharVocabulary.from_text(text)` numbers a text's characters in the order of their code points, so the
    same characters always get the same numbers. With `unknown=True` the symbol 0 is "<unk>", for every
    character that is not among the others; without it such a character is an error.
    """

    def __init__(self, characters: Iterable[str], *, unknown: bool = False) -> None:
        listed = tuple(characters)
        long = next((character for character in listed if len(character) != 1), None)
        if long is not None:
            raise OptionError("a symbol of a CharVocabulary is one character", got=repr(long))
        if len(set(listed)) != len(listed):
            twice = next(character for character in listed if listed.count(character) > 1)
            raise OptionError("the symbols of a CharVocabulary differ from each other", got=f"{twice!r} twice")
        if not listed:
            raise OptionError("a CharVocabulary needs at least one character")
        self.symbols = ((UNKNOWN,) if unknown else ()) + listed
        self.unknown = unknown
        # By code point, -1 for other characters. The last entry is -1: it stands for all beyond.
        codes = np.array([ord(character) for character in listed])
        self._numbers = np.full(codes.max() + 2, -1, dtype=np.int32)
        self._numbers[codes] = np.arange(int(unknown), int(unknown) + len(codes))
        self.dtype = np.min_scalar_type(len(self.symbols) - 1)  # of the numbers: the smallest that holds them

    @classmethod
    def from_text(cls, text: str, *, unknown: bool = False) -> Self:
        """The vocabulary of the characters that occur in `text`."""
        seen = np.zeros(_CODE_POINTS, dtype=np.bool_)
        for _, codes in _code_points(text):
            seen[codes] = True
        return cls(map(chr, np.flatnonzero(seen).tolist()), unknown=unknown)

    def __repr__(self) -> str:
        return f"CharVocabulary({len(self)} symbols{', unknown=True' if self.unknown else ''})"

    def encode(self, text: str) -> NDArray[Any]:
        """The number of each character, as the smallest unsigned integers that can hold them."""
        numbers = np.empty(len(text), dtype=self.dtype)
        for start, codes in _code_points(text):
            # Whatever lies beyond the table is as unknown as the table's last entry.
            known = self._numbers[np.minimum(codes, len(self._numbers) - 1)]
            if not self.unknown and known.min(initial=0) < 0:
                position, shown = start + int(np.argmax(known < 0)), "".join(self.symbols)
                around, line = text[max(0, position - 10) : position + 10], text.count("\n", 0, position) + 1
                raise DataError(
                    f"the character {text[position]!r} (U+{ord(text[position]):04X}) is not in the vocabulary",
                    expected=f"one of its {len(self)} symbols, {shown[:60]!r}{' ...' if len(shown) > 60 else ''}",
                    got=f"{around!r}, at position {position}, in line {line}",
                    do="leave the character out, or make the vocabulary with unknown=True",
                )
            numbers[start : start + len(codes)] = np.maximum(known, 0)
        return numbers

    def decode(self, numbers: Iterable[int]) -> str:
        """The text of those numbers; the symbol for the unknown is written "<unk>"."""
        return "".join(self.symbols_of(numbers))


def _code_points(text: str) -> Iterator[tuple[int, NDArray[np.uint32]]]:
    """The code points of a text in pieces, each with the position where it starts."""
    for start in range(0, len(text), CHUNK):
        piece = text[start : start + CHUNK].encode("utf-32-le", "surrogatepass")
        yield start, np.frombuffer(piece, dtype="<u4")


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
