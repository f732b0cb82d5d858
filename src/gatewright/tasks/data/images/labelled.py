"""Images with labels in idx files, read as sequences: row by row, or pixel by pixel in any order."""

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import DataError, OptionError
from gatewright.tasks.data.batches.arrays import EpochOrder, Rows, check_sizes
from gatewright.tasks.data.published.sources import Files, Source, files_of, required_file
from gatewright.tasks.data.ragged import Splits, check_classes
from gatewright.tasks.data.reading import opened

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_BRIGHTEST = 255
_CLASSES = 10


def read_idx(path: Path) -> NDArray[Any]:
    """The array in an idx file, in the machine's own byte order.

    Four bytes of magic (0, 0, the type, the rank), one 32-bit size an axis, then the numbers, the last axis fastest.
    All are big-endian, and the file is gzip or not. See http://yann.lecun.com/exdb/mnist/.
    """
    with opened(path) as source:
        content = source.read()
    dtype, shape = _header(path, content)
    start, size = 4 + 4 * len(shape), math.prod(shape) * dtype.itemsize
    if (present := len(content) - start) != size:
        problem, do = f"{path} goes on after its last record", None
        if present < size:
            record = present * shape[0] // size
            problem, do = f"{path} is cut short within record {record} of {shape[0]}", "get the file again"
        expected = f"{size} bytes for {' x '.join(map(str, shape))}"
        raise DataError(problem, expected=expected, got=f"{present} bytes", do=do)
    numbers = np.frombuffer(content, dtype, offset=start).reshape(shape)
    return numbers.astype(dtype.newbyteorder("="))


def _header(path: Path, content: bytes) -> tuple[np.dtype[Any], tuple[int, ...]]:
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _TYPES or not content[3]:
        raise DataError(
            f"{path} is not an idx file",
            expected="a magic number such as 00 00 08 03: two zeros, the type of the numbers, the number of axes",
            got=content[:4].hex(" ") or "nothing",
        )
    rank = content[3]
    if len(content) < 4 + 4 * rank:
        raise DataError(
            f"{path} is cut short within its header", expected=f"{4 + 4 * rank} bytes", got=f"{len(content)} bytes"
        )
    return np.dtype(_TYPES[content[2]]), struct.unpack_from(f">{rank}I", content, 4)


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Grey images (items, rows, columns), uint8, and the class of each (items,), int64."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def select(self, places: slice | NDArray[np.int64]) -> Self:
        """Those images with their labels."""
        return type(self)(self.images[places], self.labels[places])


def load_images(source: Source = "mnist", *, validation: int = 5000, at_most: float = 1.0) -> Splits[LabelledImages]:
    """Images in the four idx files of MNIST, by name or in a folder; the first `validation` of them are held out.

    Of few images no more than the share `at_most` is held out.

    MNIST has 60,000 images to train on and 10,000 to test with (LeCun, Bottou, Bengio, Haffner 1998,
    http://yann.lecun.com/exdb/mnist/). TensorFlow's tutorials hold out the first 5,000, as is done here. Fashion-MNIST
    and its like have the same files.
    """
    files = files_of(source, "images")
    train, test = _read(files, "train"), _read(files, "t10k|test")
    check_classes(source, train.labels, [str(number) for number in range(_CLASSES)])
    if train.images.shape[1:] != test.images.shape[1:]:
        raise DataError(
            "the images to test with have another size",
            expected=f"{train.images.shape[1:]}",
            got=f"{test.images.shape[1:]}",
        )
    validation = min(validation, int(at_most * len(train))) if at_most < 1 else validation
    if not 0 < validation < len(train):
        raise OptionError("validation leaves a part empty", expected=f"1 to {len(train) - 1}", got=str(validation))
    return Splits(train.select(slice(validation, None)), train.select(slice(validation)), test)


def _read(files: Files, part: str) -> LabelledImages:
    image_file = required_file(files, rf"({part})-images[.-]idx3-ubyte(\.gz)?", f"images ({part}-images-idx3-ubyte)")
    label_file = required_file(files, rf"({part})-labels[.-]idx1-ubyte(\.gz)?", f"labels ({part}-labels-idx1-ubyte)")
    images, labels = read_idx(image_file), read_idx(label_file)
    for path, array, rank in ((image_file, images, 3), (label_file, labels, 1)):
        if array.ndim != rank or array.dtype != np.uint8 or not array.size:
            raise DataError(
                f"{path} holds something else", expected=f"{rank} axes of bytes", got=f"{array.shape}, {array.dtype}"
            )
    if len(images) != len(labels):
        raise DataError(f"{label_file} has a label for each image", expected=str(len(images)), got=str(len(labels)))
    if (unknown := labels >= _CLASSES).any():
        record = int(np.argmax(unknown))
        problem = f"{label_file}, record {record}: the label is unknown"
        raise DataError(problem, expected=f"0 to {_CLASSES - 1}", got=str(labels[record]))
    return LabelledImages(images, labels.astype(np.int64))


class ImageBatches:
    """Batches of images as sequences, with values from 0 to 1: (steps, rows of the batch, features), float32.

    "rows" reads a row of pixels a step, (rows, batch, columns); "pixels" reads one, (rows * columns, batch, 1), in the
    order of `pixel_order` where it is given (a permutation for "permuted MNIST", Le, Jaitly, Hinton 2015,
    https://arxiv.org/abs/1504.00941). Images become numbers when their batch is asked for, so 60,000 of them take the
    47 MB that they have as bytes.
    """

    carries_state = False

    def __init__(
        self,
        part: LabelledImages,
        batch: int,
        *,
        by: Literal["rows", "pixels"] = "rows",
        pixel_order: NDArray[np.int64] | None = None,
        seed: int | None = None,
    ) -> None:
        pixels = math.prod(part.images.shape[1:])
        check_sizes(batch=batch)
        if pixel_order is not None and (by != "pixels" or sorted(pixel_order.tolist()) != list(range(pixels))):
            raise OptionError(
                "pixel_order names each pixel once, where images are read pixel by pixel",
                expected=f'by="pixels" and a permutation of 0 to {pixels - 1}',
            )
        self._part, self._batch, self._by, self._pixel_order = part, batch, by, pixel_order
        self._order = EpochOrder(len(part), seed)

    def __len__(self) -> int:
        return math.ceil(len(self._part) / self._batch)

    def batch(self, epoch: int, position: int) -> Rows:
        """The images of that place in the epoch's order, and their labels."""
        places = self._order(epoch)[position * self._batch : (position + 1) * self._batch]
        pixels = self._part.images[places].astype(np.float32) / _BRIGHTEST
        if self._by == "pixels":
            flat = pixels.reshape(len(places), -1)
            pixels = (flat if self._pixel_order is None else flat[:, self._pixel_order])[:, :, np.newaxis]
        return Rows(np.ascontiguousarray(pixels.swapaxes(0, 1)), self._part.labels[places])
