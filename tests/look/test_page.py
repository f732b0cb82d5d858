"""The page holds the numbers of the activations, in few bytes, and no text can become part of its code."""

import base64
import json
import re
import zlib
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
import torch

import gatewright as gw
from gatewright.errors import OptionError
from gatewright.inspect import Activations, record
from gatewright.look import page
from gatewright.look.payload import described, payload

HOSTILE = ["</script>", "<!--", "<script>", "&amp;", "\u202e", "\x00", "\ud800", "\u2028", "@@BLOB@@", '"', "\\u003c"]


def activations(cell: str = "gru", *, hidden: int = 6, steps: int = 9, **named: Any) -> Activations:
    torch.manual_seed(0)
    layer = gw.nn.Recurrent(cell, 3, hidden)
    return record(layer, torch.randn(steps, 2, 3), lengths=[steps, 4], **named)


class Scripts(HTMLParser):
    """The contents of the script elements of a page, and all of its tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.scripts: list[str] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1] == "script" and self.lasttag == "script":
            self.scripts[-1] += data


def levels_of(header: Any, blob: bytes, value: Any, row: int) -> np.ndarray:
    units, steps = value["units"], header["rows"][row]["steps"]
    start = value["offsets"][row]
    stored = np.frombuffer(blob, np.uint8)[start : start + units * steps].reshape(units, steps)
    return np.cumsum(stored, -1, dtype=np.uint8) if value["differences"] else stored


@pytest.mark.parametrize("cell", ["gru", "lstm", "elman"])
def test_numbers_are_those_of_the_activations(cell: str) -> None:
    seen = activations(cell)
    made = payload(seen, title="")
    header, blob = made.header, zlib.decompress(base64.b64decode(made.blob))
    (layer,) = header["layers"]
    own = seen.layer()
    assert {value["name"] for value in layer["values"]} == own.gates.keys() | own.states.keys()
    for value in layer["values"]:
        half_a_level = (value["high"] - value["low"]) / (header["levels"] - 1) / 2
        for row, length in enumerate([9, 4]):
            levels = levels_of(header, blob, value, row)
            numbers = value["low"] + levels * (value["high"] - value["low"]) / (header["levels"] - 1)
            expected = own.values(value["name"])[:length, row].T
            np.testing.assert_allclose(numbers, expected, atol=half_a_level * 1.001)


def test_roles_come_from_the_equations() -> None:
    header, _ = described(activations("lstm"), title="")
    roles = {value["name"]: value["role"] for value in header["layers"][0]["values"]}
    assert roles["f"] == "at 1 it keeps the old state"
    assert roles["i"] == "at 1 it writes the new value in whole"
    assert header["halfLife"][0]["gate"] == "f"
    assert {table["gate"] for table in header["saturation"]} == {"i", "f", "o"}


def test_no_text_becomes_code(tmp_path: Path) -> None:
    seen = replace(activations(symbols=[HOSTILE[:9], HOSTILE[-4:]]), labels=HOSTILE)
    made = page(seen, title="</title><script>alert(1)</script>")
    found = Scripts(made.html)
    assert found.tags.count("script") == 3
    header = json.loads(found.scripts[0])
    assert header["rows"][1]["symbols"] == HOSTILE[-4:]
    assert header["title"] == "</title><script>alert(1)</script>"
    assert not re.search(r"(https?:)?//[a-z]", made.html.replace("//-", "").partition("<script>")[0])
    saved = made.save(tmp_path / "page.html")
    assert "\x00" not in saved.read_text(encoding="utf-8").partition('id="header"')[0]


def test_a_large_page_has_fewer_levels() -> None:
    torch.manual_seed(0)
    seen = record(gw.nn.GRU(3, 256), torch.randn(2000, 1, 3))
    made = page(seen)
    assert len(made.html.encode()) <= 1_500_000
    header = json.loads(Scripts(made.html).scripts[0])
    assert header["levels"] < 256
    assert header["rows"][0]["steps"] == 2000


def test_a_page_that_is_too_large_is_refused() -> None:
    with pytest.raises(OptionError, match="the page would be too large"):
        page(activations(hidden=64, steps=200), largest=61_000)


def test_rows_are_cut_to_the_steps_asked_for() -> None:
    header, _ = described(activations(), title="", steps=5)
    assert [(row["steps"], row["all"]) for row in header["rows"]] == [(5, 9), (4, 4)]
