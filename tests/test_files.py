"""A file is written as a whole, or not at all."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gatewright.errors import WriteError
from gatewright.files import remove_parts, write_atomically, write_together
from tests.paths import subprocess_environment


def test_the_new_content_replaces_the_old(tmp_path: Path) -> None:
    path = tmp_path / "a file"
    for content in (b"long, and old", b"new", b""):
        write_atomically(path, content)
        assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=["full", "stopped"]
)
def test_an_error_leaves_the_old_content_and_nothing_else(
    error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "last.ckpt"
    write_atomically(path, b"old")

    def fail(_: int) -> None:
        raise error

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(WriteError if isinstance(error, OSError) else KeyboardInterrupt) as caught:
        write_atomically(path, b"new")
    if isinstance(error, OSError):
        assert str(caught.value) == (
            f"{path} cannot be written: No space left on device\n"
            "  do: see that there is room, or give a path in a folder that can be written to"
        )
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_in_the_way_is_left(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="taken"):
        write_atomically(tmp_path / "taken", b"new")
    assert [one.name for one in tmp_path.iterdir()] == ["taken"]


def test_two_writers_have_a_part_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, before = tmp_path / "file", os.fsync

    def write_another_meanwhile(descriptor: int) -> None:
        monkeypatch.setattr(os, "fsync", before)
        write_atomically(path, b"second")
        before(descriptor)

    monkeypatch.setattr(os, "fsync", write_another_meanwhile)
    write_atomically(path, b"first")
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(sys.platform == "win32", reason="needs the permissions of POSIX")
def test_it_has_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "file", b"")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


def test_files_that_belong_together_are_put_in_place_when_all_are_ready(tmp_path: Path) -> None:
    header, source, absent = tmp_path / "a.h", tmp_path / "a.c", tmp_path / "no folder" / "a.c"
    write_together({header: b"old", source: b"old"})
    with pytest.raises(OSError, match="No such file"):
        write_together({header: b"new", absent: b"new"})
    assert (header.read_bytes(), source.read_bytes()) == (b"old", b"old")
    write_together({header: b"new", source: b"new"})
    assert (header.read_bytes(), source.read_bytes()) == (b"new", b"new")
    assert sorted(tmp_path.iterdir()) == [source, header]


KILLED = """
import os, sys
from pathlib import Path
from gatewright.files import write_atomically
os.fsync = lambda _: os._exit(9)
write_atomically(Path(sys.argv[1]), b"half")
"""


def test_what_a_killed_writer_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    command = [sys.executable, "-c", KILLED, str(path)]
    assert subprocess.run(command, check=False, env=subprocess_environment()).returncode == 9
    (left,) = tmp_path.iterdir()
    assert left.name.endswith(".part")
    foreign = [".last.ckpt.part", "last.ckpt.0123abcd.part", ".other.ckpt.0123abcd.part", ".last.ckpt.0123abcdef.part",
               ".last.ckpt.tmpabcde.part", ".lastxckpt.0123abcd.part", "film.part"]  # fmt: skip
    for name in foreign:
        (tmp_path / name).write_bytes(b"mine")
    remove_parts(path, tmp_path / "none" / "model.safetensors")
    assert sorted(one.name for one in tmp_path.iterdir()) == sorted(foreign)
