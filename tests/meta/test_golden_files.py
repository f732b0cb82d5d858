"""Golden files fail when a text changes, and are written only when that is asked for."""

from pathlib import Path

import pytest

from tests.golden_files import GoldenFiles


def test_an_equal_text_passes(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    GoldenFiles(tmp_path).check("a.txt", "one\ntwo\n")


def test_another_text_fails_with_the_difference(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    with pytest.raises(
        AssertionError, match=r"differs from golden file a.txt(.|\n)*--update-golden(.|\n)*-two\n\+three"
    ):
        GoldenFiles(tmp_path).check("a.txt", "one\nthree\n")
    assert (tmp_path / "a.txt").read_text() == "one\ntwo\n"


@pytest.mark.parametrize("text", ["one", "one\r\n", "one\n\n", ""])
def test_line_ends_count(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.txt").write_text("one\n")
    with pytest.raises(AssertionError, match="differs from golden file a.txt"):
        GoldenFiles(tmp_path).check("a.txt", text)


def test_a_missing_file_fails(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="there is no golden file new/a.txt"):
        GoldenFiles(tmp_path).check("new/a.txt", "one\n")
    assert not (tmp_path / "new").exists()


def test_an_update_writes_what_differs_and_names_it(tmp_path: Path) -> None:
    (tmp_path / "same.txt").write_text("one\n")
    golden = GoldenFiles(tmp_path, update=True)
    golden.check("same.txt", "one\n")
    golden.check("new/a.txt", "two\n")
    assert golden.updated == ["new/a.txt"]
    GoldenFiles(tmp_path).check("new/a.txt", "two\n")
