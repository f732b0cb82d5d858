"""The digest of the sources: it follows every change, and is read from disk where there was none."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gatewright.backends.llvm.jit import generator
from gatewright.backends.llvm.jit.generator import PARTS, generator_digest
from gatewright.kernel_cache import schedule_cache
from tests.paths import ROOT

posix = pytest.mark.skipif(os.name != "posix", reason="the digest is not kept on this system")
HOUR = 3600 * 10**9


@pytest.fixture
def digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], str]]:
    """The digest of a package with the files lang/ops.py, lang/deep/er.py and axes.py, as a new process finds it."""
    package = tmp_path / "package"
    for name in ("lang/ops.py", "lang/deep/er.py", "axes.py"):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(f"# {name}")
    monkeypatch.setattr(generator, "__file__", str(package / "backends" / "llvm" / "jit" / "generator.py"))
    monkeypatch.setenv("GATEWRIGHT_CACHE", str(tmp_path / "cache"))

    def compute() -> str:
        generator_digest.cache_clear()
        return generator_digest()

    yield compute
    generator_digest.cache_clear()


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """An hour has passed since the files were written."""
    now = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now + HOUR)


def files(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "package").rglob("*.py"))


@pytest.mark.parametrize("number", range(3))
@pytest.mark.usefixtures("later")
def test_a_change_of_any_file_is_seen(digest: Callable[[], str], tmp_path: Path, number: int) -> None:
    before, path = digest(), files(tmp_path)[number]
    assert digest() == before
    info, text = path.stat(), path.read_text()
    path.write_text(text.replace("#", "%"))  # of the same size
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))
    after = digest()
    assert after != before
    path.write_text(text)
    assert digest() == before
    path.unlink()
    assert digest() not in (before, after)


@posix
@pytest.mark.usefixtures("later")
def test_files_that_are_as_they_were_are_not_read_again(
    digest: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = digest()
    monkeypatch.setattr(os, "open", _refusing(os.open, str(tmp_path / "package")))
    assert digest() == before
    monkeypatch.setenv("GATEWRIGHT_CACHE", "off")
    with pytest.raises(AssertionError, match="is read"):
        digest()


def test_files_that_were_just_written_are_always_read(
    digest: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest()
    monkeypatch.setattr(os, "open", _refusing(os.open, str(tmp_path / "package")))
    with pytest.raises(AssertionError, match="is read"):
        digest()


@posix
@pytest.mark.usefixtures("later")
def test_a_damaged_entry_is_replaced(digest: Callable[[], str]) -> None:
    before, folder = digest(), schedule_cache().status().folder
    assert folder is not None
    (entry,) = folder.iterdir()
    whole = entry.read_bytes()
    entry.write_bytes(whole[:-1] + b"0")
    assert digest() == before
    assert entry.read_bytes() == whole


def test_all_parts_that_decide_what_is_generated_are_there() -> None:
    package = ROOT / "src" / "gatewright"
    assert [part for part in PARTS if not (package / part).exists()] == []


def _refusing(real: Callable[..., int], folder: str) -> Callable[..., int]:
    def refuse(path: str, *args: int, **options: int) -> int:
        assert not str(path).startswith(folder), f"{path} is read"
        return real(path, *args, **options)

    return refuse
