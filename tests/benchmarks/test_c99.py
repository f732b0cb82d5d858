"""The page of exported C code is that of its result."""

import pytest

pytest.importorskip("torch")

from benchmarks import files
from benchmarks.c99 import page
from tests.paths import ROOT


def test_the_page_is_made_of_the_result() -> None:
    assert page.text(files.load(ROOT / "docs" / "c99.json")) == (ROOT / "docs" / "c99.md").read_text(encoding="utf-8")
