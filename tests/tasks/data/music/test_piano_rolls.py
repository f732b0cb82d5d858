"""Music as piano rolls, out of MATLAB files."""

import struct
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from gatewright.errors import DataError
from gatewright.tasks.data.music.mat_file import read_cells
from gatewright.tasks.data.music.piano_rolls import load_piano_rolls
from tests.tasks.data.formats import cells, element, mat, matrix, numbers, packed, put

ROLLS = [np.eye(4, 88, place, dtype=np.uint8) for place in range(3)]


def three_parts(changed: NDArray[np.generic]) -> bytes:
    return mat(cells("traindata", ROLLS[:2]), cells("validdata", [ROLLS[0], changed]), cells("testdata", ROLLS[2:]))


@pytest.mark.parametrize("squeezed", [False, True])
def test_parts_are_those_of_the_file(tmp_path: Path, squeezed: bool) -> None:
    variables = [cells("traindata", ROLLS[:2]), cells("validdata", [ROLLS[2]]), cells("testdata", ROLLS)]
    path = put(tmp_path / "any.mat", mat(*(map(packed, variables) if squeezed else variables)))
    parts = load_piano_rolls(path)
    assert [len(part) for part in parts] == [2, 1, 3]
    assert np.array_equal(parts.train[1], ROLLS[1])
    assert parts.test.values.dtype == np.uint8
    assert parts.test.steps == 12


@pytest.mark.parametrize("order", ["<", ">"])
def test_both_byte_orders_and_types_are_read(tmp_path: Path, order: str) -> None:
    values = np.arange(6.0).reshape(2, 3)
    content = mat(cells("found", [values, ROLLS[0]], order), matrix("other", 6, (1, 1), b"", order), order=order)
    found = read_cells(put(tmp_path / "any.mat", content))
    assert list(found) == ["found"]
    assert np.array_equal(found["found"][0], values)
    assert np.array_equal(found["found"][1], ROLLS[0])


def test_small_elements_lie_in_their_tags(tmp_path: Path) -> None:
    short = matrix("", 9, (1, 3), struct.pack("<HH", 2, 3) + b"\1\2\3\0")
    found = read_cells(put(tmp_path / "any.mat", mat(matrix("a", 1, (1, 1), short))))
    assert found["a"][0].tolist() == [[1, 2, 3]]


def test_scipy_reads_the_same(tmp_path: Path) -> None:
    io = pytest.importorskip("scipy.io", reason="SciPy is not installed")
    path = put(tmp_path / "any.mat", three_parts(ROLLS[1].astype(float)))
    theirs, ours = io.loadmat(path), read_cells(path)
    assert all(np.array_equal(one, theirs["validdata"][0, place]) for place, one in enumerate(ours["validdata"]))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (ROLLS[0] * 2, ", validdata, piece 2, frame 1, key 1: a key sounds or does not\n  expected: 0 or 1\n  got: 2"),
        (np.where(ROLLS[1], np.nan, 0.0), ", validdata, piece 2, frame 1, key 2: a key .*\n.*\n  got: nan"),
        (ROLLS[0][:, :87], ", validdata, piece 2 is no piano roll\n  expected: frames x 88 keys\n  got: 4 x 87"),
        (ROLLS[0][:0], ", validdata, piece 2 is no piano roll\n.*\n  got: 0 x 88"),
    ],
)
def test_what_is_no_piano_roll_is_told_by_its_place(tmp_path: Path, changed: NDArray[np.uint8], message: str) -> None:
    path = put(tmp_path / "any.mat", three_parts(changed))
    with pytest.raises(DataError, match=f"any.mat{message}"):
        load_piano_rolls(path)


WHOLE = three_parts(ROLLS[0])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (WHOLE[:60], "is not a MATLAB 5 file"),
        (b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM", "is not a MATLAB 5 file\n.*\n.*\n  do: save it in MATLAB"),
        (WHOLE[:-100], "is cut short or damaged in the file\n  got: .* bytes of"),
        (WHOLE[:-1], "is cut short or damaged"),
        (mat(cells("traindata", ROLLS)), "has no pieces in 'validdata'\n  expected: .*\n  got: traindata"),
        (mat(), "has no pieces in 'traindata'\n.*\n  got: no cell array"),
        (mat(packed(cells("traindata", ROLLS))[:-7]), "is cut short or damaged"),
        (mat(struct.pack("<II", 15, 4) + b"what"), "is cut short or damaged in variable 1\n  got: Error -3"),
        (mat(matrix("traindata", 1, (1, 2), numbers(ROLLS[0]))), "in traindata\n  got: 1 cells of 2"),
        (mat(matrix("traindata", 1, (1, 1), element(2, b"8bytes.."))), "in traindata, cell 1\n  got: an element of"),
        (
            mat(matrix("traindata", 1, (1, 1), matrix("", 9, (9, 88), element(2, b"\0" * 88)))),
            "in traindata, cell 1\n  got: 88 bytes for 9 x 88 numbers of 1 bytes",
        ),
        (mat(matrix("traindata", 1, (-1, 1), b"")), r"in variable 1\n  got: sizes \(-1, 1\)"),
        (mat(matrix("traindata", 1, (1, 1), matrix("", 4, (1, 1), element(4, b"ab")))), "cell 1 holds no numbers"),
        (mat(element(14, element(6, b"1234") * 3)), "in variable 1\n  got: a matrix without flags and sizes"),
    ],
)
def test_a_damaged_file_is_an_error(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=f"any.mat.*{message}"):
        load_piano_rolls(put(tmp_path / "any.mat", content))


def test_no_damage_goes_unseen_or_brings_the_reader_down(tmp_path: Path, rng: np.random.Generator) -> None:
    path = tmp_path / "any.mat"
    refused = 0
    for place in rng.integers(128, 700, 400):
        damaged = bytearray(WHOLE)
        damaged[place] ^= 1 << int(rng.integers(8))
        try:
            load_piano_rolls(put(path, bytes(damaged)))
        except DataError:
            refused += 1
    assert 0 < refused < 400  # a flipped key is music too, and names of cells say nothing


@pytest.mark.parametrize(
    ("name", "pieces", "frames"),
    [("jsb", [229, 76, 77], [13_807, 4_602, 4_725]), ("nottingham", [694, 173, 170], [176_561, 45_513, 44_463])],
)
def test_the_real_sets_have_their_published_sizes(
    shared_data: Path, monkeypatch: pytest.MonkeyPatch, name: str, pieces: list[int], frames: list[int]
) -> None:
    monkeypatch.setenv("GATEWRIGHT_DATA", str(shared_data))
    parts = load_piano_rolls(name)
    assert [len(part) for part in parts] == pieces
    assert [part.steps for part in parts] == frames
    assert set(np.unique(parts.train.values)) == {0, 1}
