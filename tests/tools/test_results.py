"""The results: which runs are of a row, what is kept of them, and that the page is made of it."""

import json
import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("tools.results", reason="the tools do not come with an installed package")

from gatewright.errors import DataError
from gatewright.tasks.data.published.registry import find_data_set
from gatewright.tasks.recipes import RECIPES
from gatewright.tasks.training.run_folder import RunFolder
from gatewright.tasks.training.session import train
from tests.paths import ROOT
from tests.tasks.small import QUIET
from tools.results import __main__ as command
from tools.results.kept import Refused, load, merged, of_row, read, save
from tools.results.page import page
from tools.results.row import Goal, Row, Source
from tools.results.rows import ROWS

PAPER = Source("A paper", "https://example.org")
GOALS = (Goal("5 bits exact", "at least", 0.5, PAPER, "a remark"), Goal("64 bits loss"))
SMALL = Row("adding-small", "adding", GOALS, ("hidden=4", "epochs=1"))
OTHER = Row("adding-other", "adding", GOALS, ("hidden=3", "epochs=1"), seed=2, longer=True)
TABLE = (SMALL, OTHER)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run of the first row, under its name."""
    folder = tmp_path_factory.mktemp("runs")
    train(SMALL.made(), out=folder / SMALL.name, console=QUIET)
    return folder


@pytest.fixture
def runs(trained: Path, tmp_path: Path) -> Path:
    """A copy of that folder to change."""
    return shutil.copytree(trained, tmp_path / "runs")


def change(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def record(folder: Path) -> Any:
    found = read(TABLE, RunFolder(folder))
    assert not isinstance(found, Refused)
    return found


def test_a_finished_run_is_the_result_of_its_row(runs: Path) -> None:
    name, kept = record(runs / SMALL.name)
    result = json.loads((runs / SMALL.name / "result.json").read_text())
    assert name == SMALL.name
    assert kept["metrics"] == result["metrics"]
    assert kept["finished"] == result["machine"]["finished"]
    assert set(kept["machine"]) == {"processor", "threads", "torch"}


def test_a_run_of_another_name_is_told_by_its_settings(runs: Path) -> None:
    (runs / SMALL.name).rename(runs / "tuesday")
    assert record(runs / "tuesday")[0] == SMALL.name


def test_an_unfinished_run_is_no_result(runs: Path) -> None:
    (runs / SMALL.name / "result.json").unlink()
    found, refused = merged(TABLE, {}, [runs])
    assert found == {}
    assert [one.reason for one in refused] == ["is not finished"]
    assert "| adding-small | 0 | 5 bits exact | not run yet | ≥ 0.5 |" in page(TABLE, found)


def test_a_run_with_other_settings_is_refused_with_the_difference(runs: Path) -> None:
    (runs / SMALL.name).rename(runs / OTHER.name)
    found, (refused,) = merged(TABLE, {}, [runs])
    assert found == {}
    assert refused.named
    assert refused.reason == (
        "is no run of 'adding-other': hidden=4 where hidden=3 is wanted, seed=0 where seed=2 is wanted"
    )


def test_a_run_on_other_data_is_refused(runs: Path) -> None:
    change(runs / SMALL.name / "run.json", data="numbers.csv")
    (refused,) = merged(TABLE, {}, [runs])[1]
    assert refused.reason == "is no run of 'adding-small': data=numbers.csv where data=None is wanted"


def test_a_row_on_data_of_a_name_says_so(runs: Path) -> None:
    row = replace(SMALL, data="numbers")
    change(runs / SMALL.name / "run.json", data="numbers")
    name, kept = read((row,), RunFolder(runs / SMALL.name))
    assert (name, kept["data"]) == (SMALL.name, "numbers")
    assert of_row({name: kept}, SMALL) is None
    assert row.command == "gatewright train adding --data numbers --set hidden=4 --set epochs=1"


def test_a_run_from_before_a_setting_was_there_had_it_as_it_is(runs: Path) -> None:
    run = json.loads((runs / SMALL.name / "run.json").read_text())
    del run["settings"]["smoothing"], run["settings"]["precision"]
    change(runs / SMALL.name / "run.json", settings=run["settings"])
    assert record(runs / SMALL.name)[0] == SMALL.name
    changed = replace(SMALL, assignments=(*SMALL.assignments, "smoothing=0.5"))
    assert changed.differences("adding", run["settings"], None) == {"smoothing": (0.5, 0.99)}


def test_a_run_from_before_dates_were_kept_has_that_of_its_file(runs: Path) -> None:
    path = runs / SMALL.name / "result.json"
    machine = json.loads(path.read_text())["machine"]
    del machine["finished"]
    change(path, machine=machine)
    os.utime(path, (86400, 86400))
    assert record(runs / SMALL.name)[1]["finished"] == "1970-01-02T00:00:00+00:00"


def test_of_two_runs_the_later_one_counts(runs: Path) -> None:
    later = shutil.copytree(runs, runs.parent / "later")
    path = later / SMALL.name / "result.json"
    change(path, seconds=7.0, machine={**json.loads(path.read_text())["machine"], "finished": "2999-01-01T00:00:00"})
    for order in ([runs, later], [later, runs]):
        assert merged(TABLE, {}, order)[0][SMALL.name]["seconds"] == 7.0
    kept = merged(TABLE, {}, [later])[0]
    assert merged(TABLE, kept, [runs])[0][SMALL.name]["seconds"] == 7.0


def test_what_is_kept_of_other_settings_is_left_out(runs: Path) -> None:
    kept = merged(TABLE, {}, [runs])[0]
    changed = replace(SMALL, assignments=("hidden=5", "epochs=1"))
    assert of_row(kept, SMALL) is kept[SMALL.name]
    assert merged((changed,), kept, [])[0] == {}
    assert "| adding-small | 0 | 5 bits exact | not run yet |" in page((changed,), kept)


def test_simple_methods_stand_beside_a_run(runs: Path) -> None:
    reached = {
        "accuracy of guessing": 0.5,
        "mae of the mean": 2.0,
        "mae of the last value": 0.25,
        "accuracy of a rule": 1.0,
    }
    metrics = {"5 bits": {"exact": 1.0}, "64 bits": {"loss": 1.0}, "test": {"accuracy": 0.75, "mae": 0.125}}
    change(runs / SMALL.name / "result.json", baselines={"test": reached}, metrics=metrics, seconds=7.0)
    text = page(TABLE, merged(TABLE, {}, [runs])[0])
    assert "| adding-small | 0 | accuracy | 0.75 | guessing 0.5, a rule 1 | no | 7 |" in text
    assert "|  |  | mae | 0.125 | the mean 2, the last value 0.25 | yes |  |" in text
    assert "adding-other" not in text.partition("## Beside simple methods")[2]
    assert "## Beside simple methods" not in page(TABLE, {})


def test_what_is_kept_is_read_back(runs: Path, tmp_path: Path) -> None:
    kept = merged(TABLE, {}, [runs])[0]
    save(tmp_path / "results.json", kept, TABLE)
    assert load(tmp_path / "results.json") == kept
    assert load(tmp_path / "nothing.json") == {}
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(DataError, match="other.json is no file of results"):
        load(tmp_path / "other.json")


def test_the_page_says_what_was_measured_and_whether_it_is_enough(runs: Path) -> None:
    name, kept = record(runs / SMALL.name)
    measured = {"5 bits": {"exact": 0.25}, "64 bits": {"loss": 0.125}}
    kept = {**kept, "metrics": measured, "seconds": 1234.5, "finished": "2026-01-31T10:00:00+00:00"}
    kept["machine"] = {"processor": "A processor", "threads": 2, "torch": "2.8"}
    lines = page(TABLE, {name: kept}).splitlines()
    source = "[A paper](https://example.org), a remark"
    assert f"| adding-small | 0 | 5 bits exact | 0.25 | ≥ 0.5 | {source} | no | 1,234 | 2026-01-31 | A |" in lines
    assert "|  |  | 64 bits loss | 0.125 |  |  |  |  |  |  |" in lines
    assert f"| adding-other, longer | 2 | 5 bits exact | not run yet | ≥ 0.5 | {source} |  |  |  |  |" in lines
    assert "gatewright train adding --set hidden=3 --set epochs=1 --seed 2  # adding-other (longer)" in lines
    assert "1 of 2 rows have been run. Of their references, 0 are reached and 1 are not." in lines
    assert "- A: A processor, 2 threads, torch 2.8" in lines


@pytest.mark.parametrize(
    ("kind", "within", "met"),
    [("at least", 0.0, [False, True, True]), ("at most", 0.0, [True, True, False]), ("near", 0.1, [True, True, False])],
)
def test_whether_a_number_is_as_good(kind: Any, within: float, met: list[bool]) -> None:
    goal = Goal("test loss", kind, 1.0, within=within)
    assert [goal.met(value) for value in (0.95, 1.0, 1.2)] == met
    assert Goal("test loss").met(1.0) is None


def test_the_command_trains_writes_and_trains_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "ROWS", TABLE)
    runs, docs = str(tmp_path / "runs"), tmp_path
    assert command.main(["run", "--runs", runs, "--jobs", "1"]) == 0
    assert [one.name for one in (tmp_path / "runs").iterdir()] == [SMALL.name]  # the other one is longer
    monkeypatch.setattr("gatewright.tasks.training.session.train", lambda *_, **__: pytest.fail("trained again"))
    assert command.main(["run", "--runs", runs, "--only", SMALL.name, "--jobs", "1"]) == 0
    assert "1 of 1 rows are finished" in capsys.readouterr().err
    assert command.main(["write", "--runs", runs, "--docs", str(docs)]) == 0
    assert (docs / "results.md").read_text() == page(TABLE, load(docs / "results.json"))
    (tmp_path / "runs" / SMALL.name).rename(tmp_path / "runs" / OTHER.name)
    assert command.main(["write", "--runs", runs, "--docs", str(docs)]) == 1
    assert "is no run of 'adding-other'" in capsys.readouterr().err
    assert command.main(["write", "--runs", str(tmp_path / "none"), "--docs", str(docs)]) == 2
    assert load(docs / "results.json").keys() == {SMALL.name}


def test_the_clock_stops_a_run_with_its_state_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    endless = replace(SMALL, assignments=("hidden=4", "epochs=100000", "checkpoint_every=1"))
    before = signal.getsignal(signal.SIGINT)
    assert command.run([endless], tmp_path, hours=2 / 3600, jobs=1) == 0
    told = capsys.readouterr().err
    assert "the time is used up; the same command goes on" in told
    assert "0 of 1 rows are finished" in told
    assert (tmp_path / SMALL.name / "last.ckpt").exists()
    assert merged([endless], {}, [tmp_path])[0] == {}
    assert signal.getsignal(signal.SIGINT) is before


def measures(row: Row) -> Iterator[tuple[str, str]]:
    for goal in row.goals:
        part, _, metric = goal.measure.rpartition(" ")
        yield part, metric


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_is_of_a_recipe_as_it_is(row: Row) -> None:
    made = row.made()
    assert made.seed == row.seed
    assert not row.differences(row.recipe, made.settings(), row.data)
    assert row.data is None or find_data_set(row.data) is not None
    assert all(goal.source is not None for goal in row.goals if goal.kind != "shown")
    expected = made.expectation()
    assert expected is None or (expected.part, expected.metric) in measures(row)


def test_the_rows_cover_every_recipe_and_preset() -> None:
    without_data = {"sounds"}  # its published sets are no single file to download; docs/sounds.md has what it reaches
    assert {row.recipe for row in ROWS} == set(RECIPES) - without_data
    names = [row.name for row in ROWS]
    assert len(set(names)) == len(names)
    presets = {(row.recipe, row.made().preset) for row in ROWS}
    wanted = {(name, preset) for name, kind in RECIPES.items() for preset in kind.presets if name not in without_data}
    assert wanted - presets == {("adding", "text")}


def test_the_page_in_the_documents_is_made_of_what_is_kept() -> None:
    text = (ROOT / "docs" / command.PAGE).read_text(encoding="utf-8")
    made = page(ROWS, load(ROOT / "docs" / command.RESULTS), command.throughput(ROOT / "docs"))
    assert text == made, "python -m tools.results write"
