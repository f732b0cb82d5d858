"""Texts of any length as numbers of words, as one stream or by sentences; the text itself is never held."""

import itertools
import re
from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import DataError
from gatewright.tasks.data.published.sources import Source
from gatewright.tasks.data.ragged import Ragged, Splits
from gatewright.tasks.data.texts.text import parted_sources, split, text_source
from gatewright.tasks.data.texts.vocabulary import END, END_OF_LINE, START, Tokeniser, WordVocabulary, tokeniser

Tokens = NDArray[np.integer[Any]]

BLOCK = 1 << 20

# After a full stop, question mark or exclamation mark (and what closes after it), and at an empty line.
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[.!?][\"'”’)])\s+|\n\s*\n")


@dataclass(frozen=True, eq=False)
class WordText:
    """A text as numbers of words, (words,) for each part: uint16, or int32 for more than 65,536 different words."""

    vocabulary: WordVocabulary
    parts: Splits[Tokens]
    tokenise: str  # how it was divided into words


@dataclass(frozen=True, eq=False)
class SentenceText:
    """Sentences as numbers of words, each from "<s>" to "</s>"."""

    vocabulary: WordVocabulary
    parts: Splits[Ragged]
    tokenise: str  # how it was divided into words
    divided: Literal["lines", "marks"]  # and into sentences


def load_words(
    source: Source = "ptb",
    *,
    size: int | None = None,
    tokenise: str | None = None,
    end_of_line: bool = True,
    validation: float = 0.05,
    test: float = 0.05,
) -> WordText:
    """A text as one stream of words for each part, with "<eos>" for each line's end unless `end_of_line` is False.

    Sources are those of `parted_sources`, with words divided by spaces, or one text: its last shares are held out, and
    its words are found by `plain_words`. `tokenise` ("spaces" or "words") decides otherwise. The vocabulary
    is the `size` most frequent words of the training part, or all of them; see WordVocabulary.from_counts.

    The Penn Treebank as Mikolov et al. (2010) prepared it has 929,589 / 73,760 / 82,430 tokens and 10,000 types, with
    "<unk>" and "<eos>". The text is read once, in pieces; what is held is the vocabulary of all words, their numbers (4
    bytes a word while they are gathered, and 2 or 4 in the end) and about 40 MB. Measured: 216 MB beside NumPy's own
    for a text of 100 MB with 28 million words.
    """
    sources = parted_sources(source, "words")
    if tokenise is None:  # texts in parts were divided and prepared by others
        tokenise = "words" if sources is None else "spaces"
    divide, gathered = tokeniser(tokenise), _Gathered()
    if sources is not None:
        parts = Splits(*(gathered.stream(pieces(), divide, end_of_line=end_of_line) for pieces in sources))
    else:
        pieces = text_source(source, "words")
        stream = gathered.stream(pieces(), divide, end_of_line=end_of_line)
        _check_not_empty(source, stream)
        parts = split(stream, validation=validation, test=test)
    _check_not_empty(source, parts.train)
    vocabulary = gathered.vocabulary(parts.train, size, special=())
    return WordText(vocabulary, Splits(*(gathered.renumbered(part, vocabulary) for part in parts)), tokenise)


def load_sentences(
    source: Source = "ptb",
    *,
    size: int | None = None,
    tokenise: str | None = None,
    divided: Literal["lines", "marks"] | None = None,
    validation: float = 0.05,
    test: float = 0.05,
) -> SentenceText:
    """A text as sentences, each with "<s>" before and "</s>" after, as WildML's model reads them (Britz 2015).

    What is read is `without_last()`, what is predicted `without_first()`. A sentence is a line where the text comes in
    parts, otherwise it ends with a mark (. ! ?) before white space or at an empty line; `divided` decides otherwise.
    Sentences without a word are left out. The numbers are as for `load_words`; "<unk>" is 0, "<s>" 1, "</s>" 2, and
    `size` counts these three.
    """
    sources = parted_sources(source)
    if tokenise is None:  # texts in parts were divided and prepared by others
        tokenise = "words" if sources is None else "spaces"
    divide, gathered = tokeniser(tokenise), _Gathered()
    by_lines = sources is not None if divided is None else divided == "lines"
    if sources is not None:
        parts = Splits(*(gathered.sentences(_sentences(pieces(), by_lines=by_lines), divide) for pieces in sources))
    else:
        sentences = gathered.sentences(_sentences(text_source(source)(), by_lines=by_lines), divide)
        _check_not_empty(source, sentences.values)
        places = split(np.arange(len(sentences)), validation=validation, test=test)
        parts = Splits(*(_stretch(sentences, part) for part in places))
    _check_not_empty(source, parts.train.values)
    vocabulary = gathered.vocabulary(parts.train.values, size, special=(START, END))
    numbered = Splits(*(replace(part, values=gathered.renumbered(part.values, vocabulary)) for part in parts))
    return SentenceText(vocabulary, numbered, tokenise, "lines" if by_lines else "marks")


