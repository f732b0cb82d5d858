"""The selection of `make quick`, tests/quick.txt, names files and tests that are there."""

import re

from tests.paths import ROOT


def missing(lines: list[str]) -> list[str]:
    """The entries whose file, or whose test in it, does not exist."""
    return [line for line in lines if not _exists(*re.fullmatch(r"([^:]*)(?:::(\w+).*)?", line).groups())]


def _exists(path: str, test: str | None) -> bool:
    place = ROOT / path
    if test is None:
        return bool(path) and place.exists()
    return place.is_file() and f"\ndef {test}(" in place.read_text(encoding="utf-8")


def test_every_entry_exists() -> None:
    lines = (ROOT / "tests" / "quick.txt").read_text(encoding="utf-8").splitlines()
    assert missing(lines) == []
    assert len(lines) == len(set(lines)) > 30


def test_an_entry_that_does_not_exist_is_found() -> None:
    here = "tests/architecture/test_quick.py"
    assert missing([here, f"{here}::test_every_entry_exists", f"{here}::test_every_entry_exists[gru-0]"]) == []
    wrong = ["tests/test_nothing.py", f"{here}::test_nothing", "tests/test_nothing.py::test_a[b]", ""]
    assert missing(wrong) == wrong
