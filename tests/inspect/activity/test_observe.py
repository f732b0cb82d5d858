"""Every recipe's models can be looked into, on data in the forms that `predict` takes."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import gatewright as gw
from gatewright.errors import OptionError
from gatewright.tasks.recipes import RECIPES
from gatewright.tasks.run import Run
from tests.quick_runs import QuickRun
from tests.tasks.own_data import OWN_DATA

RANDOM = np.random.default_rng(0)


def marked() -> np.ndarray[Any, Any]:
    values = RANDOM.random((2, 9, 2))
    values[:, :, 1] = np.isin(np.arange(9), (1, 6))
    return values


def digits() -> Any:
    from sklearn.datasets import load_digits

    return load_digits().images[:5]


ASKED: Mapping[str, Callable[[Run, Path], Any]] = {
    "adding": lambda run, source: [(5, 3), (1000, 24), (6, 1)],
    "digits": lambda run, source: digits(),
    "images": lambda run, source: RANDOM.integers(0, 256, (3, 6, 5)).astype(np.uint8),
    "longlag": lambda run, source: marked(),
    "music": lambda run, source: [(RANDOM.random((6, 88)) < 0.1).astype(np.uint8)],
    "texts": lambda run, source: ["text number 7", "a text"],
    "sequences": lambda run, source: source,
    "sounds": lambda run, source: source,
    "series": lambda run, source: None,
    "speakers": lambda run, source: source,
    "tagging": lambda run, source: [["Ada", "saw", "Oslo", "."]],
    "text": lambda run, source: ["the sea"],
    "words": lambda run, source: ["the quick fox"],
}


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_can_be_looked_into(name: str, quick_run: QuickRun) -> None:
    assert name in ASKED, "every recipe has a row above"
    run = gw.tasks.open(quick_run(name)[1])
    data = ASKED[name](run, Path(str(run.model.source)))
    seen = list(gw.inspect.observations(run, data))
    assert seen
    for activations in seen:
        layer = activations.layer()
        assert layer.gates
        state = layer.states["h"]
        assert state.shape[:2] == (activations.steps, activations.batch)
        np.testing.assert_array_equal(np.isnan(state).all(-1), ~activations.mask())
        assert (activations.symbols is not None) or (activations.series is not None)
        if activations.symbols is not None:
            own = [-(-len(names) // activations.patch) for names in activations.symbols]
            assert own == activations.lengths.tolist()
        if activations.series is not None:
            assert len(activations.variables or ()) in (0, activations.series.shape[-1])
        assert len(activations.rows or ()) == activations.batch


@pytest.mark.parametrize(
    "name", ["adding", "digits", "images", "longlag", "music", "sequences", "sounds", "tagging", "text", "words"]
)
def test_without_data_that_is_read_which_the_model_was_measured_on(name: str, quick_run: QuickRun) -> None:
    run = gw.tasks.open(quick_run(name)[1])
    activations = gw.inspect.observe(run)
    assert activations.batch == len(activations.rows)
    assert activations.layer().states["h"].shape[:2] == (activations.steps, activations.batch)


def test_own_rows_are_those_of_the_test_part(quick_run: QuickRun) -> None:
    run = gw.tasks.open(quick_run("digits")[1])
    activations = gw.inspect.observe(run)
    part = run.model.recipe.data(None).parts["test"].batch(0, 0)
    np.testing.assert_array_equal(activations.series, part.inputs[:, :64])
    assert activations.rows == [f"test {place}: {label}" for place, label in enumerate(part.targets[:64], 1)]
    assert activations.variables == tuple(f"column {number}" for number in range(1, 9))
    every = list(gw.inspect.observations(run))
    shares = np.concatenate([batch.outputs.argmax(1) for batch in every])
    targets = [int(row.rpartition(" ")[2]) for batch in every for row in batch.rows]
    assert np.mean(shares == targets) == pytest.approx(run.result.metrics["test"]["accuracy"])


def test_a_language_model_reads_what_was_held_out(quick_run: QuickRun) -> None:
    run = gw.tasks.open(quick_run("text")[1])
    activations = gw.inspect.observe(run)
    part = run.model.recipe.evaluation(None, run.model).parts["test"]
    assert activations.rows == ["test 1"]
    names = run.model.sizes.vocabulary
    assert activations.symbols == [[names[number] for number in part.tokens[:2000]]]


def test_sentences_apart_are_rows(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("the sea is calm. the sun is low. a lamp was lit. " * 40)
    run = gw.tasks.train(
        "words", data=tmp_path / "a.txt", out=tmp_path / "run", quick=True, read="sentences", hidden=8, epochs=1
    )
    activations = gw.inspect.observe(run)
    assert activations.rows == [f"test {place + 1}" for place in range(activations.batch)]
    assert {" ".join(names[1:]) for row in gw.inspect.observations(run) for names in row.symbols} <= {
        "the sea is calm .",
        "the sun is low .",
        "a lamp was lit .",
    }


def test_a_default_set_of_music_is_read_where_no_other_was_named(tmp_path: Path) -> None:
    source = OWN_DATA["music"](tmp_path)
    run = gw.tasks.train("music", music=source, out=tmp_path / "run", quick=True, hidden=8, epochs=1)
    assert run.model.source is None
    own, every = list(gw.inspect.observations(run)), list(gw.inspect.observations(run, source))
    assert [piece.rows for piece in own] == [["test 1"], ["test 2"], ["test 3"], ["test 4"]]
    tests = [piece for piece in every if piece.rows[0].startswith("test")]
    for piece, expected in zip(own, tests, strict=True):
        np.testing.assert_array_equal(piece.series, expected.series)
        assert piece.symbols == expected.symbols


@pytest.mark.parametrize("form", ["one file", "a folder", "a table"])
def test_a_tagger_reads_the_sentences_that_it_was_measured_on(form: str, tmp_path: Path) -> None:
    folder = tmp_path / "tags"
    folder.mkdir()
    if form == "a table":
        rows = "".join(f"{n},Ada,B-PER\n{n},runs,O\n{n},word{n},O\n" for n in range(40))
        (folder / "tags.csv").write_text("sentence,token,tag\n" + rows)
    else:
        OWN_DATA["tagging"](folder)
    source = next(folder.iterdir())
    if form == "a folder":
        content = source.read_text()
        for part in ("train", "dev"):
            (folder / f"{part}.conll").write_text(content)
        source.unlink()
        (folder / "test.conll").write_text("Emmy\tB-PER\nleft\tO\n\nAda\tB-PER\n")
        source = folder
    run = gw.tasks.train("tagging", data=source, out=tmp_path / "run", quick=True, hidden=8, epochs=1)
    measured = run.model.recipe.evaluation(None, run.model).parts["test"]
    batches = list(gw.inspect.observations(run))
    assert sum(batch.batch for batch in batches) == len(measured.inputs)
    assert sorted(len(row) for batch in batches for row in batch.symbols) == sorted(measured.inputs.lengths)
    if form == "a folder":
        assert [list(names) for names in batches[0].symbols] == [["Emmy", "left"], ["Ada"]]
        assert batches[0].rows == ["test 1", "test 2"]


def test_recordings_of_a_folder_are_those_of_its_test(tmp_path: Path) -> None:
    folder = tmp_path / "sensors"
    folder.mkdir()
    for part, steps in (("train", 400), ("dev", 60), ("test", 30)):
        rows = "".join(f"{place % 7},{'on' if place % 7 > 3 else 'off'}\n" for place in range(steps))
        (folder / f"{part}.csv").write_text("x,state\n" + rows)
    run = gw.tasks.train("tagging", data=folder, out=tmp_path / "run", quick=True, hidden=8, epochs=1)
    activations = gw.inspect.observe(run)
    assert activations.series[:, 0, 0].tolist() == [place % 7 for place in range(30)]


def test_rows_of_files_and_frames_have_names(quick_run: QuickRun) -> None:
    run = gw.tasks.open(quick_run("sounds")[1])
    activations = gw.inspect.observe(run, str(run.model.source))
    assert activations.rows[:2] == ["high/00.wav", "high/01.wav"]
    log_mel = run.model.signature["features"]
    second = log_mel["hop"] / log_mel["sample_rate"]
    assert activations.symbols[0][:3] == ["0 s", f"{second:.3g} s", f"{2 * second:.3g} s"]


def test_the_outputs_are_those_of_the_answers(quick_run: QuickRun) -> None:
    run = gw.tasks.open(quick_run("texts")[1])
    activations = gw.inspect.observe(run, ["text number 7", "a text"])
    odds = np.exp(activations.outputs.astype(np.float64))
    answers = run.predict(["text number 7", "a text"])[[f"p_{name}" for name in activations.labels]]
    np.testing.assert_allclose(odds / odds.sum(1, keepdims=True), answers, atol=1e-6)


def test_symbols_are_those_of_the_text(quick_run: QuickRun) -> None:
    folder = quick_run("text")[1]
    activations = gw.inspect.observe(folder, text="the sea")
    assert activations.symbols == [list("the sea")]
    assert activations.outputs.shape == (7, 1, len(activations.labels))


def test_errors_say_what_to_give(quick_run: QuickRun) -> None:
    folder = quick_run("text")[1]
    run = gw.tasks.open(folder)
    unknown = replace(run, model=replace(run.model, source="data in memory"))
    with pytest.raises(OptionError, match="there is nothing to look at"):
        gw.inspect.observe(unknown)
    with pytest.raises(OptionError, match="there is a text and data"):
        gw.inspect.observe(folder, "a.txt", text="a")
