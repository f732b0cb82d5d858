"""The search for good settings: its trials are runs, it goes on, and it says what it found."""

import csv
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from gatewright.errors import DataError, OptionError
from gatewright.tasks.recipes import get
from gatewright.tasks.training.run_folder import RunFolder
from gatewright.tasks.training.session import Interrupted
from gatewright.tasks.tuning import report as tuned
from gatewright.tasks.tuning import study as tuning
from gatewright.tasks.tuning.space import read_space
from tests.tasks.own_data import small_series
from tests.tasks.small import QUIET, killed_before, small_recipe, small_text

SPACE = "rate=log:1e-3..1e-1 hidden=4,6"


def search_in(
    out: Path, source: str, space: str = SPACE, *assignments: str, storage: str | None = None
) -> tuning.Search:
    made = small_recipe("epochs=2", *assignments)
    return tuning.Search(made, read_space(type(made), space), source, out, storage, "text")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    return small_text(tmp_path_factory.mktemp("text"))


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory, source: str) -> tuple[tuning.Search, optuna.Study]:
    search = search_in(tmp_path_factory.mktemp("searched"), source)
    return search, tuning.tune(search, 6, QUIET)


def test_the_best_trial_is_a_run_with_its_settings(searched: tuple[tuning.Search, optuna.Study]) -> None:
    search, study = searched
    best = tuned.ranked(study)[0]
    assert best.value == min(one.value for one in study.trials if one.state == TrialState.COMPLETE)
    folder = search.of_trial(best)
    settings = folder.read(folder.run)["settings"]
    assert {name: settings[name] for name in best.params} == best.params
    with folder.metrics.open(newline="") as opened:
        assert best.value == min(float(row["validation_loss"]) for row in csv.DictReader(opened))


def test_the_command_trains_the_best(searched: tuple[tuning.Search, optuna.Study], source: str) -> None:
    search, study = searched
    best = tuned.ranked(study)[0]
    words = tuning.command(search, best.params)
    assert words[:5] == ["gatewright", "train", "text", "--data", source]
    made = get("text").configured(words[6::2])
    assert made == replace(search.recipe, **best.params)


def test_what_is_kept(searched: tuple[tuning.Search, optuna.Study]) -> None:
    search, study = searched
    assert [one.name for one in tuned.keep(search, study)] == ["trials.csv", "importance.png"]
    with (search.out / "trials.csv").open(newline="") as opened:
        rows = list(csv.DictReader(opened))
    assert [int(row["trial"]) for row in rows] == [one.number for one in tuned.ranked(study)]
    assert set(rows[0]) == {"trial", "validation loss", "outcome", "epochs", "rate", "hidden", "folder"}
    assert sum(tuned.importance(study).values()) == pytest.approx(1.0)
    assert (search.out / "importance.png").read_bytes().startswith(b"\x89PNG")


def test_it_goes_on(searched: tuple[tuning.Search, optuna.Study]) -> None:
    search, study = searched
    assert [one.number for one in tuning.tune(search, 6, QUIET).trials] == [0, 1, 2, 3, 4, 5]
    drawn = {tuple(one.params.values()) for one in tuning.tune(search, 7, QUIET).trials}
    assert len(drawn) == 7, "a search that goes on draws other settings"
    assert len(study.trials) == 7


