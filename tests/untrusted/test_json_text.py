"""JSON from elsewhere: what is valid is read as the standard library reads it, and what costs too much is refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewright.untrusted import json_text
from gatewright.untrusted.json_text import MOST_DEPTH, MOST_LISTS, parse_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text('"\\[]{}aé\n'),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('"\\]}a', max_size=3), inner, max_size=4),
)


@given(VALUES, st.sampled_from(["utf-8", "utf-16", "utf-8-sig"]))
def test_what_is_valid_is_read(value: object, encoding: str) -> None:
    for ascii_only in (True, False):
        text = json.dumps(value, ensure_ascii=ascii_only)
        assert parse_json(text) == value
        assert parse_json(text.encode(encoding)) == value


def test_brackets_in_texts_count_for_nothing() -> None:
    text = "[" * (MOST_DEPTH + 1) + '\\"'
    assert parse_json(json.dumps([text, text])) == [text, text]


REFUSED = {
    "[" * (MOST_DEPTH + 1): "it is nested 101 deep; 100 are allowed",
    '{"a":' * 200_000 + "1" + "}" * 200_000: "it is nested 200,000 deep; 100 are allowed",
    "[" + ",".join(["[]"] * MOST_LISTS) + "]": "it has 1,048,577 lists and objects; 1,048,576 are allowed",
    '"' + '\\"' * 500_000: "Unterminated string",
    "9" * 5000: "Exceeds the limit",
    "": "Expecting value",
}


@pytest.mark.parametrize("text", REFUSED, ids=list(REFUSED.values()))
def test_what_costs_too_much_or_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=REFUSED[text]):
        parse_json(text)


def test_a_list_that_is_just_deep_enough_is_read() -> None:
    assert str(parse_json("[" * MOST_DEPTH + "]" * MOST_DEPTH)) == "[" * MOST_DEPTH + "]" * MOST_DEPTH


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_numbers_that_are_not_finite_are_refused_on_request(number: str) -> None:
    assert isinstance(parse_json(f"[{number}]")[0], float)
    with pytest.raises(ValueError, match=f"it holds {number}, which is no finite number"):
        parse_json(f"[{number}]", finite=True)


def test_a_long_text_is_refused_before_it_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_text, "MOST_BYTES", 10)
    with pytest.raises(ValueError, match="it is longer than 10 bytes"):
        parse_json(b"[" * 11)
