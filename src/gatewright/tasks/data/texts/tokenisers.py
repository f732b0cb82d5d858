"""How texts to classify are divided into symbols, in any language, with rules that others can follow."""

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gatewright.tasks.data.texts.vocabulary import divided_by_spaces, plain_words

_MARKUP = r"<br\s*/?>"
# Scripts that put no spaces between words: Japanese and Chinese, Thai and Lao, Burmese, Khmer.
_WITHOUT_SPACES = (
    "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff\u0e01-\u0eff\u1000-\u109f\u1780-\u17ff"
)
# What belongs to the letter before it: accents, vowel signs, joiners, selectors of a variant, the frame of a key.
_MARKS = (
    "\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u05bf-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06ed\u0711"
    "\u0730-\u074a\u07a6-\u07b0\u0900-\u0903\u093a-\u094f\u0951-\u0957\u0962-\u0963\u0981-\u0983\u09bc-\u09d7"
    "\u0a01-\u0a03\u0a3c-\u0a51\u0a81-\u0a83\u0abc-\u0acd\u0b01-\u0b03\u0b3c-\u0b57\u0b82\u0bbe-\u0bcd\u0bd7"
    "\u0c00-\u0c04\u0c3c-\u0c56\u0c81-\u0c83\u0cbc-\u0cd6\u0d00-\u0d03\u0d3b-\u0d4d\u0d57\u0d81-\u0d83"
    "\u0dca-\u0ddf\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb4-\u0ebc\u0ec8-\u0ece\u0f18-\u0f19\u0f35-\u0f39"
    "\u0f71-\u0f84\u102b-\u103e\u1056-\u1059\u17b4-\u17d3\u1ab0-\u1aff\u1dc0-\u1dff\u200c\u200d\u20d0-\u20f0"
    "\ufe00-\ufe0f\ufe20-\ufe2f"
)
_LETTERS = rf"[^\W{_WITHOUT_SPACES}]"
_EXPRESSION = "|".join(
    (
        rf"{_LETTERS}+(?:(?:[{_MARKS}]+|['’](?={_LETTERS})){_LETTERS}*)*",  # a word, apostrophes inside
        rf"[{_WITHOUT_SPACES}][{_MARKS}]*",  # a letter of a script without spaces
        "[\U0001f1e6-\U0001f1ff]{2}",  # a flag
        rf"[^\w\s](?:[{_MARKS}\U0001f3fb-\U0001f3ff]|(?<=\u200d)[^\w\s])*",  # a sign, or an emoji of several parts
    )
)


@dataclass(frozen=True)
class TextTokeniser:
    """A way to divide a text into symbols, and its rule: steps that a program in any language can follow, for JSON."""

    name: str
    divide: Callable[[str], list[str]]
    rule: Mapping[str, Any]

    def __call__(self, text: str) -> list[str]:
        """The symbols of a text, in their order."""
        return self.divide(text)


def unicode_words(text: str) -> list[str]:
    """Lower-case words of any script, each with its accents and vowel signs; signs and emoji one by one.

    `It's 5 o'clock 👍🏽!` gives `it's`, `5`, `o'clock`, `👍🏽`, `!`. Where a script has no spaces between words, as
    Chinese, Japanese and Thai have none, each letter is a symbol. Line breaks of web pages (<br />) are white space.
    """
    marked_up = unicodedata.normalize("NFC", text)
    # Compiled (and cached by `re`) when it is first used: that takes longer than all of the module's loading.
    return re.findall(_EXPRESSION, re.sub(_MARKUP, " ", marked_up, flags=re.IGNORECASE).lower())


def characters(text: str) -> list[str]:
    """Every character, upper and lower case apart, white space of any length as one space."""
    return list(" ".join(unicodedata.normalize("NFC", text).split()))


TEXT_TOKENISERS: Mapping[str, TextTokeniser] = {
    tokeniser.name: tokeniser
    for tokeniser in (
        TextTokeniser(
            "unicode",
            unicode_words,
            {"normalise": "NFC", "replace by a space": _MARKUP, "lower": True, "find all": _EXPRESSION},
        ),
        TextTokeniser(
            "characters",
            characters,
            {"normalise": "NFC", "white space": "one space, none at the ends", "lower": False, "find all": "."},
        ),
        TextTokeniser("spaces", divided_by_spaces, {"lower": False, "find all": r"\S+"}),
        TextTokeniser(  # the rule of earlier versions
            "words",
            plain_words,
            {"replace by a space": _MARKUP, "lower": True, "find all": r"\w+(?:['’]\w+)*|[^\w\s]"},
        ),
    )
}