def test_a_stopped_trial_goes_on_where_it_was(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    search = search_in(tmp_path / "search", source)
    with monkeypatch.context() as patched:
        real = tuning.train_or_resume

        def stopped(made, folder, source, observer):  # type: ignore[no-untyped-def]
            asked = iter([False] * 5 + [True])
            real(made, folder, source, replace(observer, stop=lambda: next(asked)))

        patched.setattr(tuning, "train_or_resume", stopped)
        with pytest.raises(Interrupted):
            tuning.tune(search, 1, QUIET)
    first = tuning.open_study(search).trials
    assert [one.state for one in first] == [TrialState.FAIL, TrialState.WAITING]
    assert first[1].intermediate_values.keys() == {1}
    study = tuning.tune(search, 1, QUIET)
    assert [one.state for one in study.trials] == [TrialState.FAIL, TrialState.COMPLETE]
    assert study.trials[1].params == study.trials[0].params
    assert [one.name for one in search.out.glob("trial-*")] == ["trial-0000"]
    assert study.trials[1].intermediate_values.keys() == {1, 2}


def test_a_killed_search_leaves_runs_that_are_whole(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = search_in(tmp_path, source)
    with killed_before(5, monkeypatch):
        tuning.tune(search, 1, QUIET)
    assert tuning.tune(search, 1, QUIET).trials[-1].state == TrialState.COMPLETE


def test_poor_trials_are_pruned(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optuna.pruners.MedianPruner, "prune", lambda *_: True)
    study = tuning.tune(search_in(tmp_path, source), 2, QUIET)
    assert [one.state for one in study.trials] == [TrialState.PRUNED] * 2
    assert [one.last_step for one in study.trials] == [1, 1]
    assert tuning.trial_line(study.trials[0], "validation loss").endswith(": pruned at epoch 1")
    assert tuned.importance(study) == {}
    assert not RunFolder(tmp_path / "trial-0000").finished


def test_a_loss_that_is_no_number_is_a_poor_trial(source: str, tmp_path: Path) -> None:
    broken = ("optimiser=sgd", "clip=0", "schedule=constant", "cell=indrnn")
    search = search_in(tmp_path, source, "rate=log:1e29..1e30", *broken)
    study = tuning.tune(search, 1, QUIET)
    assert study.trials[0].state == TrialState.PRUNED
    assert " at iteration " in tuning.outcome(study.trials[0])


def test_another_search_does_not_go_on_with_this_one(searched: tuple[tuning.Search, optuna.Study], source: str) -> None:
    with pytest.raises(OptionError) as caught:
        tuning.tune(search_in(searched[0].out, source, "rate=log:1e-3..1e-1 hidden=4,8"), 9, QUIET)
    assert str(caught.value) == (
        "the study 'text' searches something else\n"
        "  expected: hidden=Choice(values=(4, 8))\n  got: hidden=Choice(values=(4, 6))\n"
        "  do: give the same options again, or start another study under another name or in another folder"
    )


def test_a_database_by_its_address(source: str, tmp_path: Path) -> None:
    address = f"sqlite:///{tmp_path}/shared.db"
    for machine in ("one", "other"):
        tuning.tune(search_in(tmp_path / machine, source, storage=address), 1 + (machine == "other"), QUIET)
    assert [one.name for one in sorted(tmp_path.glob("*/trial-*"))] == ["trial-0000", "trial-0001"]


@pytest.mark.parametrize("address", ["nonsense", "sqlite:////nowhere/at/all/study.db"])
def test_a_database_that_cannot_be_used(address: str, source: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=rf"the database {address} cannot be used"):
        tuning.tune(search_in(tmp_path, source, storage=address), 1, QUIET)


def test_there_has_to_be_a_validation(source: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="the data has no validation part"):
        tuning.tune(search_in(tmp_path, source, SPACE, "held_out=0"), 1, QUIET)


def test_data_that_there_is_not(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        tuning.tune(search_in(tmp_path, str(tmp_path / "none.txt")), 1, QUIET)


def test_few_series_of_which_none_is_held_out(tmp_path: Path) -> None:
    made = get("sequences").configured(["hidden=4"])
    data = small_series(tmp_path / "data")
    search = tuning.Search(made, read_space(type(made), "rate=1e-3,1e-2"), data, tmp_path, None, "sequences")
    with pytest.raises(OptionError) as caught:
        tuning.tune(search, 1, QUIET)
    assert caught.value.problem == "the data has no validation part to tell good settings by"
    assert caught.value.shell == "hold out a part of it, with --set validation=0.2"
