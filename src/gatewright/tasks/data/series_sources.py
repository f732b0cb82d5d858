"""Where labelled time series come from: files of every usual form, pairs of them, folders, and objects in memory."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from gatewright.errors import DataError
from gatewright.tasks.data.arff_file import read_arff
from gatewright.tasks.data.series import Series, read_series
from gatewright.tasks.data.series_arrays import Layout, read_npz, series_of_arrays
from gatewright.tasks.data.series_file import read_ts
from gatewright.tasks.data.series_rows import Labels, first_fields, read_rows
from gatewright.tasks.data.series_set import MISSING_TEXTS, Missing, SeriesSet, Task, filled, joined
from gatewright.tasks.data.sources import IN_MEMORY, Source, existing, files_of, named

Pair = tuple[SeriesSet, SeriesSet | None]
_SUFFIXES = (".ts", ".arff", ".npz", ".tsv", ".csv", ".txt")
_TABLES = (".tsv", ".csv", ".txt")
_PART = re.compile(r"(?:(.*)[_.-])?(train|test)(\.\w+)", re.IGNORECASE)
_FORMS = (
    "NAME_TRAIN and NAME_TEST, or one file, as .ts, .arff or .npz; or a folder for each class with CSV files of a "
    "series each"
)


@dataclass(frozen=True)
class SeriesReading:
    """How series are read."""

    missing: Missing = "refuse"
    task: Task = "infer"
    layout: Layout = "infer"


def read_parts(source: Source, reading: SeriesReading) -> Pair:
    """The series of a source without gaps, and those to test with where it has them apart."""
    train, tested = _read(source, reading)
    return filled(train, reading.missing), None if tested is None else filled(tested, reading.missing)


def read_unlabelled(
    source: Source,
    reading: SeriesReading,
    *,
    longest: int | None = None,
    classes: tuple[str, ...] = (),
    of_files: bool = False,
) -> SeriesSet:
    """All series of one file, folder or object, without their labels, if they have any.

    Of rows of text the label stands first where they have one field more than the `longest` series of the training, or
    where all first fields are names of `classes`. With `of_files` a table, or each in a folder, is a series.
    """
    path = _file(source)
    if path is not None and of_files and (path.is_dir() or path.suffix.lower() in _TABLES):
        series = _tables_in(path)
    elif path is not None and path.is_file() and path.suffix.lower() in _TABLES:
        series = read_rows(path, _labels_of(path, longest, classes))
    else:
        series, other = _read(source, reading, alone=True)
        if other is not None:
            raise DataError(
                f"{series.name} holds series to train on and to test with",
                expected="the series of one part",
                do="give the file of one part",
            )
    return replace(filled(series, reading.missing), labels=None)


def _file(source: Source) -> Path | None:
    """The path of a source that is neither a data set's name nor an object in memory."""
    if isinstance(source, tuple | list | np.ndarray) or named(source, "labelled series") is not None:
        return None
    return existing(source, "labelled series")


def _labels_of(path: Path, longest: int | None, classes: tuple[str, ...]) -> Labels:
    names, width = first_fields(path)
    if longest is not None and width in (longest, longest + 1):
        return "first" if width > longest else "none"
    known = {*classes, *MISSING_TEXTS}
    return "first" if all(name in known or name.lower() in known for name in names) else "none"


def _read(source: Source, reading: SeriesReading, *, alone: bool = False) -> Pair:
    if isinstance(source, tuple | list | np.ndarray):
        arrays, labels = source if isinstance(source, tuple) and len(source) == 2 else (source, None)
        return series_of_arrays(IN_MEMORY, arrays, labels, layout=reading.layout), None
    if named(source, "labelled series") is None:
        path = existing(source, "labelled series")
        if path.is_dir() and not _series_files(path):
            return _folders(path)
        if path.is_file():
            return _of_file(path, reading) if alone else _pair_of(path, reading)
    return _of_files(files_of(source, "labelled series"), reading)


def _series_files(path: Path) -> list[Path]:
    return [file for file in path.iterdir() if file.suffix.lower() in _SUFFIXES]


