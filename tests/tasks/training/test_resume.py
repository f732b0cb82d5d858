"""A run that was killed, wherever it was, ends as one that was not."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
import torch

from gatewright.errors import DataError, OptionError
from gatewright.tasks.recipe import Recipe
from gatewright.tasks.recipes import get
from gatewright.tasks.training.checkpoints import RunObserver
from gatewright.tasks.training.run_folder import RunFolder
from gatewright.tasks.training.session import Interrupted, resume, train
from tests.paths import subprocess_environment
from tests.tasks.small import ITERATIONS, QUIET, SETTINGS, killed_before, small_recipe, small_text, timeless, weights

Run = Callable[..., RunFolder]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    return small_text(tmp_path_factory.mktemp("text"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, source: str) -> RunFolder:
    """A run that nothing stopped."""
    folder = RunFolder(tmp_path_factory.mktemp("whole"))
    train(small_recipe(), out=folder.path, source=source, console=QUIET)
    return folder


def expect_same_end(folder: RunFolder, whole: RunFolder) -> None:
    assert weights(folder) == weights(whole)
    assert timeless(folder.metrics) == timeless(whole.metrics)
    ours, theirs = folder.read(folder.result), whole.read(whole.result)
    assert ours["metrics"] == theirs["metrics"]
    assert ours["samples"] == theirs["samples"]
    assert ours["iterations"] == ITERATIONS


@pytest.mark.parametrize("iteration", [0, 2, 3, 4, 5, 8, 11])  # before, at and after checkpoints and epochs' ends
def test_killed_at_any_iteration(
    iteration: int, tmp_path: Path, source: str, whole: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder(tmp_path / "run")
    with killed_before(iteration, monkeypatch):
        train(small_recipe(), out=folder.path, source=source, console=QUIET)
    assert not folder.finished
    resume(folder.path, console=QUIET)
    expect_same_end(folder, whole)


OTHER_WAYS = {
    "words": [
        "read=stream", "hidden=6", "batch=2", "steps=4", "held_out=0.2", "epochs=3", "checkpoint_every=3",
        "prompts=fox", "weight_drop=0.3", "dropout_per=sequence", "schedule=decay", "decay_after=1",
        "optimiser=sgd", "rate=1",
    ],
    "sentences": ["read=sentences", "hidden=6", "batch=2", "held_out=0.2", "epochs=2", "optimiser=adadelta", "rate=1"],
}  # fmt: skip


@pytest.mark.parametrize("way", OTHER_WAYS)
def test_every_way_to_train_goes_on(way: str, tmp_path: Path, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = get("words").configured(OTHER_WAYS[way])
    whole, folder = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "run")
    train(made, out=whole.path, source=source, console=QUIET)
    with killed_before(whole.read(whole.result)["iterations"] - 1, monkeypatch):
        train(made, out=folder.path, source=source, console=QUIET)
    resume(folder.path, console=QUIET)
    assert weights(folder) == weights(whole)
    assert timeless(folder.metrics) == timeless(whole.metrics)
    assert 0 not in folder.read(folder.result)["speed"].values()


def test_killed_again_and_again(tmp_path: Path, source: str, whole: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RunFolder(tmp_path / "run")
    with killed_before(5, monkeypatch):
        train(small_recipe(), out=folder.path, source=source, console=QUIET)
    for iteration in (4, 7, 8, 11):
        with killed_before(iteration, monkeypatch):
            resume(folder.path, console=QUIET)
    resume(folder.path, console=QUIET)
    expect_same_end(folder, whole)


def test_killed_after_the_last_iteration(
    tmp_path: Path, source: str, whole: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder(tmp_path / "run")
    with monkeypatch.context() as patched:
        patched.setattr("gatewright.tasks.training.session.draw_curves", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train(small_recipe(), out=folder.path, source=source, console=QUIET)
    assert not folder.finished
    resume(folder.path, console=QUIET)
    expect_same_end(folder, whole)


def test_early_stopping_is_not_forgotten(tmp_path: Path, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    patient = small_recipe("epochs=9", "patience=2")
    measured = iter([{"loss": 1.0}, {"loss": 2.0}, {"loss": 3.0}])  # a fourth would be asked for in vain
    folder = RunFolder(tmp_path / "run")
    with monkeypatch.context() as patched:
        patched.setattr("gatewright.tasks.training.history.measure", lambda *_: next(measured))
        patched.setattr("gatewright.tasks.training.session.draw_curves", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train(patient, out=folder.path, source=source, console=QUIET)
    result = resume(folder.path, console=QUIET)
    assert (result.epochs, result.best_epoch) == (3, 1)


@pytest.mark.parametrize("iteration", [2, 4])  # inside an epoch, and at its end
def test_asked_to_stop(iteration: int, tmp_path: Path, source: str, whole: RunFolder) -> None:
    folder, iterations = RunFolder(tmp_path / "run"), count(1)

    def signalled() -> bool:
        if next(iterations) == iteration:
            signal.raise_signal(signal.SIGINT)
        return False

    with pytest.raises(Interrupted):
        train(small_recipe(), out=folder.path, source=source, console=QUIET, observer=RunObserver(stop=signalled))
    kept = torch.load(folder.checkpoint, weights_only=True)
    assert kept["global_step"] == iteration
    assert folder.curves.exists() == (iteration >= 4)
    resume(folder.path, console=QUIET)
    expect_same_end(folder, whole)


def test_kill_9(tmp_path: Path, source: str) -> None:
    """The real thing: another process, killed by the system in the middle of an epoch."""
    longer = ("epochs=40", "hidden=32")
    folder, straight = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "straight")
    command = [sys.executable, "-m", "gatewright", "train", "text", "--data", source, "--out", str(folder.path)]
    for one in (*(one for one in SETTINGS if one[:6] not in ("epochs", "hidden")), *longer):
        command += ["--set", one]
    process = subprocess.Popen(
        command, env=subprocess_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not folder.checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    output = process.communicate()
    assert process.returncode == -signal.SIGKILL, output
    assert folder.checkpoint.exists()
    assert not folder.finished
    resume(folder.path, console=QUIET)
    train(small_recipe(*longer), out=straight.path, source=source, console=QUIET)
    assert weights(folder) == weights(straight)
    assert timeless(folder.metrics) == timeless(straight.metrics)


def test_checkpoints_are_plain_data(whole: RunFolder) -> None:
    kept = torch.load(whole.checkpoint, weights_only=True)
    assert kept["global_step"] == ITERATIONS
    assert [one.name for one in whole.path.iterdir() if one.name.endswith(".part")] == []


def test_finished_runs_tell_their_result_again(whole: RunFolder) -> None:
    before = whole.model.stat().st_mtime_ns
    result = resume(whole.path, console=QUIET)
    assert result.iterations == ITERATIONS
    assert whole.model.stat().st_mtime_ns == before


def test_resuming_what_there_is_not(tmp_path: Path) -> None:
    with pytest.raises(OptionError) as caught:
        resume(tmp_path / "none", console=QUIET)
    assert str(caught.value) == (f"{tmp_path}/none holds no run to resume\n  do: name the folder of a run")


def test_a_run_of_an_earlier_version_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"recipe": "text", "settings": {}, "data": null}')
    with pytest.raises(OptionError) as caught:
        resume(tmp_path, console=QUIET)
    assert str(caught.value) == (
        f"{tmp_path} holds a run of a version that trained in one process only, and cannot be resumed\n"
        "  do: train anew in another folder; a model.safetensors in this one can be used as it is"
    )


def test_resuming_with_other_settings(whole: RunFolder) -> None:
    asked: Recipe = small_recipe("hidden=7")
    with pytest.raises(OptionError) as caught:
        resume(whole.path, asked=asked, console=QUIET)
    assert str(caught.value) == (
        f"the run in {whole.path} has other settings\n"
        "  got: hidden=7, where the run has 6\n"
        "  do: resume without these options, or start another run in another folder"
    )


def test_resuming_with_changed_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, folder = small_text(tmp_path), RunFolder(tmp_path / "run")
    with killed_before(5, monkeypatch):
        train(small_recipe(), out=folder.path, source=source, console=QUIET)
    Path(source).write_text(Path(source).read_text().replace("fox", "cat"))
    with pytest.raises(DataError, match=r"the data of the run in .* has changed"):
        resume(folder.path, console=QUIET)


@pytest.mark.parametrize(("recipe", "settings"), [("texts", ["ngrams=0"]), ("sequences", ["linear=0"])])
def test_resuming_with_a_value_changed(
    recipe: str, settings: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sizes, words and classes stay, so that nothing but the content tells."""
    source, folder = tmp_path / "data.csv", RunFolder(tmp_path / "run")
    lines = [f"good film {k % 5},good\nbad film {k % 5},bad\n" for k in range(20)]
    series = [f"{k},{step},{k % 2 + step / 8:.3f},{'ab'[k % 2]}\n" for k in range(40) for step in range(8)]
    text = "text,label\n" + "".join(lines) if recipe == "texts" else "id,time,x,label\n" + "".join(series)
    source.write_text(text)
    made = get(recipe).configured([*settings, "hidden=4", "epochs=4", "batch=4"])
    with killed_before(5, monkeypatch):
        train(made, out=folder.path, source=str(source), console=QUIET)
    changed = text.replace("film 4,good", "good 4,good") if recipe == "texts" else text.replace("0.125", "0.126")
    source.write_text(changed)
    with pytest.raises(DataError, match=r"the data of the run in .* has changed"):
        resume(folder.path, console=QUIET)


