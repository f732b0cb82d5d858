"""Cells side by side: what is planned, trained, kept and told."""

import csv
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from gatewright.errors import GatewrightError, OptionError
from gatewright.tasks.comparing import runs as comparing
from gatewright.tasks.comparing.engines import engine
from gatewright.tasks.comparing.matching import count_parameters, matched
from gatewright.tasks.comparing.pictures import draw_over
from gatewright.tasks.comparing.table import as_markdown, columns, comparison, keep, numbers, points
from gatewright.tasks.recipe import Recipe
from gatewright.tasks.run_data import Sizes
from gatewright.tasks.training.checkpoints import RunObserver
from gatewright.tasks.training.history import read_rows
from gatewright.tasks.training.run_folder import RunFolder
from gatewright.tasks.training.session import Interrupted, train
from tests.tasks.small import QUIET, killed_before, small_recipe, small_text, weights

SIZES = Sizes(30, 30)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    return small_text(tmp_path_factory.mktemp("text"))


def planned(
    out: Path, source: str, *cells: str, made: Recipe | None = None, seeds: int = 2
) -> list[comparing.ComparedRun]:
    return comparing.plan(made or small_recipe("epochs=2"), cells, range(seeds), out=out, source=source)


def performed(runs: Sequence[comparing.ComparedRun], out: Path, jobs: int = 1) -> list[comparing.RunOutcome]:
    return comparing.compare(runs, out=out, jobs=jobs, console=QUIET)


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory, source: str) -> list[comparing.RunOutcome]:
    """Two cells and two seeds, in two processes."""
    out = tmp_path_factory.mktemp("compared")
    return performed(planned(out, source, "gru", "gru(reset=after)"), out, jobs=2)


def test_a_run_of_a_comparison_is_the_run_that_train_makes(
    compared: list[comparing.RunOutcome], source: str, tmp_path: Path
) -> None:
    assert [one.run.folder.path.name for one in compared] == [
        "gru-0",
        "gru-1",
        "gru-reset-after-0",
        "gru-reset-after-1",
    ]
    made = replace(small_recipe("epochs=2"), cell="gru(reset=after)", seed=1)
    alone = train(made, out=tmp_path / "alone", source=source, console=QUIET)
    assert weights(compared[-1].run.folder) == weights(RunFolder(tmp_path / "alone"))
    assert compared[-1].result is not None
    assert compared[-1].result.metrics == alone.metrics


def test_finished_runs_are_kept(compared: list[comparing.RunOutcome], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gatewright.tasks.training.session.train", lambda *_, **__: pytest.fail("trained again"))
    runs = [one.run for one in compared]
    again = performed(runs, runs[0].folder.path.parent)
    assert [one.result for one in again] == [one.result for one in compared]


def test_what_is_told(compared: list[comparing.RunOutcome], tmp_path: Path) -> None:
    found = comparison(compared)
    assert (found.measure, found.items, dict(found.problems)) == ("test perplexity", "tokens", {})
    first = found.rows[0]
    values = [one.result.metrics["test"]["perplexity"] for one in compared[:2] if one.result is not None]
    assert first.mean == pytest.approx(sum(values) / 2)
    assert first.spread == pytest.approx(abs(values[0] - values[1]) / 2**0.5)
    assert (first.cell, first.runs, set(first.samples)) == ("gru", 2, {"the"})
    assert {one.name for one in keep(compared, tmp_path)} == {one.name for one in tmp_path.iterdir()}
    with (tmp_path / "runs.csv").open(newline="") as opened:
        lines = list(csv.DictReader(opened))
    assert [(line["cell"], line["seed"]) for line in lines] == [
        (cell, seed) for cell in ("gru", "gru(reset=after)") for seed in "01"
    ]
    assert float(lines[0]["test perplexity"]) == values[0]
    table = as_markdown(found).splitlines()
    assert table[0] == "| cell | units | parameters | test perplexity | seconds | tokens/s |"
    assert table[2].startswith(f"| `gru` | 6 | {first.parameters:,} | ")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("cell", "hidden"), [("elman", 24), ("gru", 16), ("lstm", 14), ("layer_norm(gru)", 16)])
def test_matched_parameters_are_the_closest(cell: str, hidden: int) -> None:
    made = small_recipe("hidden=16", "layers=1")
    wanted = count_parameters(made, SIZES)
    found = matched(replace(made, cell=cell), SIZES, wanted)

    def distance(units: int) -> int:
        return abs(count_parameters(replace(found, hidden=units), SIZES) - wanted)

    assert found.hidden == hidden
    assert distance(found.hidden) <= min(distance(found.hidden - 1), distance(found.hidden + 1))


def test_parameters_are_those_of_the_run(compared: list[comparing.RunOutcome], source: str) -> None:
    made, result = compared[0].run.recipe, compared[0].result
    assert result is not None
    assert count_parameters(made, made.data(source).sizes) == result.parameters


def test_a_plan_with_matched_parameters(source: str, tmp_path: Path) -> None:
    runs = comparing.plan(small_recipe(), ["gru", "elman"], [0], out=tmp_path, source=source, match=True)
    assert runs[0].recipe.hidden == 6
    assert runs[1].recipe.hidden > 6


