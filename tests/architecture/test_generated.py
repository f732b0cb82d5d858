"""The parts of documents that are made from the code are up to date, and an old one is seen."""

import sys
from pathlib import Path

import pytest

from gatewright import cells

generated = pytest.importorskip("tools.generated", reason="the tools do not come with an installed package")
conventions = pytest.importorskip("tools.conventions")
rosetta = pytest.importorskip("tools.rosetta")


@pytest.fixture
def page(tmp_path: Path) -> generated.Generated:
    document = generated.Generated(tmp_path / "page.md", lambda: "new", "the code")
    document.document.write_text(f"Before.\n\n{document.begin}\n\nold\n\n{generated.END}\n\nAfter.\n", encoding="utf-8")
    return document


def run(page: generated.Generated, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["page", *arguments])
    page.main("A page.")


def test_the_table_of_conventions_is_up_to_date() -> None:
    assert conventions.TABLE.is_up_to_date(), "make docs"


def test_the_rosetta_table_is_up_to_date() -> None:
    assert rosetta.TABLES.is_up_to_date(), "make docs"


def test_every_cell_is_in_the_table_of_conventions() -> None:
    rows = conventions.the_table().splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == list(cells.CATALOGUE)
    assert {row.replace("\\|", "").count("|") for row in rows} == {len(conventions.COLUMNS) + 1}


def test_an_old_part_is_seen_and_made_anew(page: generated.Generated, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match=r"^page\.md is not up to date: make docs$"):
        run(page, monkeypatch, "--check")
    run(page, monkeypatch)
    text = f"Before.\n\n{page.begin}\n\nnew\n\n{generated.END}\n\nAfter.\n"
    assert page.document.read_text(encoding="utf-8") == text
    run(page, monkeypatch, "--check")


def test_a_document_without_a_place_is_refused(page: generated.Generated) -> None:
    with pytest.raises(SystemExit, match=r"page\.md has no place for what is made:"):
        page.renewed(f"{page.begin}\n")
