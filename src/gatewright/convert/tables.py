"""Arrays as tables of numbers: a folder of .csv files, each perhaps with its shape beside it, or such folders in a
.tar.gz.

`rnn____gru_cell____gates____kernel.csv` is the array rnn/gru_cell/gates/kernel, and the .shape of the same name says
that its numbers, one on a line, are a matrix. That is how Deeplearning4j keeps the tensors of TensorFlow's graphs. A
folder within an archive is named by its path: `cells.tar.gz/rnn/grucell`.
"""

import gzip
import re
from array import array
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from math import prod
from pathlib import Path, PurePosixPath
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import ConversionError
from gatewright.untrusted.archives import Readable, tar_members
from gatewright.untrusted.unpacking import DATA_LIMIT, BoundedReader

FOLDER, ARCHIVE = "a folder of .csv files", ".tar.gz"
_SEPARATOR = "____"
_SUFFIXES = (".csv", ".shape")
_ALWAYS = 1 << 20  # numbers that any archive may hold; beyond that a number takes a byte of it at least
_PIECE = 1 << 18  # bytes that are read at once
_LONGEST_ROW = 1 << 24  # bytes
_LONGEST_SHAPE = 1 << 10  # bytes
_TENSOR = re.compile(r"(?P<name>.+?)(?:\.(?P<output>\d{1,4}))?\.prediction(?:_inbw)?")


def kind_of(path: Path) -> str | None:
    """FOLDER or ARCHIVE where the path leads to tables."""
    if path.is_dir():
        return FOLDER
    return ARCHIVE if path.name.endswith(ARCHIVE) or _archive_of(path) else None


def exists(path: Path) -> bool:
    """Whether there is a folder at the path, or an archive that it leads into."""
    return path.is_dir() or _archive_of(path) is not None


def read(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of all tables in a folder or archive, by name."""
    archive = _archive_of(path)
    tables, shapes = dict[str, _Table](), dict[str, bytes]()
    for name, source, budget in _files(path) if archive is None else _members(archive, path):
        if name.endswith(".csv"):
            tables[name] = _table(f"{path}/{name}", source, budget)
        else:
            shapes[name.removesuffix(".shape")] = source.read(_LONGEST_SHAPE)
    if not tables:
        raise ConversionError(f"{path} holds no .csv files")
    return {
        _array_name(name): _array(f"{path}/{name}", table, shapes.get(name.removesuffix(".csv")))
        for name, table in tables.items()
    }


@dataclass
class _NumberBudget:
    """How many numbers an archive or folder may still give: trained numbers take a byte each, however packed."""

    where: Path
    packed: int
    spent: int = 0

    def spend(self, numbers: int) -> None:
        self.spent += numbers
        most = _ALWAYS + self.packed
        if self.spent > most:
            raise ConversionError(
                f"{self.where} holds more numbers than a file of its size should",
                expected=f"at most {most:,} numbers in {self.packed:,} bytes",
                do="unpack it, if it comes from where you trust, and give the folder",
            )


@dataclass
class _Table:
    """The numbers of a table, and its shape as far as its rows tell it."""

    numbers: "array[float]" = field(default_factory=lambda: array("d"))
    rows: int = 0
    width: int = 0
    even: bool = True

    def add(self, row: list[bytes]) -> None:
        self.width = self.width if self.rows else len(row)
        self.even = self.even and len(row) == self.width
        self.rows += 1
        self.numbers.extend(map(float, row))


def _archive_of(path: Path) -> Path | None:
    archives = (parent for parent in (path, *path.parents) if parent.name.endswith(ARCHIVE))
    return next((archive for archive in archives if archive.is_file()), None)


def _files(path: Path) -> Iterator[tuple[str, Readable, _NumberBudget]]:
    for file in sorted(path.rglob("*")):
        if file.suffix in _SUFFIXES and file.is_file() and not file.is_symlink():
            with file.open("rb") as opened:
                yield file.relative_to(path).as_posix(), opened, _NumberBudget(file, file.stat().st_size)


def _members(archive: Path, path: Path) -> Iterator[tuple[str, Readable, _NumberBudget]]:
    inside, length = PurePosixPath(path.relative_to(archive).as_posix()), archive.stat().st_size
    budget = _NumberBudget(archive, length)
    with closing(gzip.open(archive)) as unpacked:
        for member in tar_members(BoundedReader(cast("Readable", unpacked), DATA_LIMIT.of(length))):
            name = PurePosixPath(member.name)
            if name.is_relative_to(inside) and name.suffix in _SUFFIXES:
                yield name.relative_to(inside).as_posix(), member, budget


def _table(file: str, source: Readable, budget: _NumberBudget) -> _Table:
    """The numbers of a table, read piece by piece: never more text is held than a piece and a row."""
    table, remainder = _Table(), b""
    try:
        while piece := source.read(_PIECE):
            text = remainder + piece
            end = max(map(text.rfind, (b"\n", b"\r", b" ", b"\t"))) + 1
            remainder = text[end:]
            if len(remainder) > _LONGEST_ROW:
                raise ConversionError(f"{file} has a row of more than {_LONGEST_ROW:,} bytes")
            _add_rows(table, text[:end], budget)
        _add_rows(table, remainder, budget)
    except ValueError as error:
        if isinstance(error, ConversionError):
            raise
        raise _no_number(file, error) from error
    return table


def _add_rows(table: _Table, text: bytes, budget: _NumberBudget) -> None:
    for line in text.split():
        row = line.split(b",")
        budget.spend(len(row))
        table.add(row)


def _no_number(file: str, error: ValueError) -> ConversionError:
    return ConversionError(f"{file} holds what is no number", expected="numbers", got=str(error)[:200])


def _array_name(file: str) -> str:
    name = file.removesuffix(".csv")
    if (tensor := _TENSOR.fullmatch(name)) is not None:
        output = tensor["output"] or "0"
        name = tensor["name"] + (f":{output}" if output != "0" else "")
    return name.replace(_SEPARATOR, "/")


def _array(file: str, table: _Table, shape: bytes | None) -> NDArray[Any]:
    numbers = np.array(table.numbers)
    try:
        sizes = None if shape is None else tuple(int(size) for size in shape.split())
    except ValueError as error:
        raise _no_number(file, error) from error
    if sizes is None:
        sizes = (table.rows, table.width) if table.width > 1 else (table.rows,)
        complete = table.even
    else:
        sizes = () if sizes == (0,) and len(numbers) == 1 else sizes  # how a single number's shape is written
        complete = all(size >= 0 for size in sizes) and prod(sizes) == len(numbers)
    if not complete:
        raise ConversionError(
            f"{file} is not of its shape", expected=f"{prod(sizes)} numbers, {sizes}", got=f"{len(numbers)}"
        )
    return numbers.reshape(sizes)
