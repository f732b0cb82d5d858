"""Training and asking from Python."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import gatewright as gw
from gatewright.errors import DataError, OptionError
from gatewright.tasks.data.digest import digest
from gatewright.tasks.data.published.sources import IN_MEMORY
from gatewright.tasks.recipes.texts import ClassifiedTexts
from gatewright.tasks.run import Run
from tests.tasks.own_data import small_reviews
from tests.tasks.small import killed_before

SMALL = {"hidden": 6, "epochs": 1, "words": 40, "batch": 60}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("reviews")
    return gw.tasks.train("sentiment", data=small_reviews(folder), out=folder / "run", **SMALL)


def test_nothing_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = gw.tasks.train("sentiment", data=small_reviews(tmp_path), out=tmp_path / "run", **SMALL)
    run.predict(["a text"])
    run.evaluate()
    assert capsys.readouterr() == ("", "")
    gw.tasks.train("sentiment", data=small_reviews(tmp_path), out=tmp_path / "b", progress=True, **SMALL)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "epoch 1, iteration 1/1" in printed.err


def test_a_run_is_what_it_was_trained_to_be(run: Run) -> None:
    assert run.result is not None
    assert run.evaluate() == run.result.metrics
    assert run.model.recipe == ClassifiedTexts(hidden=6, epochs=1, words=40, batch=60)
    assert run.folder is not None
    again = gw.tasks.open(run.folder)
    assert again.result == run.result
    pd.testing.assert_frame_equal(again.predict(["a text"]), run.predict(["a text"]))


def test_a_model_file_alone_answers(run: Run, tmp_path: Path) -> None:
    assert run.folder is not None
    path = tmp_path / "mine.safetensors"
    path.write_bytes((run.folder / "model.safetensors").read_bytes())
    alone = gw.tasks.open(path)
    assert (alone.folder, alone.result) == (None, None)
    pd.testing.assert_frame_equal(alone.predict(["a text"]), run.predict(["a text"]))
    assert gw.tasks.open(run.folder / "model.safetensors").result == run.result


def test_each_run_gets_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    source = small_reviews(tmp_path)
    folders = [gw.tasks.train("sentiment", data=source, **SMALL).folder for _ in range(2)]
    (tmp_path / "runs" / "texts-3").touch()
    folders.append(gw.tasks.train(ClassifiedTexts(**SMALL), data=source).folder)
    assert folders == [Path("runs/texts"), Path("runs/texts-2"), Path("runs/texts-4")]
    with pytest.raises(OptionError, match="holds a finished run already"):
        gw.tasks.train("sentiment", data=source, out=folders[0], **SMALL)


def test_settings_are_checked(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="recipe 'texts' has no setting 'epoch'"):
        gw.tasks.train("sentiment", epoch=3)
    with pytest.raises(OptionError, match="setting 'epochs' cannot have this value"):
        gw.tasks.train("sentiment", epochs="3")
    with pytest.raises(OptionError, match="a recipe that is made already takes no settings"):
        gw.tasks.train(ClassifiedTexts(), epochs=3)
    run = gw.tasks.train("digits", out=tmp_path / "run", quick=True, epochs=np.int64(1), hidden=4)
    assert (run.model.recipe.epochs, run.model.recipe.hidden) == (1, 4)


def test_only_a_model_of_a_text_writes(run: Run) -> None:
    with pytest.raises(OptionError, match="a model of the recipe 'texts' generates no text"):
        run.generate("a")


class TestDigest:
    SAME = (
        lambda: pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}),
        lambda: (["one", "two"], [0, 1]),
        lambda: (np.arange(6.0).reshape(2, 3), np.array(["a", "b"])),
        lambda: ([np.zeros((2, 1)), np.zeros((3, 1))], ["a", "b"]),
        lambda: ["one", "two"],
        lambda: ["onetw", "o"],
        lambda: (["one", "two"], ["0", "1"]),
        lambda: pd.DataFrame({"a": [1, 2], "c": ["x", "y"]}),
        lambda: pd.DataFrame({"a": [1, 3], "b": ["x", "y"]}),
        lambda: pd.Series([1, 2], name="a"),
        lambda: {"a": [1, 2]},
        lambda: np.array(["one", "two"], object),
        lambda: [None, 1.5, True],
    )

    def test_what_holds_the_same_has_the_same(self) -> None:
        first, again = ([digest(make()) for make in self.SAME] for _ in range(2))
        assert first == again
        assert len(set(first)) == len(first)

    def test_what_cannot_be_read(self) -> None:
        with pytest.raises(DataError) as caught:
            digest(iter([1]))
        assert str(caught.value) == (
            "data in memory cannot be an object of the type list_iterator\n"
            "  expected: a pandas DataFrame, arrays, texts, or lists of these"
        )
        with pytest.raises(DataError, match="a column of the DataFrame holds objects that are no values"):
            digest(pd.DataFrame({"a": [[1], [2]]}))


TEXTS = [f"text number {place}" for place in range(80)]
LABELS = [("even", "odd")[place % 2] for place in range(80)]


@pytest.fixture(scope="module")
def in_memory(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("memory") / "run"
    return gw.tasks.train("sentiment", data=(TEXTS, LABELS), out=folder, **SMALL)


def test_the_model_answers_and_is_measured_on_data_that_is_given(in_memory: Run) -> None:
    assert in_memory.result is not None
    assert in_memory.model.source == IN_MEMORY
    assert in_memory.model.sizes.classes == ("even", "odd")
    assert set(in_memory.predict(pd.DataFrame({"text": TEXTS[:3]}))["class"]) <= {"even", "odd"}
    assert in_memory.evaluate((TEXTS, LABELS))["test"]["loss"] > 0
    frame = pd.DataFrame({"text": TEXTS, "label": LABELS})
    assert in_memory.evaluate(frame) == in_memory.evaluate((TEXTS, LABELS))


def test_without_data_it_cannot_be_measured(in_memory: Run) -> None:
    with pytest.raises(DataError) as caught:
        in_memory.evaluate()
    assert str(caught.value) == (
        "the model was trained on data in memory, which a model file does not keep\n"
        "  do: give the data to measure it on"
    )
    assert caught.value.in_shell().endswith("do: name the data to measure it on with --data")


def test_the_run_keeps_a_digest(in_memory: Run) -> None:
    assert in_memory.folder is not None
    kept = json.loads((in_memory.folder / "run.json").read_text())
    assert kept["data"] == IN_MEMORY
    assert kept["origin"]["in_memory"] == digest((TEXTS, LABELS))
    assert not [text for text in TEXTS if text in json.dumps(kept)]


def test_a_stopped_run_goes_on_with_the_same_data_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, settings = tmp_path / "run", {**SMALL, "batch": 20, "checkpoint_every": 1}
    with killed_before(2, monkeypatch):
        gw.tasks.train("sentiment", data=(TEXTS, LABELS), out=out, **settings)
    with pytest.raises(OptionError) as caught:
        gw.tasks.resume(out)
    assert str(caught.value) == (
        f"the run in {out} was trained on data in memory, of which it keeps nothing but a digest\n"
        f"  do: give the same data again: gatewright.tasks.resume({str(out)!r}, data=...)"
    )
    with pytest.raises(DataError, match="the data of the run in .* has changed"):
        gw.tasks.resume(out, data=(TEXTS, LABELS[::-1]))
    resumed = gw.tasks.resume(out, data=(TEXTS, LABELS))
    whole = gw.tasks.train("sentiment", data=(TEXTS, LABELS), out=tmp_path / "whole", **settings)
    assert resumed.result is not None
    assert whole.result is not None
    assert resumed.result.metrics == whole.result.metrics
    assert gw.tasks.resume(out).result == resumed.result  # nothing is left to do, for which data would be needed
