"""Recipe `tagging` on tables: rows of sensors, whose windows have the right ends, and tokens one in a row."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import gatewright as gw
from gatewright.errors import DataError
from gatewright.tasks.recipes.tagging import Tagging
from gatewright.tasks.run import Run
from gatewright.tasks.tagging.channels import overlapping

SETTINGS = {"hidden": 6, "epochs": 12, "rate": 0.03, "window": 20, "batch": 8, "dropout": 0.0}


def stream(rows: int, seed: int = 0) -> pd.DataFrame:
    """Rows of two channels; the state changes every 15 rows, and shows in the level of the first."""
    random = np.random.default_rng(seed)
    states = np.repeat(random.permutation(np.arange(rows // 15 + 1) % 2), 15)[:rows]
    values = random.normal(size=(rows, 2)) * 0.3 + np.stack([100 + 2 * states, np.zeros(rows)], 1)
    return pd.DataFrame(
        {
            "seconds": np.arange(rows),
            "level": values[:, 0],
            "noise": values[:, 1],
            "state": np.where(states == 1, "on", "off"),
        }
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("stream")
    return gw.tasks.train("tagging", data=stream(400), time="seconds", out=folder / "run", **SETTINGS)


@pytest.mark.parametrize("window", [2, 3, 8, 20])
def test_each_step_is_answered_once(window: int) -> None:
    lengths = [1, 7, 20, 21, 58]
    windows = overlapping(lengths, window)
    answered = [np.zeros(length, int) for length in lengths]
    for sequence, start, length, first, count in zip(*windows, strict=True):
        assert start >= 0
        assert length <= window
        assert start + length <= lengths[sequence]
        begin = start + first
        answered[sequence][begin : begin + count] += 1
        assert first >= min(window // 4, begin)  # what is only read before it, as far as there is any
        assert length - first - count >= min(window // 4, lengths[sequence] - begin - count)
    assert [one.tolist() for one in answered] == [[1] * length for length in lengths]


def test_a_stream_is_learned(run: Run) -> None:
    assert run.result is not None
    assert run.model.sizes.classes == ("off", "on")
    assert run.model.sizes.variables == ("level", "noise")
    assert run.result.metrics["test"]["accuracy"] > 0.95
    assert set(run.result.baselines["test"]) == {"accuracy of most frequent label", "accuracy of logistic regression"}
    assert run.evaluate(stream(90, seed=1))["test"]["accuracy"] > 0.95


def test_every_row_is_answered_as_the_network_says(run: Run) -> None:
    other = stream(57, seed=2).drop(columns="state")
    answers = run.predict(other.sample(frac=1, random_state=0))
    assert list(answers.columns) == ["seconds", "step", "label", "probability"]
    assert answers["seconds"].tolist() == [str(second) for second in range(57)]
    values = torch.tensor(other[["level", "noise"]].to_numpy(np.float32))
    classes = run.model.sizes.classes or ()
    with torch.no_grad():
        windows = [(0, 0, 15), (10, 15, 25), (20, 25, 35), (30, 35, 45), (40, 45, 57)]
        for start, begin, end in windows:
            outputs = run.model.network(values[start : start + 20, None])[0][:, 0].double().softmax(-1).numpy()
            wanted = outputs[begin - start : end - start]
            rows = answers.iloc[begin:end]
            assert rows["label"].tolist() == [classes[place] for place in wanted.argmax(-1)]
            np.testing.assert_allclose(rows["probability"], wanted.max(-1), rtol=1e-5)
    arrays = run.predict([values.numpy()])
    np.testing.assert_allclose(arrays["probability"], answers["probability"], rtol=1e-6)


def test_recordings_are_told_apart_and_held_out_whole(tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    tables = [stream(30, seed).assign(id=f"r{seed}") for seed in range(12)]
    pd.concat(tables).to_csv(path, index=False)
    data = Tagging.configured(["ignore=seconds"]).data(path)
    assert data.remarks == (
        "id: id, channels: level, noise, label: state",
        "held out for validation and test: whole recordings, at random by seed",
    )
    assert [len(data.parts[name].batch(0, 0).lengths) for name in ("train", "validation", "test")] == [10, 1, 1]


def test_a_table_of_tokens(tmp_path: Path) -> None:
    path = tmp_path / "ner.csv"
    rows = [f"{'Sentence: ' + str(place) if not step else ''},{word},{tag}" for place in range(20)
            for step, (word, tag) in enumerate((("Ada", "B-PER"), ('"a,b"', "O")))]  # fmt: skip
    path.write_text("Sentence #,Word,Tag\n" + "\n".join(rows) + "\n")
    data = Tagging().data(path)
    assert data.remarks[:2] == ("id: Sentence #, text: Word, label: Tag", "tags mark entities: BIO")
    assert data.parts["train"].batch(0, 0).lengths.tolist() == [2] * 16
    assert "word=a,b" in (data.sizes.vocabulary or ())
    run = gw.tasks.train("tagging", data=path, out=tmp_path / "run", hidden=4, embedding=4, epochs=2)
    answers = run.predict(pd.DataFrame({"Word": ["Ada", "saw", "Rome"], "Sentence #": ["s1", "s1", "s2"]}))
    assert list(answers.columns) == ["Sentence #", "step", "token", "label", "probability"]
    assert answers["Sentence #"].tolist() == ["s1", "s1", "s2"]
    same = run.predict([["Ada", "saw"], ["Rome"]])
    assert answers["probability"].tolist() == same["probability"].tolist()
    assert {"accuracy", "f1"} <= set(run.evaluate(path)["test"])


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            "x,y\n1,2\n3,4\n",
            (
                "{path} does not show which column is the label\n"
                "  expected: a row for each step: numbers and a label, as in time,x,y,label; or a token and a label\n"
                "  got: x, y\n"
                "  do: name the columns: add --set label=y"
            ),
        ),
        (
            "x,place,label\n1,here,a\n3,there,b\n",
            (
                "{path}: these columns are no numbers: place\n"
                "  expected: a row for each step: numbers and a label, as in time,x,y,label; or a token and a label\n"
                "  got: x, place, label\n"
                "  do: name the columns: add --set ignore=place"
            ),
        ),
        (
            "x,label\n1,a\n,b\n",
            (
                "{path}, line 3, 'x': a value is missing\n"
                "  expected: a number such as -12.5\n"
                "  got: ''\n"
                "  do: add --set missing=interpolate, or forward"
            ),
        ),
        (
            "x,label\n1,a\n2,\n",
            (
                "{path}, line 3, 'label': the label is missing\n"
                "  expected: a label for each row\n"
                "  do: fill it in, with a label of its own where there is nothing to tell"
            ),
        ),
        (
            "token,label\nAda,a\nsaw,b\n",
            (
                "{path} does not show which tokens are a sentence\n"
                "  expected: a column with the same number or name in all rows of a sentence\n"
                "  got: token, label\n"
                "  do: name it: add --set id=COLUMN"
            ),
        ),
    ],
)
def test_what_is_asked_for(table: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "steps.csv"
    path.write_text(table)
    with pytest.raises(DataError) as caught:
        Tagging().data(path)
    assert caught.value.in_shell() == message.format(path=path)


def test_other_labels_channels_and_units_are_refused(run: Run) -> None:
    other = stream(60)
    with pytest.raises(DataError) as caught:
        run.evaluate(other.assign(state="broken"))
    assert str(caught.value) == (
        "data in memory has labels that the model does not know: broken\n"
        "  expected: the model's: off, on\n"
        "  got: broken\n"
        "  do: give data with the model's labels, or name their column with label=..."
    )
    with pytest.raises(DataError, match=r"lacks channels that the model reads\n  expected: level, noise\n  got: "):
        run.predict(other.rename(columns={"level": "height"}))
    grams = other.assign(level=other["level"] * 1000)
    for ask in (run.evaluate, run.predict):
        with pytest.raises(DataError, match="'level' are of another scale than those that the model was trained on"):
            ask(grams)
    assert len(run.predict(grams, any_scale=True)) == len(grams)


def test_a_forward_model_is_written_as_c_and_both_as_onnx(run: Run, tmp_path: Path) -> None:
    from gatewright.export.onnx_check import differences

    gw.export.onnx(run.model, tmp_path / "both.onnx")
    assert all(one.fits for one in differences(run.model, tmp_path / "both.onnx"))
    settings = {**SETTINGS, "epochs": 1, "directions": "forward"}
    forward = gw.tasks.train("tagging", data=stream(200), time="seconds", out=tmp_path / "run", **settings)
    written = gw.export.c99(forward.model, tmp_path / "tags.c")
    assert written.source.exists()
    assert "level" in str(forward.model.signature["columns"]["channels"])


def test_labels_that_are_measurements_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "steps.csv"
    path.write_text("x,label\n" + "".join(f"1,{place}.5\n" for place in range(40)))
    with pytest.raises(DataError) as caught:
        Tagging().data(path)
    assert caught.value.problem == f"{path}: 'label' has 40 different values in 40 rows"
    assert caught.value.shell == "name the column of the labels: add --set label=COLUMN"