@pytest.fixture(scope="module")
def varied(tmp_path_factory: pytest.TempPathFactory, source: str) -> list[comparing.RunOutcome]:
    """Two cells at two sizes of a batch."""
    out, over = tmp_path_factory.mktemp("varied"), comparing.VariedSetting("batch", (2, 4))
    made = small_recipe("epochs=1")
    return performed(comparing.plan(made, ["gru", "elman"], [0], out=out, source=source, over=over), out)


def test_a_setting_is_varied_for_each_cell(varied: list[comparing.RunOutcome]) -> None:
    assert [one.run.folder.path.name for one in varied] == [
        "gru-batch-2-0",
        "gru-batch-4-0",
        "elman-batch-2-0",
        "elman-batch-4-0",
    ]
    assert [one.run.title for one in varied[:2]] == ["gru, batch=2, seed 0", "gru, batch=4, seed 0"]
    assert [one.result.settings["batch"] for one in varied if one.result is not None] == [2, 4, 2, 4]


def test_what_is_told_of_a_setting(varied: list[comparing.RunOutcome], tmp_path: Path) -> None:
    found = comparison(varied)
    assert (found.over, [(row.cell, row.value) for row in found.rows]) == (
        "batch",
        [("gru", 2), ("gru", 4), ("elman", 2), ("elman", 4)],
    )
    table = as_markdown(found).splitlines()
    assert table[0] == "| cell | batch | units | parameters | test perplexity | seconds | tokens/s |"
    assert table[3].startswith("| `gru` | 4 | 6 | ")
    assert "`gru`, batch=4, the:" not in table
    assert "`gru, batch=4`, the:" in table
    measured = points(varied)
    assert {cell: list(by_value) for cell, by_value in measured.items()} == {"gru": [2, 4], "elman": [2, 4]}
    assert varied[1].result is not None
    assert measured["gru"][4] == [varied[1].result.metrics["test"]["perplexity"]]
    assert {one.name for one in keep(varied, tmp_path)} >= {"curves.png", "over.png", "over.svg"}
    with (tmp_path / "runs.csv").open(newline="") as opened:
        assert [line["batch"] for line in csv.DictReader(opened)] == ["2", "4", "2", "4"]
    assert (tmp_path / "comparison.csv").read_text().startswith("cell,hidden,batch,parameters,")


def test_another_measure_can_be_asked_for(varied: list[comparing.RunOutcome], tmp_path: Path) -> None:
    asked = [replace(one, run=replace(one.run, measure="validation accuracy")) for one in varied]
    found = comparison(asked)
    assert varied[0].result is not None
    assert found.measure == "validation accuracy"
    assert found.rows[0].mean == varied[0].result.metrics["validation"]["accuracy"] == points(asked)["gru"][2][0]
    asked = [replace(one, run=replace(one.run, measure="test beauty")) for one in varied]
    with pytest.raises(OptionError) as caught:
        keep(asked, tmp_path)
    assert str(caught.value) == (
        "'test beauty' is not measured by recipe 'text'\n  expected: one of validation loss, validation accuracy, "
        "validation perplexity, test loss, test accuracy, test perplexity\n"
        "  do: name another measure; finished runs are kept"
    )


def test_units_that_are_varied_are_told_once(varied: list[comparing.RunOutcome]) -> None:
    found = replace(comparison(varied), over="hidden")
    assert columns(found)[:3] == ("cell", "units", "parameters")
    assert len(numbers(found, found.rows[0])) == len(columns(found)) - 1


@pytest.mark.parametrize("values", [(50, 100, 400), (0.0, 0.5), ("rows", "pixels"), (None, 5, True)])
def test_a_picture_of_a_measure_against_a_setting(values: tuple[object, ...]) -> None:
    found = {"gru": {value: [0.5, 0.7] for value in values}, "elman": {values[0]: [0.1]}}
    one, other = (draw_over(found, "a_setting", "test accuracy", title="a title", kind="svg") for _ in range(2))
    assert one == other
    text = one.decode()
    assert all(f">{word}</text>" in text for word in ("gru", "elman", "a setting", "test accuracy", *map(str, values)))
    assert [line for line in text.splitlines() if line != line.rstrip()] == []
    assert draw_over(found, "a_setting", "test accuracy", title="a title").startswith(b"\x89PNG")


@pytest.mark.parametrize("text", ["hidden", "hidden=", "hidden=4,4", "cell=gru,lstm", "seed=1,2", "hidden=4,,5"])
def test_what_cannot_be_varied(text: str) -> None:
    with pytest.raises(OptionError) as caught:
        comparing.read_over(type(small_recipe()), text)
    assert str(caught.value) == (
        "--over cannot be read\n  expected: a setting other than cell, seed and preset, with different values, as in "
        f"hidden=64,128\n  got: {text!r}"
    )