def split_sentences(text: str, *, by_lines: bool) -> Iterator[str]:
    """The sentences of a text: its lines, or what ends with a mark before white space or at an empty line."""
    return _sentences([text], by_lines=by_lines)


class _Gathered:
    """Words numbered in order of first appearance, until all are counted."""

    def __init__(self) -> None:
        self._numbers: defaultdict[str, int] = defaultdict(itertools.count().__next__)

    def stream(self, pieces: Iterable[str], divide: Tokeniser, *, end_of_line: bool) -> NDArray[np.int32]:
        """The numbers of a text's words."""
        numbers = array("i")
        for words in _words(pieces, divide, end_of_line=end_of_line):
            numbers.extend(map(self._numbers.__getitem__, words))
        return np.frombuffer(numbers, np.int32)

    def sentences(self, sentences: Iterable[str], divide: Tokeniser) -> Ragged:
        """The numbers of the words of each sentence, with its start and end."""
        numbers, lengths = array("i"), array("q")
        for sentence in sentences:
            words = divide(sentence)
            if words:
                numbers.extend(map(self._numbers.__getitem__, (START, *words, END)))
                lengths.append(len(words) + 2)
        return Ragged.from_lengths(np.frombuffer(numbers, np.int32), np.frombuffer(lengths, np.int64))

    def vocabulary(self, trained: Tokens, size: int | None, special: Sequence[str]) -> WordVocabulary:
        """The words of that part, the most frequent first."""
        counts = np.zeros(len(self._numbers), np.int64)
        for piece in _stretches(trained):
            counts += np.bincount(piece, minlength=len(counts))
        counted = dict(zip(self._numbers, counts.tolist(), strict=True))
        occurring = {word: count for word, count in counted.items() if count}
        return WordVocabulary.from_counts(occurring, size=size, special=special)

    def renumbered(self, tokens: Tokens, vocabulary: WordVocabulary) -> Tokens:
        """The same words by the numbers of that vocabulary."""
        table = vocabulary.encode(list(self._numbers))
        numbers = np.empty(len(tokens), table.dtype)
        for place, piece in enumerate(_stretches(tokens)):
            numbers[place * BLOCK : place * BLOCK + len(piece)] = table[piece]
        return numbers


def _stretches(tokens: Tokens) -> Iterator[Tokens]:
    """The tokens bit by bit: NumPy makes what it counts or looks up eight bytes wide first."""
    return (tokens[start : start + BLOCK] for start in range(0, len(tokens), BLOCK))


def _stretch(sentences: Ragged, places: Tokens) -> Ragged:
    """Sentences that lie one after the other, without the values of the others."""
    chosen = sentences.select(places)
    start = int(chosen.starts[0]) if len(chosen) else 0
    return Ragged.from_lengths(sentences.values[start : start + chosen.steps], chosen.lengths)


def _words(pieces: Iterable[str], divide: Tokeniser, *, end_of_line: bool) -> Iterator[list[str]]:
    for piece in pieces:
        *lines, last = piece.split("\n") if end_of_line else [piece]
        yield [word for line in lines for word in (*divide(line), END_OF_LINE)] + divide(last)


def _sentences(pieces: Iterable[str], *, by_lines: bool) -> Iterator[str]:
    unfinished = ""
    for piece in pieces:
        *sentences, unfinished = (
            (unfinished + piece).split("\n") if by_lines else _SENTENCE_END.split(unfinished + piece)
        )
        yield from sentences
    yield unfinished


def _check_not_empty(source: Source, trained: Tokens) -> None:
    if not len(trained):
        raise DataError(f"{source} holds no words to train on")
