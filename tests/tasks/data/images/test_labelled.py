"""The idx format, and images with labels."""

import gzip
import re
from pathlib import Path

import numpy as np
import pytest

from gatewright.errors import DataError, OptionError
from gatewright.tasks.data.images.labelled import ImageBatches, LabelledImages, load_images, read_idx
from tests.tasks.data.formats import IDX_TYPES, idx, put


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six images to train on and two to test with, of 2 x 3 pixels."""
    pixels = np.arange(48).reshape(8, 2, 3) * 5
    for name, rows in (("train", slice(0, 6)), ("t10k", slice(6, 8))):
        put(tmp_path / f"{name}-images-idx3-ubyte", idx(pixels[rows]))
        put(tmp_path / f"{name}-labels-idx1-ubyte.gz", gzip.compress(idx(np.arange(8)[rows])))
    return tmp_path


@pytest.mark.parametrize("kind", IDX_TYPES)
@pytest.mark.parametrize("packed", [False, True])
def test_any_array_is_read_as_it_was_written(tmp_path: Path, rng: np.random.Generator, kind: int, packed: bool) -> None:
    array = rng.integers(0, 100, (3, 4, 5)).astype(IDX_TYPES[kind])
    content = idx(array, kind)
    found = read_idx(put(tmp_path / "any", gzip.compress(content) if packed else content))
    assert found.dtype == array.dtype.newbyteorder("=")
    assert found.dtype.isnative
    assert np.array_equal(found, array)


def test_what_is_wrong_with_a_file_is_said(tmp_path: Path) -> None:
    whole = idx(np.zeros((3, 2, 2)))
    path = tmp_path / "images"
    wrong = {
        b"": f"{path} is empty",
        b"PK\x03\x04": f"{path} is not an idx file\n  expected: a magic number such as 00 00 08 03: two zeros, the "
        "type of the numbers, the number of axes\n  got: 50 4b 03 04",
        b"\0\0\x07\x03": f"{path} is not an idx file",
        b"\0\0\x08": f"{path} is not an idx file",
        whole[:10]: f"{path} is cut short within its header\n  expected: 16 bytes\n  got: 10 bytes",
        whole[:-5]: f"{path} is cut short within record 1 of 3\n  expected: 12 bytes for 3 x 2 x 2\n  got: 7 bytes",
        whole + b"\0": f"{path} goes on after its last record\n  expected: 12 bytes for 3 x 2 x 2\n  got: 13 bytes",
        gzip.compress(whole)[:-9]: f"{path} is cut short or damaged\n  got: EOFError",
    }
    for content, message in wrong.items():
        with pytest.raises(DataError) as caught:
            read_idx(put(path, content))
        assert str(caught.value).startswith(message)


def test_the_first_images_are_held_out(folder: Path) -> None:
    parts = load_images(folder, validation=2)
    assert [part.labels.tolist() for part in parts] == [[2, 3, 4, 5], [0, 1], [6, 7]]
    assert parts.test.images[0].tolist() == [[180, 185, 190], [195, 200, 205]]
    with pytest.raises(OptionError, match="validation leaves a part empty\n  expected: 1 to 5\n  got: 6"):
        load_images(folder, validation=6)


def test_files_that_do_not_fit_together_are_errors(folder: Path) -> None:
    labels = folder / "train-labels-idx1-ubyte.gz"
    cases = {
        idx(np.arange(5)): " has a label for each image\n  expected: 6\n  got: 5",
        idx(np.array([0, 1, 2, 77, 4, 5])): ", record 3: the label is unknown\n  expected: 0 to 9\n  got: 77",
        idx(np.zeros((6, 1))): r" holds something else\n  expected: 1 axes of bytes\n  got: \(6, 1\), uint8",
    }
    for content, message in cases.items():
        put(labels, content)
        with pytest.raises(DataError, match=re.escape(str(labels)) + message):
            load_images(folder)
    labels.unlink()
    with pytest.raises(DataError, match=r"there is no file of labels \(train-labels-idx1-ubyte\)\n  got: t10k-images"):
        load_images(folder)


def test_images_of_another_size_are_an_error(folder: Path) -> None:
    put(folder / "t10k-images-idx3-ubyte", idx(np.zeros((2, 2, 2))))
    with pytest.raises(DataError, match="the images to test with have another size"):
        load_images(folder)


def test_rows_or_pixels_are_steps() -> None:
    images = (np.arange(24).reshape(4, 2, 3) * 10).astype(np.uint8)
    part = LabelledImages(images, np.array([3, 1, 4, 2]))
    rows = ImageBatches(part, 3).batch(0, 1)
    assert rows.inputs.shape == (2, 1, 3)
    assert rows.inputs.dtype == np.float32
    assert rows.inputs[1, 0].tolist() == pytest.approx([210 / 255, 220 / 255, 230 / 255])
    pixels = ImageBatches(part, 3, by="pixels").batch(0, 0)
    assert pixels.inputs.shape == (6, 3, 1)
    assert np.allclose(pixels.inputs[:, 1, 0] * 255, images[1].ravel(), atol=1e-4)
    order = np.array([5, 0, 4, 1, 3, 2])
    permuted = ImageBatches(part, 3, by="pixels", pixel_order=order).batch(0, 0)
    assert np.array_equal(permuted.inputs[:, :, 0], pixels.inputs[order, :, 0])
    assert permuted.targets.tolist() == [3, 1, 4]


def test_an_epoch_shows_each_image_once_in_an_order_of_its_own() -> None:
    part = LabelledImages(np.zeros((10, 2, 2), np.uint8), np.arange(10))
    batches = ImageBatches(part, 4, seed=2)
    seen = [
        np.concatenate([batches.batch(epoch, place).targets for place in range(len(batches))]).tolist()
        for epoch in (0, 1, 0)
    ]
    assert all(sorted(epoch) == list(range(10)) for epoch in seen)
    assert seen[0] == seen[2] != seen[1]


def test_wrong_options_are_errors() -> None:
    part = LabelledImages(np.zeros((1, 2, 2), np.uint8), np.zeros(1, np.int64))
    with pytest.raises(OptionError, match="batch is too small"):
        ImageBatches(part, 0)
    with pytest.raises(OptionError, match="pixel_order names each pixel once"):
        ImageBatches(part, 1, by="pixels", pixel_order=np.array([0, 1, 2, 2]))
    with pytest.raises(OptionError, match="pixel_order names each pixel once"):
        ImageBatches(part, 1, pixel_order=np.arange(4))


def test_mnist_is_the_published_one(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWRIGHT_DATA", str(shared_data))
    parts = load_images("mnist")
    assert [part.images.shape for part in parts] == [(55_000, 28, 28), (5_000, 28, 28), (10_000, 28, 28)]
    assert parts.validation.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert np.bincount(parts.test.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    pixels = np.concatenate([parts.validation.images, parts.train.images])
    assert pixels.mean() / 255 == pytest.approx(0.1307, abs=5e-5)
