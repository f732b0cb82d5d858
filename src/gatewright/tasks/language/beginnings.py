"""Frequent beginnings of the sentences of a text: default prompts for a model that was trained on it."""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.tasks.data.texts.vocabulary import END, END_OF_LINE, START, UNKNOWN

_LOOKED_AT = 1 << 20  # characters or words at the start of a text
_WANTED = 2
_CHARACTERS_OF_A_WORD = 2  # where a script puts no spaces between its words
_LONGEST = 20

# After the mark of a sentence's end and a space, after a full stop that needs none, and after an empty line.
_SENTENCE = re.compile(r"(?:^|[.!?…]\s+|[。！？]\s*|\n\s*\n\s*)(\w[\w'’]* ?)")
_LINE = re.compile(r"(?:^|\n)\s*(\w[\w'’]* ?)")
_ENDS_OF_SENTENCES = (".", "!", "?", "。", "！", "？", END_OF_LINE, START)
_NO_BEGINNINGS = (*_ENDS_OF_SENTENCES, END, UNKNOWN)


def beginnings_of_text(text: str) -> tuple[str, ...]:
    """What most sentences of a text begin with: a word with the space after it, or two characters of a script like
    Chinese. Lines stand for sentences where there are none.
    """
    start = text[:_LOOKED_AT]
    counts = Counter(map(_cut, _SENTENCE.findall(start)))
    if len(counts) < _WANTED:
        counts.update(map(_cut, _LINE.findall(start)))
    return tuple(word for word, _ in counts.most_common(_WANTED)) or (start[:1],)


def beginnings_of_words(words: NDArray[np.integer[Any]], symbols: Sequence[str]) -> tuple[str, ...]:
    """The same of a text that is numbers of words, (words,); a space follows each word."""
    ends = [number for number, word in enumerate(symbols) if word in _ENDS_OF_SENTENCES]
    start = words[:_LOOKED_AT]
    counts = np.bincount(start[1:][np.isin(start[:-1], ends)], minlength=len(symbols))
    ranked = (symbols[place] for place in np.argsort(-counts, kind="stable") if counts[place])
    words_found = [word for word in ranked if word not in _NO_BEGINNINGS and word[0].isalnum()]
    return tuple(f"{word} " for word in words_found[:_WANTED]) or (f"{symbols[int(start[0])]} ",)


def _cut(word: str) -> str:
    wide = unicodedata.east_asian_width(word[0]) in "WF"
    return word[: _CHARACTERS_OF_A_WORD if wide else _LONGEST]
