"""Labelled series in parts: pairs of files, single ones, folders of tables, arrays; what labels mean."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gatewright.errors import DataError, OptionError
from gatewright.tasks.data.sequences.labelled import load_labelled_series
from gatewright.tasks.data.sequences.sources import KnownSeries, SeriesReading, read_unlabelled
from tests.tasks.data.sequences.test_archive_files import CASES, HEADER, put


def test_two_files_are_the_parts_and_some_is_held_out(tmp_path: Path) -> None:
    put(tmp_path / "Tiny_TRAIN.ts", HEADER + CASES * 10)
    put(tmp_path / "Tiny_TEST.ts", HEADER + CASES * 2)
    put(tmp_path / "README.txt", "about it")
    parts = load_labelled_series(tmp_path, validation=0.2).parts
    assert [part.counts() for part in parts] == [{"low": count, "high": count} for count in (8, 2, 2)]
    put(tmp_path / "Tiny_TEST.ts", HEADER.replace("high", "other") + "1:2:low\n")
    with pytest.raises(DataError, match="has other classes than the part to train on\n  expected: low, high"):
        load_labelled_series(tmp_path)


def test_one_file_is_divided(tmp_path: Path) -> None:
    path = put(tmp_path / "tiny.ts", HEADER + CASES * 75)
    assert [len(part) for part in load_labelled_series(path).parts] == [96, 24, 30]
    assert [len(part) for part in load_labelled_series(path, validation=0.5).parts] == [60, 60, 30]
    few = load_labelled_series(put(path, HEADER + CASES * 50))
    assert [len(part) for part in few.parts] == [80, 0, 20]
    assert few.remarks == ("no validation: 80 series are few (validation=0.2 holds a fifth out)",)


def test_a_folder_for_each_class_holds_a_table_for_each_series(tmp_path: Path) -> None:
    for name, value in (("low", 1), ("high", 2)):
        for place in range(10):
            put(tmp_path / name / f"{place}.csv", "a,b\n" + f"{value},{place}\n" * (place + 1))
    parts = load_labelled_series(tmp_path, validation=0.2).parts
    assert [len(part) for part in parts] == [13, 3, 4]
    assert parts.train.classes == ("high", "low")
    for part in parts:
        for place, label in enumerate(part.labels):
            series = part.sequences[place]
            assert (series[:, 0] == 2 - label).all()
            assert len(series) == series[0, 1] + 1


def test_folders_of_parts_are_taken_as_they_are(tmp_path: Path) -> None:
    for part, count in (("train", 10), ("test", 3)):
        for place in range(count):
            put(tmp_path / part / "low" / f"{place}.csv", f"{place},1\n")
            put(tmp_path / part / "high" / f"{place}.csv", f"{place},2\n")
    assert [len(part) for part in load_labelled_series(tmp_path, validation=0.2).parts] == [16, 4, 6]
    put(tmp_path / "test" / "middle" / "0.csv", "1,2\n")
    with pytest.raises(DataError, match="middle: the class is unknown\n  expected: one of high, low"):
        load_labelled_series(tmp_path)


def test_tables_of_other_channels_and_folders_of_nothing_are_errors(tmp_path: Path) -> None:
    put(tmp_path / "a" / "1.csv", "1,2\n")
    put(tmp_path / "b" / "1.csv", "1,2,3\n")
    with pytest.raises(DataError, match=r"b/1.csv has other channels than .*a/1.csv\n  expected: column 1, column 2"):
        load_labelled_series(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no labelled series"):
        load_labelled_series(tmp_path / "empty")
    with pytest.raises(
        DataError, match="'vowels' is neither a data set nor a file\n  expected: one of arrowhead, .*, japanese-vowels"
    ):
        load_labelled_series("vowels")


def test_japanese_vowels_is_the_published_one(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWRIGHT_DATA", str(shared_data))
    parts = load_labelled_series("japanese-vowels").parts
    assert [len(part) for part in parts] == [216, 54, 370]
    assert set(parts.train.counts().values()) == {24}
    assert list(parts.test.counts().values()) == [31, 35, 88, 24 + 20, 29, 24, 40, 50, 29]
    lengths = np.concatenate([part.sequences.lengths for part in parts])
    assert (lengths.min(), lengths.max()) == (7, 29)
    assert parts.train.sequences.values.shape[1:] == (12,)


ROWS = "2\t0.5\t1\t1.5\n1\t-1\t-2\t-3\n"


def test_rows_of_the_ucr_archive(tmp_path: Path) -> None:
    put(tmp_path / "Tiny_TRAIN.tsv", ROWS * 4)
    put(tmp_path / "Tiny_TEST.tsv", ROWS.replace("\t1.5", "\tNaN"))
    put(tmp_path / "README.txt", "about it")
    found = load_labelled_series(tmp_path)
    assert found.meaning.classes == ("1", "2")
    assert found.parts.train.labels.tolist() == [1, 0] * 4
    assert found.parts.test.sequences[0].tolist() == [[0.5], [1]]
    assert found.remarks == (
        "rows: each is a series of up to 3 steps, after its label",
        "classification: 'label' has 2 whole numbers, 1 to 2 (task=regression takes them as such)",
        "no validation: 8 series are few (validation=0.2 holds a fifth out)",
    )
    beside = load_labelled_series(tmp_path / "Tiny_TRAIN.tsv")
    assert [len(part) for part in beside.parts] == [8, 0, 2]


@pytest.mark.parametrize("separator", [",", ";", "  "])
def test_rows_of_other_separators_and_labels(tmp_path: Path, separator: str) -> None:
    text = "".join(f" 1.0000000e+00 {k} 3\n 2.0000000e+00 {k} 4\n".replace(" ", separator).lstrip(",;") for k in "567")
    path = put(tmp_path / "rows.txt", text.replace(f"\n{separator.strip()}", "\n"))
    assert load_labelled_series(path, test=0.4).meaning.classes == ("1", "2")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ROWS + "1\t2\t3\n", ", line 3: the row is not as long as the first\n  expected: 4 fields\n  got: 3"),
        (ROWS + "1\t2\tx\t3\n", ", line 3: this is no number\n.*\n  got: 'x' in channel 1, step 2"),
        ("a,0,0.1,0.2\na,1,0.3,0.4\nb,0,0.5,0.6\nb,1,0.7,0.8\n", ": the rows look like steps, with an id and a time"),
    ],
)
def test_rows_that_are_no_series(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=re.escape(str(tmp_path / "rows.csv")) + message):
        load_labelled_series(put(tmp_path / "rows.csv", text))


ARFF = """% made by a test
@relation 'tiny'
@attribute both relational
@attribute att0 numeric
@attribute att1 numeric
@end both
@attribute 'kind' {low, "high"}
@data
'1,2\\n3,4',low
'5,?\\n7,8',high
"""


def test_arff_of_several_channels_and_of_one(tmp_path: Path) -> None:
    read = read_unlabelled(put(tmp_path / "tiny.arff", ARFF), SeriesReading(missing="forward"), KnownSeries(None))
    assert read.sequences[0].tolist() == [[1, 3], [2, 4]]
    assert read.sequences[1].tolist() == [[5, 7], [5, 8]]
    assert read.keys == (9, 10)
    text = "@attribute t1 real\n@attribute t2 real\n@attribute target {0,1}\n@data\n" + "1,2,0\n3,4,1\n" * 10
    found = load_labelled_series(put(tmp_path / "one.arff", text))
    assert (found.channels, found.meaning.classes, found.meaning.targets) == (("channel 1",), ("0", "1"), ("target",))
    numbers = text.replace("{0,1}", "numeric").replace(",1\n", ",1.5\n")
    assert load_labelled_series(put(tmp_path / "numbers.arff", numbers)).meaning.is_regression


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            ARFF + "'1,2\\n3,4',middle\n",
            ", line 11: the class is unknown\n  expected: one of low, high\n  got: 'middle'",
        ),
        (ARFF + "1,2,low\n", ", line 11: this is no case of a relational attribute"),
        (
            ARFF + "'1,2\\n3',low\n",
            ", line 11: the channels of the case differ in length\n  expected: 2 steps\n  got: 2, 1",
        ),
        (ARFF + "'1,2',low\n", ", line 11: the case has too many or too few channels\n  expected: 2\n  got: 1"),
        (ARFF[:60], " is cut short: there is no @data"),
    ],
)
def test_arff_that_is_wrong_is_told_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = put(tmp_path / "tiny.arff", text)
    with pytest.raises(DataError, match=re.escape(str(path)) + message):
        load_labelled_series(path)


def test_arrays_of_a_program_and_of_a_file(tmp_path: Path, rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(10, 6, 2)).astype(np.float32), np.array(["up", "down"] * 5)
    x[0, 4:] = np.nan
    found = load_labelled_series((x, y))
    assert (found.meaning.classes, found.channels) == (("down", "up"), ("channel 1", "channel 2"))
    ragged = load_labelled_series(([*x[:, :, 0]], y), test=0.4)
    assert [len(part) for part in ragged.parts] == [6, 0, 4]
    np.savez(tmp_path / "pair.npz", X_train=x, y_train=y, X_test=x[:4], y_test=y[:4], channels=["ax", "ay"])
    pair = load_labelled_series(tmp_path / "pair.npz")
    assert pair.channels == ("ax", "ay")
    assert [len(part) for part in pair.parts] == [10, 0, 4]
    assert pair.parts.train.sequences.lengths.tolist() == [4, *[6] * 9]
    np.savez(tmp_path / "lengths.npz", x=x, lengths=np.arange(1, 4).repeat(4)[:10])
    ended = read_unlabelled(tmp_path / "lengths.npz", SeriesReading(), KnownSeries(None))
    assert ended.sequences.lengths.tolist()[::4] == [1, 2, 3]


def test_arrays_that_cannot_be_series(tmp_path: Path) -> None:
    x = np.zeros((3, 2, 6))
    with pytest.raises(DataError) as caught:
        load_labelled_series((x, [0, 1, 0]))
    assert str(caught.value) == (
        "data in memory: the series have more channels than steps, as if their axes were exchanged\n"
        "  expected: (cases, steps, channels)\n  got: 2 steps of 6 channels\n"
        "  do: say what the axes are with layout='channels-steps' or layout='steps-channels'"
    )
    for layout, shape in (("channels-steps", (18, 2)), ("steps-channels", (6, 6))):
        assert read_unlabelled(x, SeriesReading(layout=layout), KnownSeries(None)).sequences.values.shape == shape
    np.savez(tmp_path / "objects.npz", x=np.array([np.zeros(2), np.zeros(3)], object), y=[0, 1])
    with pytest.raises(DataError, match="have to be unpickled\n.*\n  do: save series of different lengths as one"):
        load_labelled_series(tmp_path / "objects.npz")
    np.savez(tmp_path / "names.npz", data=x)
    with pytest.raises(DataError, match="does not say which arrays are series\n  expected: x and y; or .*\n.*data"):
        load_labelled_series(tmp_path / "names.npz")
    with pytest.raises(DataError, match=r"each series has a label\n.* of 3 cases\n  got: shape \(2,\)"):
        load_labelled_series((np.zeros((3, 4)), [0, 1]))


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["b", "a"] * 6, ("a", "b")),
        ([10, 9] * 6, ("9", "10")),
        ([1.0, 2.0] * 6, ("1", "2")),
        ([*range(1, 13)] * 2, tuple(map(str, range(1, 13)))),
        ([True, False] * 6, ("False", "True")),
        ([0.5, 1] * 6, ()),
    ],
)
def test_what_labels_mean(labels: list[Any], classes: tuple[str, ...]) -> None:
    series = np.arange(len(labels))[:, np.newaxis] + np.arange(3.0)
    assert load_labelled_series((series, labels), test=0.25).meaning.classes == classes


def test_whole_numbers_may_be_either() -> None:
    labels = np.arange(24) * 5
    series = labels[:, np.newaxis] + np.arange(3.0)
    with pytest.raises(DataError) as caught:
        load_labelled_series((series, labels))
    assert str(caught.value) == (
        "data in memory: the labels may be classes or numbers\n  expected: names of classes, numbers with decimals, or "
        "a word on which of the two whole numbers are\n  got: 24 whole numbers, 0 to 115\n"
        "  do: say which, with task='classification' or task='regression'"
    )
    assert "with --set task=classification or --set task=regression" in (caught.value.shell or "")
    told = load_labelled_series((series, labels), reading=SeriesReading(task="regression"))
    assert told.meaning.is_regression
    assert told.remarks[0] == "regression of label"
    assert told.parts.train.labels.dtype == np.float32
    assert sorted(np.concatenate([part.labels[:, 0] for part in told.parts]).tolist()) == labels.tolist()


def test_missing_values_are_refused_or_filled_in(tmp_path: Path) -> None:
    text = HEADER + "?,1,?,3:4,4,4,4:low\n1,2,3:4,5,6:high\n" * 10
    path = put(tmp_path / "tiny.ts", text)
    with pytest.raises(DataError) as caught:
        load_labelled_series(path)
    assert str(caught.value) == (
        f"{path}, line 9: a value is missing\n  expected: a number\n"
        "  got: none in 'channel 1', step 1; 20 in 10 series in all\n"
        "  do: have them filled in, with missing='interpolate' or missing='forward'"
    )
    with pytest.raises(DataError) as caught:
        load_labelled_series(path, reading=SeriesReading(missing="forward"))
    assert caught.value.in_shell() == (
        f"{path}, line 9: the series begins without a value, and forward has none to repeat\n"
        "  expected: a number\n  got: none in 'channel 1', step 1\n"
        "  do: have values filled in from both sides, with --set missing=interpolate"
    )
    for rule, first, filled in (("forward", "1", [1, 1, 1, 3]), ("interpolate", "?", [1, 1, 2, 3])):
        put(path, text.replace("?,1,?,3", f"{first},1,?,3"))
        found = load_labelled_series(path, reading=SeriesReading(missing=rule))
        assert f"missing={rule}: {20 if first == '?' else 10} values of 10 series filled in" in found.remarks
        low = next(place for place in range(len(found.parts.train)) if found.parts.train.labels[place] == 0)
        assert found.parts.train.sequences[low][:, 0].tolist() == filled
    with pytest.raises(DataError, match="line 9: 'channel 2' has no value at all"):
        load_labelled_series(put(path, HEADER + "1,2:?,?:low\n"), reading=SeriesReading(missing="forward"))


def test_labels_that_are_missing_or_unknown(tmp_path: Path) -> None:
    bare = put(tmp_path / "bare.ts", HEADER.replace("true low high", "false") + "1,2:3,4\n")
    with pytest.raises(DataError, match="has no labels\n  expected: a label for each series: a class or a number"):
        load_labelled_series(bare)
    with pytest.raises(DataError, match="line 11: the label is missing\n  expected: a class or a number"):
        load_labelled_series(put(tmp_path / "tiny.ts", HEADER + CASES + "1:2:?\n"))
    put(tmp_path / "T_TRAIN.csv", "a,1,2\nb,3,4\n" * 5)
    put(tmp_path / "T_TEST.csv", "c,1,2\n")
    with pytest.raises(DataError, match="line 1: the class is unknown\n  expected: one of a, b\n  got: 'c'"):
        load_labelled_series(tmp_path / "T_TRAIN.csv")


def test_channels_go_by_their_names(tmp_path: Path) -> None:
    for name, value in (("low", 1), ("high", 2)):
        for place in range(5):
            put(tmp_path / name / f"{place}.csv", "a,b\n" + f"{value},{10 * value}\n" * 3)
    put(tmp_path / "low" / "0.csv", "b,a\n10,1\n")
    parts = load_labelled_series(tmp_path).parts
    assert {tuple(row) for part in parts[::2] for row in part.sequences.values.tolist()} == {(1, 10), (2, 20)}
    put(tmp_path / "low" / "1.csv", "a,c\n1,10\n")
    with pytest.raises(DataError, match="low/1.csv has other channels than .*\n  expected: a, b\n  got: a, c"):
        load_labelled_series(tmp_path)


@pytest.mark.parametrize("text", ["1\t2\t3\n4\t5\t6\n", "low\t1\t2\t3\nhigh\t4\t5\t6\n", "\t1\t2\t3\n?\t4\t5\t6\n"])
def test_rows_are_read_with_labels_or_without(tmp_path: Path, text: str) -> None:
    path = put(tmp_path / "rows.tsv", text)
    read = read_unlabelled(path, SeriesReading(), KnownSeries(None, longest=3, classes=("low", "high")))
    assert [read.sequences[place][:, 0].tolist() for place in range(2)] == [[1, 2, 3], [4, 5, 6]]
    assert (read.key, read.keys, read.labels) == ("line", (1, 2), None)
    longer = read_unlabelled(path, SeriesReading(), KnownSeries(None, longest=9, classes=("low", "high")))
    assert longer.sequences.lengths.tolist() == [3, 3]


LONG = "".join(
    f"{place},{step},{place}.5,{step},{'up' if place % 2 else 'down'}\n" for place in range(10) for step in (1, 0, 2)
)


def test_long_form_is_put_in_order_of_time(tmp_path: Path) -> None:
    path = put(tmp_path / "long.csv", "id,t,x,y,activity\n" + LONG)
    found = load_labelled_series(path)
    assert found.remarks[0] == "id: id, time: t, channels: x, y, label: activity"
    assert (found.key, found.channels, found.meaning.classes) == ("id", ("x", "y"), ("down", "up"))
    assert {tuple(found.parts.train.sequences[place][:, 1]) for place in range(8)} == {(0, 1, 2)}
    frame = pd.DataFrame({"y": [0.0, 1, 2, 3], "x": [5, 6, 7, 8], "id": ["a", "a", "b", "b"]})
    read = read_unlabelled(frame, SeriesReading(), KnownSeries(("x", "y"), "id"))
    assert (read.keys, read.sequences[1].tolist()) == (("a", "b"), [[7, 2], [8, 3]])
    alone = read_unlabelled(frame[["y", "x"]], SeriesReading(), KnownSeries(("x", "y"), "id"))
    assert alone.sequences[0].tolist() == [[5, 0], [6, 1], [7, 2], [8, 3]]


def test_numbers_are_told_of_long_form(tmp_path: Path) -> None:
    rows = "".join(f"{place},{step},{place + 100}\n" for place in range(30) for step in (1, 2, 3))
    path = put(tmp_path / "long.csv", "subject,x,age\n" + rows)
    found = load_labelled_series(path, reading=SeriesReading(id="subject", target="age"))
    assert (found.meaning.targets, found.channels) == (("age",), ("x",))
    assert found.meaning.is_regression
    assert "regression of age" in found.remarks


def asked(path: Path, reading: SeriesReading) -> tuple[str, str]:
    """What a person is told of a table that cannot be read so, and what to add."""
    with pytest.raises(DataError) as caught:
        load_labelled_series(path, reading=reading)
    return str(caught.value).partition("\n")[0], caught.value.shell or ""


def test_columns_without_a_role_are_asked_for(tmp_path: Path) -> None:
    path = put(tmp_path / "long.csv", "trial,t,x,y,activity\n" + LONG)
    assert asked(path, SeriesReading()) == (
        f"{path} does not show which column is the id and which the label",
        "name the columns: add --set id=trial label=activity",
    )
    assert load_labelled_series(path, reading=SeriesReading(id="trial", time="t", label="activity")).key == "id"
    notes = "".join(f"{line},c {place}\n" for place, line in enumerate(LONG.splitlines()))
    noted = put(tmp_path / "noted.csv", "id,t,x,y,activity,note\n" + notes)
    assert asked(noted, SeriesReading()) == (
        f"{noted}: these columns are no numbers: note",
        "name the columns: add --set ignore=note",
    )
    assert load_labelled_series(noted, reading=SeriesReading(ignore="note")).channels == ("x", "y")
    problem, shell = asked(path, SeriesReading(id="trial", label="y", ignore="activity"))
    assert problem == f"{path}, line 3, 'y': the label changes within the series '0'"
    assert "the recipe tagging learns a label for each step" in shell
    rows = put(tmp_path / "rows.tsv", ROWS * 5)
    with pytest.raises(OptionError, match="is no table, so that it has no columns to be named\n  got: label=class"):
        load_labelled_series(rows, reading=SeriesReading(label="class"))


def test_a_class_of_one_series_is_learned_from() -> None:
    arrays = np.random.default_rng(0).normal(size=(11, 4, 2))
    for seed in range(5):
        parts = load_labelled_series((arrays, ["a", "b"] * 5 + ["c"]), seed=seed).parts
        assert 2 in parts.train.labels
        assert 2 not in parts.test.labels
        assert len(parts.test) >= 1
    with pytest.raises(DataError) as caught:
        load_labelled_series((arrays[:3], ["a", "b", "c"]))
    assert str(caught.value) == (
        "data in memory has a single series of each class, of which none can be held out for a test\n"
        "  expected: two series at least of a class\n  got: 3 series of 3 classes\n"
        "  do: give series to test with in a file beside it: NAME_TRAIN and NAME_TEST"
    )


def test_one_hot_labels_are_no_regression() -> None:
    arrays, labels = np.random.default_rng(0).normal(size=(20, 4, 2)), np.eye(2)[np.arange(20) % 2]
    with pytest.raises(DataError) as caught:
        load_labelled_series((arrays, labels))
    assert str(caught.value) == (
        "data in memory: the labels look one-hot, a 1 in the column of each series' class\n"
        "  expected: a class for each series, or numbers\n  got: 2 columns of 0 and 1\n"
        "  do: give the classes, y.argmax(1); task='regression' takes them as numbers"
    )
    meaning = load_labelled_series((arrays, labels), reading=SeriesReading(task="regression")).meaning
    assert meaning.is_regression