def test_the_values_of_a_setting_are_read_as_it_is() -> None:
    kind = type(small_recipe())
    assert comparing.read_over(kind, "tokens=100, none") == comparing.VariedSetting("tokens", (100, None))
    with pytest.raises(OptionError, match="setting 'dropout' is out of range"):
        comparing.read_over(kind, "dropout=0.5,1.5")


@pytest.mark.parametrize("cells", [(), ("gru", "gru"), ("gru(reset=after)", "gru( reset=after )")])
def test_cells_are_different_ones(cells: tuple[str, ...], source: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="cells to compare are different ones"):
        planned(tmp_path, source, *cells)


def test_runs_with_other_settings_are_neither_taken_nor_lost(compared: list[comparing.RunOutcome], source: str) -> None:
    out = compared[0].run.folder.path.parent
    with pytest.raises(OptionError) as caught:
        performed(planned(out, source, "gru", made=small_recipe("epochs=2", "hidden=7")), out)
    assert str(caught.value) == (
        f"{out}/gru-0 holds a run with other settings\n  expected: hidden=7\n  got: hidden=6\n"
        "  do: name another folder, or delete this run"
    )
    assert compared[0].run.folder.finished


def test_a_run_that_was_killed_goes_on(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, steps = small_recipe(), "gatewright.tasks.training.session.train"
    runs = planned(tmp_path, source, "gru", made=made, seeds=1)
    with killed_before(7, monkeypatch):
        performed(runs, tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(steps, lambda *_, **__: pytest.fail("began anew"))
        (outcome,) = performed(runs, tmp_path)
    train(replace(made, cell="gru", seed=0), out=tmp_path / "alone", source=source, console=QUIET)
    assert weights(outcome.run.folder) == weights(RunFolder(tmp_path / "alone"))


def test_one_that_is_asked_to_stop_stops_them_all(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = planned(tmp_path, source, "gru", "elman")
    perform = comparing.perform

    def interrupting(run: comparing.ComparedRun, stop: Path) -> comparing.RunOutcome:
        if run is runs[1]:
            signal.raise_signal(signal.SIGTERM)
        return perform(run, stop)

    with monkeypatch.context() as patched:
        patched.setattr(comparing, "perform", interrupting)
        with pytest.raises(Interrupted) as caught:
            performed(runs, tmp_path)
    assert caught.value.signal_number == signal.SIGTERM
    assert [run.folder.finished for run in runs] == [True, False, False, False]
    assert not (tmp_path / ".stop").exists()
    assert all(outcome.result is not None for outcome in performed(runs, tmp_path))


def test_a_stopped_run_keeps_its_state(source: str, tmp_path: Path) -> None:
    asked = iter([False] * 4 + [True])
    with pytest.raises(Interrupted):
        train(
            small_recipe(),
            out=tmp_path / "run",
            source=source,
            console=QUIET,
            observer=RunObserver(stop=lambda: next(asked)),
        )
    assert len(read_rows(tmp_path / "run/metrics.csv")) == 1
    assert (tmp_path / "run/last.ckpt").exists()


def test_a_run_that_fails_ends_no_other(source: str, tmp_path: Path) -> None:
    runs = planned(tmp_path, source, "elman", "gru", seeds=1)
    broken = replace(runs[0], recipe=replace(runs[0].recipe, rate=1e30, optimiser="sgd", clip=0.0, cell="indrnn"))
    outcomes = performed([broken, runs[1]], tmp_path)
    found = comparison(outcomes)
    assert [row.measured == "failed" for row in found.rows] == [True, False]
    assert list(found.problems) == ["indrnn, seed 0"]
    assert "at iteration" in found.problems["indrnn, seed 0"]
    assert "| `indrnn` | 6 |  | failed |  |  |" in as_markdown(found)
    assert {one.name for one in keep(outcomes, tmp_path)} >= {"comparison.md", "curves.png"}


def test_an_engine_that_there_is_not() -> None:
    with pytest.raises(OptionError, match="there is no engine 'sun'"), engine("sun", 1):
        pass


@pytest.mark.parametrize("name", ["ray", "dask"])
def test_an_engine_that_is_not_installed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("ray", "dask", "distributed"):
        monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(GatewrightError) as caught, engine(name, 2):
        pass
    assert caught.value.in_shell() == (
        f"the engine {name!r} needs a package that is not installed\n  expected: the package {name!r}\n"
        f"  do: pip install 'gatewright[{name}]', or leave out --engine"
    )


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # a cluster's own
@pytest.mark.parametrize(("name", "package"), [("ray", "ray"), ("dask", "distributed")])
def test_runs_on_a_local_cluster(name: str, package: str, source: str, tmp_path: Path) -> None:
    pytest.importorskip(package, reason=f"the extra [{name}] is not installed")
    runs = planned(tmp_path / "cluster", source, "gru", seeds=2)
    outcomes = comparing.compare(runs, out=tmp_path / "cluster", jobs=2, console=QUIET, where=name)
    alone = performed(planned(tmp_path / "here", source, "gru", seeds=2), tmp_path / "here")
    assert [weights(one.run.folder) for one in outcomes] == [weights(one.run.folder) for one in alone]
