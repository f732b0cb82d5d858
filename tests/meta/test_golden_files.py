"""Golden files fail when a text changes, and are written only when that is asked for."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.golden_files import GoldenFiles
from tests.paths import ROOT


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


TWO_TESTS = """
def test_with_a_golden_file(golden):
    assert golden

def test_without():
    assert False
"""


def test_an_update_runs_the_tests_of_golden_files_alone(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(TWO_TESTS)
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.conftest", "--rootdir", ".", "--update-golden", "test_it.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 passed, 1 deselected" in run.stdout
    assert run.returncode == pytest.ExitCode.OK
