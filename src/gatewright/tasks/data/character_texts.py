"""Texts of any length as numbers of characters; the text itself is never held."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import DataError, OptionError
from gatewright.tasks.data.sources import Source
from gatewright.tasks.data.text import clean
from gatewright.tasks.data.text_sources import text_source
from gatewright.tasks.data.vocabulary import CharVocabulary


@dataclass(frozen=True, eq=False)
class CharacterText:
    """A text as numbers (characters,), the smallest integers that hold them; the sha256 of what was encoded."""

    vocabulary: CharVocabulary
    tokens: NDArray[np.unsignedinteger[Any]]
    sha256: str


def load_characters(source: Source, cleaning: str = "none", vocabulary: CharVocabulary | None = None) -> CharacterText:
    """The characters of a text, by name or path, after that cleaning (see `clean`).

    The vocabulary is that of the text, with "<unk>", unless one is given, which then has to have an unknown. The file
    is read twice, in pieces: what is held is the numbers, a byte a character where there are 256 symbols at most, and a
    few pieces. Measured: 113 MB beside NumPy's own for a text of 100 MB.
    """
    if vocabulary is not None and not vocabulary.unknown:
        raise OptionError("the vocabulary has no number for what it does not know", expected="one with unknown=True")
    pieces = text_source(source, "lines" if cleaning != "none" else "words")
    digest, count, seen = hashlib.sha256(), 0, set[str]()
    for piece in pieces():
        cleaned = clean(piece, cleaning)
        digest.update(cleaned.encode("utf-8", "surrogatepass"))
        count += len(cleaned)
        seen.update(cleaned)
    if not count:
        raise DataError(f"{source} holds no characters" + (" after its cleaning" if cleaning != "none" else ""))
    known = CharVocabulary(sorted(seen), unknown=True) if vocabulary is None else vocabulary
    tokens, end = np.empty(count, known.dtype), 0
    for piece in pieces():
        numbers = known.encode(clean(piece, cleaning))
        tokens[end : end + len(numbers)] = numbers
        end += len(numbers)
    return CharacterText(known, tokens, digest.hexdigest())
