"""A run whose files were damaged is not gone on with: the file is named, and the run stays as it was."""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gatewright.errors import DataError
from gatewright.tasks.training.history import read_rows
from gatewright.tasks.training.run_folder import RunFolder
from gatewright.tasks.training.session import resume, train
from tests.tasks.small import QUIET, killed_before, small_recipe, small_text

RESTORE = "\n  do: put a copy of it in its place, or start again with overwrite=True"
EPOCHS_DONE = 1  # by the checkpoint that is gone on from


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    return small_text(tmp_path_factory.mktemp("text"))


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory, source: str) -> Path:
    """A run that was killed in its second epoch."""
    path = tmp_path_factory.mktemp("killed") / "run"
    with pytest.MonkeyPatch.context() as patch, killed_before(7, patch):
        train(small_recipe(), out=path, source=source, console=QUIET)
    return path


@pytest.fixture
def run(killed: Path, tmp_path: Path) -> RunFolder:
    return RunFolder(Path(shutil.copytree(killed, tmp_path / "run")))


def contents(folder: RunFolder) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.path.rglob("*")) if path.is_file()}


def expect_refused(folder: RunFolder, told: str) -> None:
    """Resuming says so, and leaves every file as it is."""
    before = contents(folder)
    with pytest.raises(DataError) as caught:
        resume(folder.path, console=QUIET)
    assert str(caught.value) == told + RESTORE
    assert contents(folder) == before


def saved(content: Any) -> bytes:
    written = io.BytesIO()
    torch.save(content, written)
    return written.getvalue()


NONE_OF_A_RUN = {
    "a tensor": (torch.zeros(3), "an object of JSON", "Tensor"),
    "an empty dict": ({}, "epoch: a whole number", "no such entry"),
    "of other words": ({"epoch": "two"}, "epoch: a whole number", "two"),
}


@pytest.mark.parametrize("name", NONE_OF_A_RUN)
def test_a_checkpoint_that_is_none_of_a_run(name: str, run: RunFolder) -> None:
    content, expected, got = NONE_OF_A_RUN[name]
    run.checkpoint.write_bytes(saved(content))
    told = f"the checkpoint {run.checkpoint} is none of a run\n  expected: {expected}\n  got: {got}"
    expect_refused(run, told)


def test_an_empty_checkpoint(run: RunFolder) -> None:
    run.checkpoint.write_bytes(b"")
    told = f"the checkpoint {run.checkpoint} cannot be read\n  got: an empty file"
    expect_refused(run, told)


def changed(checkpoint: dict[str, Any], *place: str, to: Any) -> bytes:
    within = checkpoint
    for name in place[:-1]:
        within = within[name]
    if to is None:
        del within[place[-1]]
    else:
        within[place[-1]] = to
    return saved(checkpoint)