@pytest.mark.parametrize(("keep", "epoch"), [("best", 1), ("last", 3)])
def test_the_network_that_is_kept(
    keep: str, epoch: int, tmp_path: Path, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    steady = "schedule=constant"
    shorter = train(small_recipe(steady, f"epochs={epoch}"), out=tmp_path / "shorter", source=source, console=QUIET)
    measured = iter([1.0, 2.0, 3.0])
    monkeypatch.setattr("gatewright.tasks.training.history.measure", lambda *_: {"loss": next(measured)})
    result = train(small_recipe(steady, f"keep={keep}"), out=tmp_path / "run", source=source, console=QUIET)
    assert result.best_epoch == (1 if keep == "best" else None)
    assert result.metrics == shorter.metrics


def test_a_validation_that_is_no_number_is_never_the_best(
    tmp_path: Path, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = iter([float("nan"), 3.0, 2.0])
    monkeypatch.setattr("gatewright.tasks.training.history.measure", lambda *_: {"loss": next(measured)})
    assert train(small_recipe(), out=tmp_path / "run", source=source, console=QUIET).best_epoch == 3


def test_a_damaged_checkpoint(tmp_path: Path, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RunFolder(tmp_path / "run")
    with killed_before(5, monkeypatch):
        train(small_recipe(), out=folder.path, source=source, console=QUIET)
    folder.checkpoint.write_bytes(folder.checkpoint.read_bytes()[:1000])
    with pytest.raises(DataError) as caught:
        resume(folder.path, console=QUIET)
    told = str(caught.value).splitlines()
    assert told[0] == f"the checkpoint {folder.checkpoint} cannot be read"
    assert told[-1] == "  do: put a copy of it in its place, or start again with overwrite=True"


def test_a_cell_with_parameters_that_begin_at_a_constant(
    tmp_path: Path, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Until there is a checkpoint the cell itself, and not its trace, says how to begin.
    made = small_recipe("cell=fastgrnn")
    folder, straight = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "straight")
    with killed_before(0, monkeypatch):
        train(made, out=folder.path, source=source, console=QUIET)
    resume(folder.path, console=QUIET)
    train(made, out=straight.path, source=source, console=QUIET)
    assert weights(folder) == weights(straight)


def test_a_cell_that_has_changed(tmp_path: Path, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, mine = RunFolder(tmp_path / "run"), tmp_path / "mine.py"
    text = "import gatewright as gw\n\n\n@gw.cell\ndef own(x, h, W, b):\n    return 0.9 * h + gw.tanh(W.n @ x + b.n)\n"
    mine.write_text(text)
    with killed_before(0, monkeypatch):
        train(small_recipe(f"cell={mine}:own"), out=folder.path, source=source, console=QUIET)
    mine.write_text(text.replace("0.9", "0.8"))
    with pytest.raises(DataError, match=r"the cell of the run in .* has changed"):
        resume(folder.path, console=QUIET)
    mine.write_text(text)
    with killed_before(4, monkeypatch):
        resume(folder.path, console=QUIET)
    mine.unlink()  # the checkpoint needs it no more
    assert resume(folder.path, console=QUIET).iterations == ITERATIONS
