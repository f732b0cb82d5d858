"""Texts divided into symbols: words and signs of many scripts, characters, and the rules that say how."""

import json
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewright.tasks.data.texts.tokenisers import TEXT_TOKENISERS


@pytest.mark.parametrize(
    ("text", "symbols"),
    [
        ("It's 5 o'clock 👍🏽!", ["it's", "5", "o'clock", "👍🏽", "!"]),
        ("don’t--stop<br />'quoted'", ["don’t", "-", "-", "stop", "'", "quoted", "'"]),
        ("हिन्दी में है।", ["हिन्दी", "में", "है", "।"]),
        ("مَرْحَبًا بكم", ["مَرْحَبًا", "بكم"]),
        ("東京タワー123", ["東", "京", "タ", "ワ", "ー", "123"]),
        ("สวัส", ["ส", "วั", "ส"]),
        ("한국어 텍스트", ["한국어", "텍스트"]),
        ("🇩🇪🇫🇷 👨‍👩‍👧 1️⃣ ❤️", ["🇩🇪", "🇫🇷", "👨‍👩‍👧", "1️⃣", "❤️"]),
        ("nai\u0308ve na\u00efve", ["naïve", "naïve"]),
        (" \t\n", []),
    ],
)
def test_words_of_any_script(text: str, symbols: list[str]) -> None:
    assert TEXT_TOKENISERS["unicode"](text) == [unicodedata.normalize("NFC", one) for one in symbols]


def test_characters() -> None:
    assert TEXT_TOKENISERS["characters"](" Ab \n\t c\u0327") == ["A", "b", " ", "ç"]
    assert TEXT_TOKENISERS["characters"](" \n") == []


@given(st.text(max_size=30))
@pytest.mark.parametrize("name", ["unicode", "words", "spaces"])
def test_a_stranger_follows_the_rule(name: str, text: str) -> None:
    rule = json.loads(json.dumps(dict(TEXT_TOKENISERS[name].rule)))
    if form := rule.get("normalise"):
        text = unicodedata.normalize(form, text)
    again = re.sub(rule["replace by a space"], " ", text, flags=re.IGNORECASE) if "replace by a space" in rule else text
    again = again.lower() if rule["lower"] else again
    if name != "spaces":
        assert re.findall(rule["find all"], again) == TEXT_TOKENISERS[name](text)
    assert "".join(TEXT_TOKENISERS["spaces"](text)) == "".join(text.split())


@given(st.text(max_size=30))
def test_nothing_but_white_space_is_lost(text: str) -> None:
    plain = re.sub(r"<br\s*/?>", " ", unicodedata.normalize("NFC", text), flags=re.IGNORECASE).lower()
    assert "".join(TEXT_TOKENISERS["unicode"](text)) == re.sub(r"\s+", "", plain)