DAMAGE: dict[str, tuple[tuple[str, ...], Any, str]] = {
    "no callbacks of ours": (("callbacks", "History"), None, "is none of a run\n  expected: History: an object"),
    "a network of other weights": (("state_dict",), {}, "does not fit the run\n  got: RuntimeError: Error(s)"),
    "an optimiser without a state": (("optimizer_states",), [{}], "does not fit the run\n  got: "),
    "a loop without its place": (
        ("loops", "fit_loop"),
        {},
        "does not fit the run\n  expected: loops at iteration 6",
    ),
    "no carried state": (("gatewright", "processes"), [], "does not fit the run\n  got: IndexError: list index"),
    "no random numbers": (("gatewright", "processes"), [{"state": None, "random numbers": 3}], "does not fit"),
    "sums that are none": (("gatewright", "means"), {"loss": 3}, "does not fit the run\n  got: TypeError"),
    "a best network of other weights": (
        ("callbacks", "Keeper", "best"),
        {"weight": torch.zeros(2)},
        "does not fit the run\n  got: ValueError: the best network has other weights than the run's",
    ),
    "a best epoch that is a text": (
        ("callbacks", "Keeper", "best_epoch"),
        "two",
        "does not fit the run\n  got: ValueError: best_epoch: a whole number was expected, not 'two'",
    ),
    "an iteration that is a text": (("callbacks", "History", "iteration"), "six", "does not fit the run\n  got: "),
    "seconds that are none": (("callbacks", "History", "seconds"), "x", "does not fit the run\n  got: ValueError"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_checkpoint_with_a_part_that_is_wrong(name: str, run: RunFolder) -> None:
    place, to, told = DAMAGE[name]
    run.checkpoint.write_bytes(changed(torch.load(run.checkpoint, weights_only=True), *place, to=to))
    before = contents(run)
    with pytest.raises(DataError) as caught:
        resume(run.path, console=QUIET)
    assert str(caught.value).startswith(f"the checkpoint {run.checkpoint} {told}")
    assert str(caught.value).endswith(RESTORE)
    assert contents(run) == before


def test_rows_that_are_no_text(run: RunFolder) -> None:
    run.metrics.write_bytes(run.metrics.read_bytes() + b"\xc0\xc4")
    with pytest.raises(DataError) as caught:
        resume(run.path, console=QUIET)
    assert str(caught.value).startswith(f"{run.metrics} cannot be read\n  got: 'utf-8' codec can't decode byte 0xc0")


def test_rows_without_a_column(run: RunFolder) -> None:
    run.metrics.write_text("epoch,eiteration,loss\n1,4,2.5\n")
    told = f"{run.metrics} is damaged\n  expected: a column 'iteration'\n  got: epoch, eiteration, loss"
    expect_refused(run, told)


def test_no_rows_at_all(run: RunFolder) -> None:
    run.metrics.write_bytes(b"")
    expect_refused(run, f"{run.metrics} is damaged\n  expected: a column 'epoch'\n  got: an empty file")


def test_a_line_in_the_middle_that_is_no_row(run: RunFolder) -> None:
    run.metrics.write_text("epoch,iteration,loss\n1,four,2.5\n2,8,2.4\n")
    expect_refused(run, f"{run.metrics} is damaged in line 2\n  expected: numbers for epoch, iteration, loss")


@pytest.mark.parametrize("remove", [Path.unlink, lambda path: path.write_text("epoch,iteration\n")])
def test_rows_that_are_lost(remove: Callable[[Path], object], run: RunFolder) -> None:
    remove(run.metrics)
    expect_refused(
        run,
        f"{run.metrics} does not have the rows that the checkpoint goes on from"
        f"\n  expected: one for each of {EPOCHS_DONE} epochs\n  got: 0 rows",
    )


def test_a_last_line_that_was_cut_short_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    for cut in ("2", "2,8", "2,8,", "2,8,2.4,1,", "2,8,x", "nan,8,1", ""):
        path.write_text(f"epoch,iteration,loss,rate\n1,4,2.5,0.1\n{cut}")
        assert read_rows(path)[:1] == [{"epoch": 1.0, "iteration": 4.0, "loss": 2.5, "rate": 0.1}]
        assert len(read_rows(path)) == 1


ODD: dict[str, tuple[dict[str, Any], str]] = {
    "a text for a number": ({"threads": "one"}, "is damaged\n  expected: threads: a whole number\n  got: 'one'"),
    "a truth value for a number": ({"nodes": True}, "is damaged\n  expected: nodes: a whole number\n  got: True"),
    "no process": ({"devices": 0}, "is damaged\n  expected: devices from 1 to 4096\n  got: 0"),
    "a list of settings": ({"settings": [1]}, "is damaged\n  expected: settings: an object\n  got: [1]"),
    "a number for a path": ({"data": 3}, "is damaged\n  expected: data: a text or null\n  got: 3"),
    "a number for equations": ({"trace": 7}, "is damaged\n  expected: trace: a text\n  got: 7"),
}


@pytest.mark.parametrize("name", ODD)
def test_a_description_of_other_kinds(name: str, run: RunFolder) -> None:
    change, told = ODD[name]
    run.run.write_text(json.dumps({**run.read(run.run), **change}))
    expect_refused(run, f"{run.run} {told}")


def test_a_description_whose_entries_cannot_be(run: RunFolder) -> None:
    kept = run.read(run.run)
    for change, told in (
        ({"recipe": "txt"}, "there is no recipe"),
        ({"settings": {**kept["settings"], "hidden": "many"}}, "hidden"),
        ({"settings": {**kept["settings"], "layerss": 2}}, "recipe 'text' has no setting 'layerss'"),
        ({"trace": "gatewright-trace 1\ncell"}, ""),
    ):
        run.run.write_text(json.dumps({**kept, **change}))
        before = contents(run)
        with pytest.raises(DataError) as caught:
            resume(run.path, console=QUIET)
        assert str(caught.value).startswith(f"{run.run} is damaged: ")
        assert told in str(caught.value)
        assert str(caught.value).endswith(RESTORE)
        assert contents(run) == before


def test_a_description_that_is_nested_too_deeply(run: RunFolder) -> None:
    run.run.write_text("[" * 100_000)
    expect_refused(run, f"{run.run} cannot be read\n  got: it is nested 100,000 deep; 100 are allowed")


def test_a_description_that_is_no_object(run: RunFolder) -> None:
    run.run.write_text("[1, 2]")
    expect_refused(run, f"{run.run} is damaged\n  expected: an object of JSON\n  got: [1, 2]")


def test_a_result_of_other_kinds(run: RunFolder) -> None:
    resume(run.path, console=QUIET)
    kept = run.read(run.result)
    for change, told in (
        ({"seconds": "long"}, "seconds: a number\n  got: 'long'"),
        ({"metrics": {"test": 3}}, "metrics: an object\n  got: {'test': 3}"),
        ({"best_epoch": "two"}, "best_epoch: a whole number or null\n  got: 'two'"),
    ):
        run.result.write_text(json.dumps({**kept, **change}))
        expect_refused(run, f"{run.result} is damaged\n  expected: {told}")
