"""docs/system.md has an entry for every folder of the package, with a link to every file."""

from pathlib import Path

import pytest

from tests.paths import PACKAGE, ROOT, package_files

system_map = pytest.importorskip("tools.system_map", reason="the tools do not come with an installed package")

# A summary must fit on one line.
LONGEST = 160
FILES = package_files()


def test_the_map_is_up_to_date() -> None:
    assert system_map.MAP.is_up_to_date(), "make docs"


def is_a_line(sentence: str) -> bool:
    """Whether it is one sentence of at most LONGEST characters."""
    return sentence.endswith((".", "?")) and 10 < len(sentence) <= LONGEST


def test_files_say_in_one_sentence_what_they_are() -> None:
    found = {path.relative_to(PACKAGE).as_posix(): system_map.sentence(path) for path in FILES}
    assert {name: sentence for name, sentence in found.items() if not is_a_line(sentence)} == {}


@pytest.mark.parametrize("sentence", ["", "No sentence", "Too short.", "It is long" * 20 + "."])
def test_what_is_no_line_of_the_map_is_seen(sentence: str) -> None:
    assert not is_a_line(sentence)


def test_every_file_is_on_the_map_once() -> None:
    links = [f"(../{path.relative_to(ROOT).as_posix()})" for path in FILES if path.stem != "__init__"]
    written = system_map.the_map()
    assert [link for link in links if written.count(link) != 1] == []


def test_the_map_has_the_order_of_the_parts() -> None:
    folders = [line.split("`")[1] for line in system_map.the_map().splitlines() if line.startswith("**")]
    parts = [folder.split("/")[1] for folder in folders[1:]]
    assert folders[0] == "gatewright/"
    assert parts == sorted(parts, key=system_map.PARTS.index)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('"""One. Two."""', "One."),
        ('"""Over\ntwo lines: `a.b`, 0.5.\n\nMore."""', "Over two lines: `a.b`, 0.5."),
        ('"""Is it? It is."""', "Is it?"),
        ('"""No sentence"""', "No sentence"),
        ("a = 1", ""),
    ],
)
def test_the_first_sentence_is_taken(source: str, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(source, encoding="utf-8")
    assert system_map.sentence(path) == expected


def test_a_file_stands_after_those_that_it_imports() -> None:
    needs = {"a": {"c"}, "b": set(), "c": {"d", "elsewhere"}, "d": set()}
    assert system_map.reading_order(["a", "b", "c", "d"], needs) == ["b", "d", "c", "a"]
