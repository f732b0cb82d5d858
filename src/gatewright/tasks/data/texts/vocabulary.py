"""Characters to numbers and back."""

from collections.abc import Iterable, Iterator
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import DataError, OptionError

UNKNOWN = "<unk>"
_CODE_POINTS = 0x110000
CHUNK = 1 << 20  # characters encoded at once: what bounds the memory for a long text


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
