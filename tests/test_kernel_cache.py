"""Object code on disk: what is kept, what is not believed, and what goes wrong without harm."""

import errno
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gatewright import kernel_cache as cache
from gatewright.kernel_cache import KernelCache
from tests.paths import subprocess_environment

posix = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="files have neither owners nor modes here")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "kernels"


@pytest.fixture
def kept(folder: Path) -> KernelCache:
    return KernelCache(folder)


def entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def test_code_comes_back_under_its_description(kept: KernelCache) -> None:
    assert kept.load("gru") is None
    kept.store("gru", b"code of a gru")
    kept.store("lstm", b"")
    assert kept.load("gru") == b"code of a gru"
    assert kept.load("lstm") == b""
    assert kept.load("GRU") is None


def test_another_process_finds_it(kept: KernelCache, folder: Path) -> None:
    kept.store("gru", b"code")
    assert KernelCache(folder).load("gru") == b"code"


def test_the_folder_and_entries_are_closed_to_others(kept: KernelCache, folder: Path) -> None:
    kept.store("gru", b"code")
    modes = [path.stat().st_mode & 0o777 for path in (folder, *entries(folder))]
    assert modes == [0o700, 0o600] or not hasattr(os, "geteuid")


def test_the_status_tells_what_is_kept_and_how_it_served(kept: KernelCache, folder: Path) -> None:
    kept.load("gru")
    kept.store("gru", b"code")
    kept.load("gru")
    status = kept.status()
    assert (status.folder, status.entries, status.size) == (folder, 1, entries(folder)[0].stat().st_size)
    assert (status.hits, status.misses, status.rejected, status.problem) == (1, 1, 0, None)


# What is not believed


def _start(entry: bytes) -> int:
    return entry.index(b"gru")


SPOILT: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda entry: b"", "is not a kernel of this version"),
    "cut short in its head": (lambda entry: entry[:30], "is not a kernel of this version"),
    "cut short": (lambda entry: entry[:-1], "is damaged"),
    "too long": (lambda entry: entry + b"\0", "is damaged"),
    "of another version": (lambda entry: entry.replace(b"kernel 1", b"kernel 0"), "is not a kernel of this version"),
    "of another kind": (lambda entry: b"\x7fELF" + entry[4:], "is not a kernel of this version"),
    "changed in its code": (lambda entry: entry[:-1] + bytes([entry[-1] ^ 1]), "is damaged"),
    "changed in its description": (lambda entry: entry.replace(b"gru", b"grv"), "is damaged"),
    "changed in its digest": (
        lambda entry: entry[: _start(entry) - 1] + bytes([entry[_start(entry) - 1] ^ 1]) + entry[_start(entry) :],
        "is damaged",
    ),
    "changed in a length": (lambda entry: entry[:20] + bytes([entry[20] ^ 1]) + entry[21:], "is damaged"),
}


@pytest.mark.parametrize("kind", SPOILT)
def test_an_entry_that_is_spoilt_is_made_again(kept: KernelCache, folder: Path, kind: str) -> None:
    spoil, reason = SPOILT[kind]
    kept.store("gru", b"code")
    (path,) = entries(folder)
    path.write_bytes(spoil(path.read_bytes()))
    assert kept.load("gru") is None
    assert kept.status().rejected == 1
    assert kept.status().problem == f"{path} {reason}"
    kept.store("gru", b"code")
    assert kept.load("gru") == b"code"


def test_an_entry_that_was_made_for_something_else_is_not_run(kept: KernelCache, folder: Path) -> None:
    kept.store("gru", b"code")
    (ours,) = entries(folder)
    kept.store("gru on another machine", b"strange code")
    (other,) = set(entries(folder)) - {ours}
    other.replace(ours)
    assert kept.load("gru") is None
    assert kept.status().problem == f"{ours} holds another kernel"


