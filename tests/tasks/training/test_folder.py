"""A run never loses what lies in its folder already."""

from pathlib import Path

import pytest

from gatewright.errors import DataError, OptionError
from gatewright.tasks.training.run_folder import RunFolder, absolute


def filled(path: Path, *, finished: bool) -> RunFolder:
    folder = RunFolder(path)
    path.mkdir()
    folder.write(folder.run, {"recipe": "adding"})
    folder.model.write_bytes(b"weights")
    folder.tensorboard.mkdir()
    (folder.tensorboard / "events.out.tfevents.1").write_bytes(b"")
    (path / "notes.txt").write_text("mine")
    if finished:
        folder.write(folder.result, {})
    return folder


@pytest.mark.parametrize(
    ("finished", "message"),
    [
        (
            True,
            (
                "{} holds a finished run already\n"
                "  do: --out trains in another folder, --overwrite deletes it and starts again"
            ),
        ),
        (
            False,
            (
                "{} holds an unfinished run already\n  do: --resume goes on with it, --out trains in another folder, "
                "--overwrite deletes it and starts again"
            ),
        ),
    ],
)
def test_refuses_a_run_that_is_there(finished: bool, message: str, tmp_path: Path) -> None:
    folder = filled(tmp_path / "run", finished=finished)
    with pytest.raises(OptionError) as caught:
        folder.check_new(overwrite=False)
    assert caught.value.in_shell() == message.format(folder.path)
    advice = "overwrite=True deletes it and starts again"
    assert str(caught.value).endswith(f"  do: {advice}" if finished else f"  do: resume goes on with it, {advice}")
    assert folder.model.read_bytes() == b"weights"


def test_overwrites_only_what_a_run_writes(tmp_path: Path) -> None:
    folder = filled(tmp_path / "run", finished=True)
    folder.check_new(overwrite=True)
    left = sorted(str(one.relative_to(folder.path)) for one in folder.path.rglob("*"))
    assert left == ["notes.txt", "tensorboard"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_leaves_files_of_others_alone(overwrite: bool, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.model.write_bytes(b"somebody's")
    with pytest.raises(OptionError) as caught:
        folder.check_new(overwrite=overwrite)
    assert str(caught.value) == (
        f"{folder.model} is there already, and is not of a run of ours\n  do: name another folder"
    )


def test_one_process_at_a_time(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "run").locked():
        with pytest.raises(OptionError) as caught, RunFolder(tmp_path / "run").locked():
            pass
        assert str(caught.value) == (
            f"another process is training in {tmp_path}/run\n  do: wait for it, or name another folder"
        )


def test_nothing_is_left_where_nothing_was_begun(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), RunFolder(tmp_path / "new").locked():
        _ = 1 / 0
    assert not (tmp_path / "new").exists()
    (tmp_path / "mine").mkdir()
    with pytest.raises(ZeroDivisionError), RunFolder(tmp_path / "mine").locked():
        _ = 1 / 0
    assert list((tmp_path / "mine").iterdir()) == []


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(OptionError, match=r"file/run cannot be a folder to write in"),
        RunFolder(tmp_path / "file/run").locked(),
    ):
        pass


def test_a_damaged_description(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.run.write_text('{"recipe": ')
    with pytest.raises(DataError, match=r"run\.json cannot be read"):
        folder.read(folder.run)


def test_paths_hold_from_every_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("notes.txt").write_text("words")
    Path("timemachine").write_text("not the book")
    assert absolute("notes.txt") == str(tmp_path / "notes.txt")
    assert absolute("timemachine") == "timemachine"
    assert absolute("absent") == "absent"
    assert absolute(None) is None


def test_half_files_of_a_killed_run_are_removed_when_the_next_begins(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    left, foreign = tmp_path / ".last.ckpt.0123abcd.part", tmp_path / ".notes.txt.0123abcd.part"
    for path in (folder.run, left, foreign):
        path.write_text("{}")
    with folder.locked():
        assert not left.exists()
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != ".lock") == [foreign.name, "run.json"]


def test_a_path_with_a_nul_is_refused() -> None:
    with pytest.raises(OptionError) as caught, RunFolder(Path("a\0b")).locked():
        pass
    assert str(caught.value) == "'a\\x00b' cannot be a folder: it holds a NUL\n  do: name another"
