"""Prompts come out of the text itself, in whatever language it is."""

import numpy as np
import pytest

from gatewright.tasks.language.beginnings import beginnings_of_text, beginnings_of_words


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The sea rose. A ship sank! The fog came.\n\nIf it rains? If not. The end.", ("The ", "If ")),
        ("Der Nebel kam.  Überall war Stille. Der Wärter schlief. Überall!", ("Der ", "Überall ")),
        ("灯塔看守人数着船只。每天晚上他写。灯塔很高。每天早上！", ("灯塔", "每天")),
        ("no marks at all\nbut two lines\nno end\nbut so", ("no ", "but ")),
        ("word", ("word",)),
        ("--- 3.14 ---", ("-",)),
    ],
)
def test_what_sentences_begin_with(text: str, found: tuple[str, ...]) -> None:
    assert beginnings_of_text(text) == found


def test_what_sentences_of_numbered_words_begin_with() -> None:
    symbols = ("<unk>", "<eos>", "the", "sea", ".", "a", '"')
    words = np.array([2, 3, 4, 5, 3, 4, 6, 1, 5, 0, 1, 0, 1, 2, 4, 5])
    assert beginnings_of_words(words, symbols) == ("a ", "the ")
    assert beginnings_of_words(np.array([3, 2]), symbols) == ("sea ",)
