"""The `.ts` format."""

import re
from pathlib import Path

import numpy as np
import pytest

from gatewright.errors import DataError
from gatewright.tasks.data.sequences.archive_files import read_ts
from tests.tasks.data.formats import put

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


def test_steps_come_first_and_channels_after_them(tmp_path: Path) -> None:
    found = read_ts(put(tmp_path / "tiny.ts", HEADER + CASES))
    assert (found.classes, found.task, found.channels) == (
        ("low", "high"),
        "classification",
        ("channel 1", "channel 2"),
    )
    assert found.labels is not None
    assert found.labels.tolist() == [["low"], ["high"]]
    assert (found.key, found.keys) == ("line", (9, 10))
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
        (HEADER, " holds no cases\n  expected: a case a line after @data"),
        ("1,2,3:a\n", ', line 1: this is no header of a .ts file\n  expected: "# ..."'),
        (HEADER.replace("true low high", "true"), " does not name its classes\n.*\n  got: @classLabel true"),
        (HEADER.replace("Stamps false", "Stamps true"), " has time stamps, which are not read"),
        (HEADER + CASES + "1,2:3,4\n", ", line 11: the class is unknown\n  expected: one of low, high\n  got: '3,4'"),
        (HEADER + CASES + "1:2:middle\n", ", line 11: the class is unknown\n.*\n  got: 'middle'"),
        (HEADER + CASES + "1,2,3\n", ", line 11: the class is unknown\n.*\n  got: the line has no label at its end"),
        (
            HEADER + CASES + "1:2:3:low\n",
            ", line 11: the case has too many or too few channels\n  expected: 2\n  got: 3",
        ),
        (
            HEADER + "1,2:3:low\n",
            ", line 9: the channels of the case differ in length\n  expected: 2 steps\n  got: 2, 1",
        ),
        (HEADER + "1,x:3,4:low\n", ", line 9: this is no number\n.*\n  got: 'x' in channel 1, step 2"),
        (
            HEADER.replace("Length false", "Length true\n@seriesLength 3") + "1,2:3,4:low\n",
            r", line 10: the case is not as long as the file says\n  expected: 3 steps .*\n  got: 2 steps",
        ),
        (
            HEADER.replace("classLabel true low high", "targetlabel true") + "1,2\n",
            ", line 9: the case has no label\n  expected: values, then ':' and a number",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = put(tmp_path / "tiny.ts", text)
    with pytest.raises(DataError, match=re.escape(str(path)) + message):
        read_ts(path)


def test_missing_values_are_read_as_such_and_padding_ends_a_series(tmp_path: Path) -> None:
    read = read_ts(put(tmp_path / "tiny.ts", HEADER + "1,?,3,NaN:4,5,,?:low\n")).sequences
    np.testing.assert_array_equal(read[0], [[1, 4], [np.nan, 5], [3, np.nan]])


def test_numbers_to_be_told_and_series_without_labels(tmp_path: Path) -> None:
    header = HEADER.replace("classLabel true low high", "targetlabel true")
    read = read_ts(put(tmp_path / "tiny.ts", header + "1,2:3,4:0.5\n1:2:-1e3\n"))
    assert read.labels is not None
    assert (read.task, read.targets, read.labels.tolist()) == ("regression", ("target",), [["0.5"], ["-1e3"]])
    bare = read_ts(put(tmp_path / "bare.ts", HEADER.replace("true low high", "false") + "1,2:3,4\n"))
    assert (bare.labels, bare.sequences[0].tolist()) == (None, [[1, 3], [2, 4]])


def test_another_encoding_is_told_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not UTF-8 text\n.*\n.*in line 9 "):
        read_ts(put(tmp_path / "tiny.ts", HEADER + "1:2:é\n", "latin-1"))