@posix
@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_an_entry_that_others_can_write_is_not_run(kept: KernelCache, folder: Path, mode: int) -> None:
    kept.store("gru", b"code")
    (path,) = entries(folder)
    path.chmod(mode)
    assert kept.load("gru") is None
    assert kept.status().problem == f"{path} can be written by others"
    kept.store("gru", b"code")
    assert kept.load("gru") == b"code"


@posix
def test_an_entry_of_another_user_is_not_run(kept: KernelCache, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.store("gru", b"code")
    (path,) = entries(folder)
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    assert kept.load("gru") is None
    assert kept.status().problem == f"{path} belongs to another user"
    kept.store("lstm", b"code")
    assert kept.status().problem == f"{folder} belongs to another user"
    assert entries(folder) == [path]


@posix
def test_a_link_to_an_entry_is_not_followed(kept: KernelCache, folder: Path, tmp_path: Path) -> None:
    kept.store("gru", b"code")
    (path,) = entries(folder)
    elsewhere = path.replace(tmp_path / "elsewhere")
    path.symlink_to(elsewhere)
    assert kept.load("gru") is None
    assert kept.status().problem == f"{path} is not a plain file"
    kept.store("gru", b"new code")
    assert kept.load("gru") == b"new code"
    assert elsewhere.read_bytes().endswith(b"code")
    assert not elsewhere.read_bytes().endswith(b"new code")


@posix
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
def test_what_is_no_file_is_not_waited_for(kept: KernelCache, folder: Path, make: Callable[[Path], None]) -> None:
    kept.store("gru", b"code")
    (path,) = entries(folder)
    path.unlink()
    make(path)
    assert kept.load("gru") is None
    assert kept.status().problem == f"{path} is not a plain file"


@posix
@pytest.mark.parametrize("mode", [0o770, 0o777])
def test_nothing_is_put_where_others_can_write(kept: KernelCache, folder: Path, mode: int) -> None:
    folder.mkdir()
    folder.chmod(mode)
    kept.store("gru", b"code")
    assert entries(folder) == []
    assert kept.status().problem == f"{folder} can be written by others"


# What goes wrong without harm


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    for folder in (tmp_path / "file", tmp_path / "file" / "kernels"):
        kept = KernelCache(folder)
        kept.store("gru", b"code")
        assert kept.load("gru") is None
        assert kept.status().problem is not None
        assert kept.status().problem.startswith(f"cannot read {folder}: ")
        kept.clear()
        assert kept.status().entries == 0


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_a_folder_that_takes_no_file_is_told(
    kept: KernelCache, folder: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    kept.store("gru", b"code")
    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    monkeypatch.setattr(os, "utime", refuse)
    kept.store("lstm", b"code")
    assert kept.status().problem == f"cannot write to {folder}: {os.strerror(code)}"
    assert kept.load("lstm") is None
    assert kept.load("gru") == b"code"


def test_a_disk_that_fills_up_leaves_nothing_behind(
    kept: KernelCache, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, target: Path) -> Path:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "replace", refuse)
    kept.store("gru", b"code")
    assert entries(folder) == []


def test_without_a_folder_nothing_is_kept() -> None:
    kept = KernelCache(None)
    kept.store("gru", b"code")
    assert kept.load("gru") is None
    kept.clear()
    assert (kept.status().folder, kept.status().entries, kept.status().misses) == (None, 0, 1)


# How much is kept


def _age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_what_was_used_last_is_kept(folder: Path) -> None:
    kept = KernelCache(folder, limit=10_000)
    names = [f"cell {number}" for number in range(5)]
    for age, name in enumerate(reversed(names[:4])):
        kept.store(name, bytes(2000))
        _age(cache.entry_path(folder, name), 100 + age)
    assert kept.load("cell 0") == bytes(2000)  # the oldest, until now
    kept.store("cell 4", bytes(2000))
    assert [name for name in names if kept.load(name) is not None] == ["cell 0", "cell 2", "cell 3", "cell 4"]
    assert kept.status().size <= 9000


def test_what_is_larger_than_all_that_may_be_kept_is_dropped(folder: Path) -> None:
    kept = KernelCache(folder, limit=1000)
    kept.store("gru", bytes(2000))
    assert kept.load("gru") is None
    assert kept.status().problem is None


def test_parts_that_a_killed_process_left_are_removed_in_time(kept: KernelCache, folder: Path) -> None:
    folder.mkdir(mode=0o700)
    left, growing = (
        folder / f"{cache.entry_path(folder, 'lstm').stem}.{name}.part" for name in ("abc_d123", "x1y2z3_4")
    )
    for path in (left, growing):
        path.write_bytes(b"half an entry")
    _age(left, 2 * 3600)
    kept.store("gru", b"code")
    assert entries(folder) == sorted([growing, cache.entry_path(folder, "gru")])


def test_a_process_that_is_killed_leaves_a_part_that_is_known(
    kept: KernelCache, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        patched.setattr(Path, "unlink", lambda *_, **__: None)
        with pytest.raises(KeyboardInterrupt):
            kept.store("gru", b"code")
    (part,) = entries(folder)
    _age(part, 2 * 3600)
    kept.store("lstm", b"code")
    assert entries(folder) == [cache.entry_path(folder, "lstm")]


FOREIGN = ("notes.txt", "film.mkv.part", "tmpabc123.part", "linux.kernel", f"{'0' * 63}.kernel", f"{'0' * 64}.part")


def test_files_of_others_are_never_removed(folder: Path) -> None:
    """The folder for kernels may be one in which somebody else keeps things."""
    kept = KernelCache(folder, limit=1000)
    kept.store("gru", b"code")
    for name in FOREIGN:
        (folder / name).write_bytes(bytes(2000))
        _age(folder / name, 10 * 3600)
    kept.store("lstm", b"code")
    assert kept.status().entries == 2
    kept.clear()
    assert sorted(path.name for path in entries(folder)) == sorted(FOREIGN)
    assert kept.load("gru") is None


# The cache of the user


def test_the_environment_places_the_cache_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWRIGHT_CACHE", str(tmp_path))
    assert cache.status().folder == tmp_path / "kernels"
    assert cache.default_cache() is cache.default_cache()
    cache.default_cache().store("gru", b"code")
    assert cache.status().entries == 1
    cache.clear()
    assert cache.status().entries == 0
    monkeypatch.setenv("GATEWRIGHT_CACHE", "off")
    assert cache.status().folder is None


def test_without_the_environment_it_lies_where_the_system_keeps_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GATEWRIGHT_CACHE")
    assert cache.status().folder == Path(cache.user_cache_dir("gatewright")) / "kernels"


HAMMER = """
import random, sys
from pathlib import Path
from gatewright.kernel_cache import KernelCache

folder, seed = Path(sys.argv[1]), int(sys.argv[2])
choose = random.Random(seed)
kept = KernelCache(folder, limit=30_000)  # about ten of the sixteen, so that entries are removed all the time
for turn in range(300):
    number = choose.randrange(16)
    code = bytes([number]) * (2000 + 100 * number)
    found = kept.load(f"cell {number}")
    assert found in (None, code), "another entry came back"
    if found is None:
        kept.store(f"cell {number}", code)
    if turn % 100 == 99:
        kept.clear()
status = kept.status()
assert status.rejected == 0, status
print(status.hits, status.problem)
"""


def test_processes_may_share_a_folder(folder: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", HAMMER, str(folder)]
    running = [
        subprocess.Popen(
            [*command, str(seed)],
            env=subprocess_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for seed in range(4)
    ]
    for process in running:
        said, _ = process.communicate(timeout=120)
        assert process.returncode == 0, said
        hits, _, problem = said.strip().partition(" ")
        assert int(hits) > 0
        assert problem == "None"