def _pair_of(path: Path, reading: SeriesReading) -> Pair:
    """A file, with the part to test with that lies beside it under the same name."""
    part = _PART.fullmatch(path.name)
    if part is None or part[2].lower() != "train":
        return _of_file(path, reading)
    beside = {file.name.lower(): file for file in path.parent.iterdir()}
    start = path.name[: part.start(2)]
    tested = beside.get(f"{start}test{part[3]}".lower())
    return (_of_file(path, reading)[0], _of_file(tested, reading)[0]) if tested else _of_file(path, reading)


def _of_files(files: Mapping[str, Path], reading: SeriesReading) -> Pair:
    """The pair of parts of the first format that has both, or else the only file of series."""
    series = [path for path in files.values() if path.suffix.lower() in _SUFFIXES]
    series = [path for path in series if path.suffix.lower() != ".txt"] or series  # beside others it is a note
    for suffix in _SUFFIXES:
        parts: dict[str, list[Path]] = {"train": [], "test": []}
        for path in series:
            part = _PART.fullmatch(path.name)
            if part and path.suffix.lower() == suffix:
                parts[part[2].lower()].append(path)
        if all(len(found) == 1 for found in parts.values()):
            return _of_file(parts["train"][0], reading)[0], _of_file(parts["test"][0], reading)[0]
    if len(series) != 1:
        got = ", ".join(path.name for path in series[:10]) or ", ".join(list(files)[:10])
        raise DataError("there is no file of series" if not series else "there are several files of series",
                        expected=_FORMS, got=got, do="give the path of one file")  # fmt: skip
    return _of_file(series[0], reading)


def _of_file(path: Path, reading: SeriesReading) -> Pair:
    readers: dict[str, Callable[[Path], SeriesSet]] = {".ts": read_ts, ".arff": read_arff}
    readers |= dict.fromkeys(_TABLES, read_rows)
    suffix = path.suffix.lower()
    if suffix == ".npz":
        return read_npz(path, reading.layout)
    if suffix not in readers:
        raise DataError(f"{path} is no file of series that is read", expected=_FORMS, got=suffix or "no suffix")
    return readers[suffix](path), None


def _folders(path: Path) -> Pair:
    if not ((path / "train").is_dir() and (path / "test").is_dir()):
        return _classes(path), None
    train = _classes(path / "train")
    return train, _classes(path / "test", train.classes)


def _classes(path: Path, known: tuple[str, ...] | None = None) -> SeriesSet:
    folders = sorted(folder for folder in path.iterdir() if folder.is_dir() and not folder.name.startswith("."))
    names = tuple(folder.name for folder in folders)
    unknown = next((name for name in names if known is not None and name not in known), None)
    if unknown is not None:
        raise DataError(f"{path / unknown}: the class is unknown", expected="one of " + ", ".join(known or ()))
    files = [file for folder in folders for file in sorted(folder.glob("*.[ct]sv"))]
    if not files:
        raise DataError(f"{path} holds no labelled series", expected=_FORMS)
    series = _of_tables(str(path), files)
    labels = np.array([file.parent.name for file in files])[:, np.newaxis]
    return SeriesSet(
        series.name, series.sequences, series.channels, "file", series.keys, labels, task="classification",
        classes=known or names,
    )  # fmt: skip


def _tables_in(path: Path) -> SeriesSet:
    """Series of one table, or of all in a folder and its folders."""
    files = [path] if path.is_file() else sorted(path.rglob("*.[ct]sv"))
    if not files:
        raise DataError(f"{path} holds no series", expected="CSV files of a series each")
    return _of_tables(str(path), files)


def _of_tables(name: str, files: list[Path]) -> SeriesSet:
    """Series of CSV files, each of one, with the channels of the first by their names."""
    tables = [read_series(file) for file in files]
    names = tables[0].names
    values = [_ordered(file, table, names, files[0]).values for file, table in zip(files, tables, strict=True)]
    return SeriesSet(name, joined(values), names, "file", tuple(map(str, files)))


def _ordered(file: Path, table: Series, names: tuple[str, ...], first: Path) -> Series:
    if len(table.names) != len(names):
        raise DataError(
            f"{file} has too many or too few channels",
            expected=f"{len(names)}, as in {first}",
            got=str(len(table.names)),
        )
    if set(table.names) != set(names):
        expected, got = f"{', '.join(names)}, as in {first}", ", ".join(table.names)
        raise DataError(f"{file} has other channels", expected=expected, got=got)
    return table.select(names)
