"""The `.ts` format, and labelled series from it or from folders of tables."""

import re
from pathlib import Path

import numpy as np
import pytest

from gatewright.errors import DataError
from gatewright.tasks.data import load_labelled_series
from gatewright.tasks.data.series_file import read_ts

HEADER = """# made by a test
@problemName Tiny
@timeStamps false
@univariate false
@dimensions 2
@equalLength false
@classLabel true low high
@data
"""
CASES = "1,2,3:4,5,6:low\n0.5:-1e-3:high\n"


def put(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


def test_steps_come_first_and_channels_after_them(tmp_path: Path) -> None:
    found = read_ts(put(tmp_path / "tiny.ts", HEADER + CASES))
    assert found.classes == ("low", "high")
    assert found.labels.tolist() == [0, 1]
    assert found.sequences[0].tolist() == [[1, 4], [2, 5], [3, 6]]
    assert found.sequences[1].tolist() == [[0.5, np.float32(-1e-3)]]
    assert found.sequences.values.dtype == np.float32


@pytest.mark.parametrize(
    "changed",
    [
        ("@dimensions 2\n", ""),
        ("@dimensions 2", "@dimension 2"),
        ("@problemName", "@PROBLEMNAME"),
        ("\n", "\r\n"),
        ("# made", "\ufeff# made"),
        ("0.5:-1e-3", "\n0.5 : -1e-3"),
    ],
)
def test_small_differences_between_writers_do_not_matter(tmp_path: Path, changed: tuple[str, str]) -> None:
    text = (HEADER + CASES).replace(*changed)
    assert text != HEADER + CASES
    assert read_ts(put(tmp_path / "tiny.ts", text)).sequences.values.shape == (4, 2)


def test_a_univariate_file_has_one_channel(tmp_path: Path) -> None:
    text = HEADER.replace("@univariate false\n@dimensions 2", "@univariate true")
    found = read_ts(put(tmp_path / "tiny.ts", text + "1,2,3:low\n"))
    assert found.sequences[0].tolist() == [[1], [2], [3]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", " is empty"),
        (HEADER[:-6], " is cut short: there is no @data"),
        (HEADER, " holds no cases\n  expected: a case a line behind @data"),
        ("1,2,3:a\n", ', line 1: this is no header of a .ts file\n  expected: "# ..."'),
        (HEADER.replace("true low high", "false"), " does not name its classes\n.*\n  got: @classLabel false"),
        (
            HEADER.replace("@classLabel true low high\n", ""),
            " does not name its classes\n.*\n  got: @classLabel is miss",
        ),
        (HEADER.replace("Stamps false", "Stamps true"), " has time stamps, which are not read"),
        (HEADER + CASES + "1,2:3,4\n", ", line 11: the class is unknown\n  expected: one of low, high\n  got: '3,4'"),
        (HEADER + CASES + "1:2:middle\n", ", line 11: the class is unknown\n.*\n  got: 'middle'"),
        (HEADER + CASES + "1,2,3\n", ", line 11: the class is unknown\n.*\n  got: the line has no class at its end"),
        (
            HEADER + CASES + "1:2:3:low\n",
            ", line 11: the case has too many or too few channels\n  expected: 2\n  got: 3",
        ),
        (
            HEADER + "1,2:3:low\n",
            ", line 9: the channels of the case differ in length\n  expected: 2 steps\n  got: 2, 1",
        ),
        (
            HEADER + "1,2:3,?:low\n",
            ", line 9: a value is missing\n.*\n  got: '.' in channel 2, step 2\n  do: leave the",
        ),
        (HEADER + "1,NaN:3,4:low\n", ", line 9: a value is missing\n.*\n  got: 'NaN' in channel 1, step 2"),
        (HEADER + "1,:3,4:low\n", ", line 9: a value is missing\n.*\n  got: '' in channel 1, step 2"),
        (HEADER + "1,x:3,4:low\n", ", line 9: this is no number\n.*\n  got: 'x' in channel 1, step 2"),
        (HEADER + "1,inf:3,4:low\n", ", line 9: this is no number\n  expected: a finite number\n  got: 'inf'"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = put(tmp_path / "tiny.ts", text)
    with pytest.raises(DataError, match=re.escape(str(path)) + message):
        read_ts(path)


def test_another_encoding_is_told_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not UTF-8 text\n.*\n.*in line 9 "):
        read_ts(put(tmp_path / "tiny.ts", HEADER + "1:2:é\n", "latin-1"))


def test_two_files_are_the_parts_and_some_is_held_out(tmp_path: Path) -> None:
    put(tmp_path / "Tiny_TRAIN.ts", HEADER + CASES * 10)
    put(tmp_path / "Tiny_TEST.ts", HEADER + CASES * 2)
    put(tmp_path / "README.txt", "about it")
    parts = load_labelled_series(tmp_path)
    assert [part.counts() for part in parts] == [{"low": count, "high": count} for count in (8, 2, 2)]
    put(tmp_path / "Tiny_TEST.ts", HEADER.replace("high", "other") + "1:2:low\n")
    with pytest.raises(DataError, match="has other classes than the part to train on\n  expected: low, high"):
        load_labelled_series(tmp_path)


def test_one_file_is_divided(tmp_path: Path) -> None:
    parts = load_labelled_series(put(tmp_path / "tiny.ts", HEADER + CASES * 50))
    assert [len(part) for part in parts] == [64, 16, 20]


def test_a_folder_for_each_class_holds_a_table_for_each_series(tmp_path: Path) -> None:
    for name, value in (("low", 1), ("high", 2)):
        for place in range(10):
            put(tmp_path / name / f"{place}.csv", "a,b\n" + f"{value},{place}\n" * (place + 1))
    parts = load_labelled_series(tmp_path)
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
    assert [len(part) for part in load_labelled_series(tmp_path)] == [16, 4, 6]
    put(tmp_path / "test" / "middle" / "0.csv", "1,2\n")
    with pytest.raises(DataError, match="middle: the class is unknown\n  expected: one of high, low"):
        load_labelled_series(tmp_path)


def test_tables_of_other_channels_and_folders_of_nothing_are_errors(tmp_path: Path) -> None:
    put(tmp_path / "a" / "1.csv", "1,2\n")
    put(tmp_path / "b" / "1.csv", "1,2,3\n")
    with pytest.raises(DataError, match=r"b/1.csv has too many or too few channels\n  expected: 2, as in .*\n  got: 3"):
        load_labelled_series(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no labelled series"):
        load_labelled_series(tmp_path / "empty")
    with pytest.raises(
        DataError, match="'vowels' is neither a data set nor a file\n  expected: one of japanese-vowels"
    ):
        load_labelled_series("vowels")


def test_japanese_vowels_is_the_published_one(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWRIGHT_DATA", str(shared_data))
    parts = load_labelled_series("japanese-vowels")
    assert [len(part) for part in parts] == [216, 54, 370]
    assert set(parts.train.counts().values()) == {24}
    assert list(parts.test.counts().values()) == [31, 35, 88, 24 + 20, 29, 24, 40, 50, 29]
    lengths = np.concatenate([part.sequences.lengths for part in parts])
    assert (lengths.min(), lengths.max()) == (7, 29)
    assert parts.train.sequences.values.shape[1:] == (12,)
