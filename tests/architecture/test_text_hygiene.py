"""What is committed is clean text that is true on every machine, or a small picture of the documentation."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.paths import ROOT

# Written in two parts so that this file does not find itself.
PLACES = {
    "a home folder": re.compile(r"/(?:home|Users)" + r"/[a-z]\w*/|/root" + r"/|[A-Z]:\\Users" + r"\\"),
    "a folder of one machine": re.compile(r"(?<![\w.~)])/(?:work|mnt|opt|scratch|workspace)" + r"/"),
    "a conflict that was left": re.compile(r"^(?:<{7}|>{7}|={7})(?: |$)", re.MULTILINE),
    "a line end of Windows": re.compile("\r"),
    "a space at the end of a line": re.compile(r"[ \t]+$", re.MULTILINE),
}
LARGEST = 500_000
LARGEST_PICTURE = 200_000  # pictures of pages, in docs
GOLDEN = ROOT / "tests" / "golden"


def tracked_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False, encoding="utf-8"
    )
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


FILES = tracked_files() if (ROOT / ".git").exists() else []
needs_git = pytest.mark.skipif(not FILES, reason="this is not a git checkout: there is no list of files")


def defects(text: str) -> list[str]:
    found = [
        f"line {text.count(chr(10), 0, match.start()) + 1} has {what}: {match.group().strip()!r}"
        for what, pattern in PLACES.items()
        for match in pattern.finditer(text)
    ]
    return found + ["does not end with one line end"] * (bool(text) and not re.search(r"[^\n]\n\Z", text))


def defects_of_file(content: bytes) -> list[str]:
    if b"\0" in content:
        return ["a binary file"]
    large = [f"{len(content)} bytes, at most {LARGEST}"] * (len(content) > LARGEST)
    try:
        return large + defects(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        return [*large, f"not UTF-8: {error}"]


def defects_of_picture(content: bytes) -> list[str]:
    large = [f"{len(content)} bytes, at most {LARGEST_PICTURE}"] * (len(content) > LARGEST_PICTURE)
    is_webp = content[:4] == b"RIFF" and content[8:12] == b"WEBP"
    return large + ["not a WebP picture"] * (not is_webp)


def is_picture(path: Path) -> bool:
    return path.suffix == ".webp" and path.parent == ROOT / "docs"


@needs_git
def test_committed_files_are_clean_text() -> None:
    found = {
        path.relative_to(ROOT).as_posix(): (defects_of_picture if is_picture(path) else defects_of_file)(
            path.read_bytes()
        )
        for path in FILES
    }
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"a\0b\n", "a binary file"),
        (b"one\n" * 125_001, "500004 bytes, at most 500000"),
        (b"caf\xe9\n", "not UTF-8: "),
    ],
)
def test_a_file_that_is_no_clean_text_is_found(content: bytes, found: str) -> None:
    (defect,) = defects_of_file(content)
    assert defect.startswith(found)


@pytest.mark.parametrize(
    ("content", "found"),
    [(b"RIFF1234WEBP" + b"0" * 199_989, ["200001 bytes, at most 200000"]), (b"GIF89a", ["not a WebP picture"])],
)
def test_a_file_that_is_no_picture_of_a_page_is_found(content: bytes, found: list[str]) -> None:
    assert defects_of_picture(content) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("see /wo" + "rk/main\n", "line 1 has a folder of one machine: '/wo" + "rk/'"),
        ("a\n'/ho" + "me/someone/x'\n", "line 2 has a home folder: '/ho" + "me/someone/'"),
        ("/ro" + "ot/.cache\n", "line 1 has a home folder: '/ro" + "ot/'"),
        ("<" * 7 + " HEAD\n", "line 1 has a conflict that was left: '<<<<<<<'"),
        ("one\r\n", "line 1 has a line end of Windows: ''"),
        ("one \n", "line 1 has a space at the end of a line: ''"),
        ("one", "does not end with one line end"),
        ("one\n\n", "does not end with one line end"),
    ],
)
def test_a_defect_is_found(text: str, found: str) -> None:
    assert defects(text) == [found]


@pytest.mark.parametrize("text", ["", "one\n", "https://example.org/work/paper\n", "../shared/data\n", "~/opt/x\n"])
def test_clean_text_is_left_alone(text: str) -> None:
    assert defects(text) == []
