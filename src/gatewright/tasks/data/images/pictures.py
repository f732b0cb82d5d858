"""Pictures to be classified: files of any usual kind, folders of them, idx files and arrays, as grey images.

How a picture file becomes a grey image:

- Transparent parts are white. Colours become grey by ITU-R 601: 0.299 red, 0.587 green, 0.114 blue; 0 is black.
- Another size of the same proportions is scaled, by the mean over areas where it is larger.
- A picture with a bright border becomes its negative where the images of the training have a dark border, and the other
  way round. What was changed is told for each file.
"""

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import DataError
from gatewright.tasks.data.images.labelled import read_idx
from gatewright.tasks.data.published.sources import existing_path, files_of, named_data_set
from gatewright.tasks.data.reading import opened

SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".bmp")
BRIGHTEST = 255
_FORMATS = ("PNG", "JPEG", "GIF", "BMP")
_MOST_PIXELS = 1 << 26
_SAME_SHAPE = 0.02  # how far the proportions of a picture may differ from those of the training's images
_DARK, _BRIGHT = 64, 191  # a border is dark below, and bright above these means

Grey = NDArray[np.uint8]


@dataclass(frozen=True)
class Look:
    """What images look like to a model: their size, and the mean of their borders (0 to 255) in the training."""

    rows: int
    columns: int
    border: float


@dataclass(frozen=True, eq=False)
class Pictures:
    """Grey images (items, rows, columns), and what identifies each in an answer."""

    images: Grey
    keys: Mapping[str, Sequence[Any]]


def border_mean(images: Grey) -> float:
    """The mean of the outermost pixels of images (items, rows, columns)."""
    inside = images[:, 1:-1, 1:-1]
    count = images.size - inside.size
    return float((images.sum(dtype=np.int64) - inside.sum(dtype=np.int64)) / max(count, 1))


def load_pictures(source: object, look: Look, *, brightest: int = BRIGHTEST) -> Pictures:
    """The pictures of a source, in that size: a picture file, a folder of them, an idx file, a data set's test images.

    Arrays (items, rows, columns) or (rows, columns) of whole numbers from 0 to `brightest` are taken too, as they are.
    Keys are `file` and `changed`, what was done to the picture, or `image`, the place of it from 1.
    """
    if not isinstance(source, str | Path):
        array = np.asarray(source)
        if array.ndim == 2:  # a picture, or pictures with their pixels in a row
            is_flat = array.shape[1] == look.rows * look.columns != look.columns
            array = array.reshape(-1, look.rows, look.columns) if is_flat else array[None]
        images = _checked("the array", array, look, brightest)
        return Pictures(images, {"image": range(1, len(images) + 1)})
    if (row := named_data_set(source, "images")) is not None:
        idx = [path for name, path in files_of(row.name, "images").items() if re.match("(t10k|test)-images", name)]
        return _of_idx(idx, look)
    path = existing_path(source, "images")
    paths = sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else [path]
    files = [file for file in paths if file.suffix.lower() in SUFFIXES]
    idx = [file for file in paths if re.search(r"idx3-ubyte(\.gz)?$", file.name)]
    if not files and not idx:
        raise DataError(
            f"{path} holds no pictures" if path.is_dir() else f"{path} is no picture",
            expected=f"{', '.join(SUFFIXES)}, or ...-idx3-ubyte",
            got=", ".join(file.name for file in paths[:5]) or "an empty folder",
        )
    if not files:
        return _of_idx(idx, look)
    read = [read_picture(file, look) for file in files]
    keys = {"file": [file.name for file in files], "changed": [changed for _, changed in read]}
    return Pictures(np.stack([grey for grey, _ in read]), keys)


def read_picture(path: Path, look: Look) -> tuple[Grey, str]:
    """A picture file as a grey image (rows, columns), and what was changed, as "scaled from 56 x 56, negative"."""
    picture, changes = _opened(path), list[str]()
    width, height = picture.size
    if (height, width) != (look.rows, look.columns):
        if abs(width * look.rows / (height * look.columns) - 1) > _SAME_SHAPE:
            raise DataError(
                f"{path} has other proportions than the images that the model was trained on",
                expected=f"{look.rows} x {look.columns} pixels (rows x columns), or a multiple",
                got=f"{height} x {width}",
                do="cut it, or add a border",
            )
        from PIL import Image

        smaller = height >= look.rows
        how = Image.Resampling.BOX if smaller else Image.Resampling.BILINEAR
        picture = picture.resize((look.columns, look.rows), how)
        changes.append(f"scaled from {height} x {width}")
    grey = np.asarray(picture, np.uint8)
    border = border_mean(grey[None])
    if (look.border < _DARK and border > _BRIGHT) or (look.border > _BRIGHT and border < _DARK):
        grey = (BRIGHTEST - grey).astype(np.uint8)
        changes.append("negative")
    return grey, ", ".join(changes)


def _opened(path: Path) -> Any:
    """A picture in 256 shades of grey."""
    from PIL import Image

    with opened(path) as source:
        content = source.read()
    try:
        picture: Any = Image.open(io.BytesIO(content), formats=_FORMATS)
        width, height = picture.size
        if width * height > _MOST_PIXELS:
            raise DataError(
                f"{path} is too large", expected=f"at most {_MOST_PIXELS:,} pixels", got=f"{width} x {height}"
            )
        picture.load()
    except (Image.DecompressionBombError, EOFError, LookupError, OSError, SyntaxError, ValueError) as error:
        raise DataError(
            f"{path} is no picture, or is damaged",
            expected=f"a picture: {', '.join(SUFFIXES)}",
            got=f"{type(error).__name__}: {error}".replace("\n", " ")[:200],
        ) from error
    if picture.mode.startswith("I"):  # 16 bits of grey, which Pillow would clip
        return Image.fromarray((np.asarray(picture, np.int64) // 257).clip(0, BRIGHTEST).astype(np.uint8))
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture.convert("RGBA"))
    return picture.convert("L")


def _of_idx(paths: Sequence[Path], look: Look) -> Pictures:
    images = [_checked(str(path), read_idx(path), look, BRIGHTEST) for path in paths]
    files = [path.name for path, part in zip(paths, images, strict=True) for _ in part]
    places = [place for part in images for place in range(1, len(part) + 1)]
    return Pictures(np.concatenate(images), {"file": files, "image": places})


def _checked(name: str, images: NDArray[Any], look: Look, brightest: int) -> Grey:
    if images.ndim != 3 or images.shape[1:] != (look.rows, look.columns) or not len(images):
        raise DataError(
            f"{name} holds no images of the size that the model was trained on",
            expected=f"images x {look.rows} rows x {look.columns} columns",
            got=" x ".join(map(str, images.shape)),
        )
    whole = np.issubdtype(images.dtype, np.integer) or (images == np.floor(images)).all()
    if not whole or images.min() < 0 or images.max() > brightest or images.max() == 1:  # 1: from 0 to 1
        raise DataError(
            f"{name} has pixels that are not as the model was trained on",
            expected=f"whole numbers from 0 to {brightest}",
            got=f"{images.dtype} from {images.min():g} to {images.max():g}",
            do=f"scale them, so that the brightest can be {brightest}",
        )
    return images.astype(np.uint8)
