"""Arrays as tables of numbers: a folder of .csv files, each perhaps with its shape beside it, or such folders in a
.tar.gz.

`rnn____gru_cell____gates____kernel.csv` is the array rnn/gru_cell/gates/kernel, and the .shape of the same name says
that its numbers, one on a line, are a matrix. That is how Deeplearning4j keeps the tensors of TensorFlow's graphs. A
folder within an archive is named by its path: `cells.tar.gz/rnn/grucell`.
"""

import re
import tarfile
from collections.abc import Iterator
from math import prod
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import ConversionError

FOLDER, ARCHIVE = "a folder of .csv files", ".tar.gz"
MOST_RATIO = 1100  # deflate never packs more tightly than 1 to 1032
_SEPARATOR = "____"
_TENSOR = re.compile(r"(?P<name>.+?)(?:\.(?P<output>\d{1,4}))?\.prediction(?:_inbw)?")


def kind_of(path: Path) -> str | None:
    """FOLDER or ARCHIVE where the path leads to tables."""
    if path.is_dir():
        return FOLDER
    return ARCHIVE if path.name.endswith(ARCHIVE) or _archive_of(path) else None


def exists(path: Path) -> bool:
    """Whether there is such a folder, or an archive that the path leads into."""
    return path.is_dir() or _archive_of(path) is not None


def read(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of all tables in a folder or archive, by name.

    Raises ConversionError for a table that is none of numbers, or not of its shape.
    """
    archive = _archive_of(path)
    texts = dict(_files(path) if archive is None else _members(archive, path))
    tables = [name for name in texts if name.endswith(".csv")]
    if not tables:
        raise ConversionError(f"{path} holds no .csv files")
    return {
        _array_name(name): _array(f"{path}/{name}", texts[name], texts.get(f"{name.removesuffix('.csv')}.shape"))
        for name in tables
    }


def _archive_of(path: Path) -> Path | None:
    """The archive that the path names, or leads into."""
    found = (one for one in (path, *path.parents) if one.name.endswith(ARCHIVE))
    return next((one for one in found if one.is_file()), None)


def _files(path: Path) -> Iterator[tuple[str, bytes]]:
    for file in sorted(path.rglob("*")):
        if file.suffix in (".csv", ".shape") and file.is_file() and not file.is_symlink():
            yield file.relative_to(path).as_posix(), file.read_bytes()


def _members(archive: Path, path: Path) -> Iterator[tuple[str, bytes]]:
    inside = PurePosixPath(path.relative_to(archive).as_posix())
    budget = MOST_RATIO * archive.stat().st_size
    with tarfile.open(archive, "r:gz") as opened:
        for member in opened:
            name = PurePosixPath(member.name)
            if not name.is_relative_to(inside) or name.suffix not in (".csv", ".shape"):
                continue
            if not member.isfile() or member.issparse() or member.size > budget:
                raise ConversionError(f"{archive}: {member.name} is no plain file, or larger than it can be")
            budget -= member.size
            content = opened.extractfile(member)
            yield name.relative_to(inside).as_posix(), b"" if content is None else content.read()


def _array_name(file: str) -> str:
    name = file.removesuffix(".csv")
    if (tensor := _TENSOR.fullmatch(name)) is not None:
        output = tensor["output"] or "0"
        name = tensor["name"] + (f":{output}" if output != "0" else "")
    return name.replace(_SEPARATOR, "/")


def _array(file: str, text: bytes, shape: bytes | None) -> NDArray[Any]:
    rows = [line.split(b",") for line in text.split()]
    try:
        numbers = np.array([float(number) for row in rows for number in row])
        sizes = None if shape is None else tuple(int(size) for size in shape.split())
    except ValueError as error:
        raise ConversionError(f"{file} holds what is no number", expected="numbers", got=str(error)) from error
    if sizes is None:
        width = len(rows[0]) if rows else 0
        sizes = (len(rows), width) if width > 1 else (len(rows),)
        complete = all(len(row) == width for row in rows)
    else:
        sizes = () if sizes == (0,) and len(numbers) == 1 else sizes  # how a single number's shape is written
        complete = all(size >= 0 for size in sizes) and prod(sizes) == len(numbers)
    if not complete:
        raise ConversionError(
            f"{file} is not of its shape", expected=f"{prod(sizes)} numbers, {sizes}", got=f"{len(numbers)}"
        )
    return numbers.reshape(sizes)
