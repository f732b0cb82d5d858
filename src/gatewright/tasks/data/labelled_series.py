"""Labelled time series of several channels, each of its own length, out of files of any usual form."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gatewright.errors import DataError
from gatewright.tasks.data.arff_file import read_arff
from gatewright.tasks.data.ragged import LabelledSequences, Parts, check_classes, held_out
from gatewright.tasks.data.series import read_series
from gatewright.tasks.data.series_arrays import Layout, read_npz, series_of_arrays
from gatewright.tasks.data.series_file import read_ts
from gatewright.tasks.data.series_labels import LabelMeaning, meaning_of
from gatewright.tasks.data.series_rows import read_rows
from gatewright.tasks.data.series_set import Missing, SeriesSet, Task, filled, joined
from gatewright.tasks.data.sources import IN_MEMORY, Source, existing, files_of, named

_ENOUGH = 100  # series to train on, of which a share can be spared
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


@dataclass(frozen=True)
class LabelledSeries:
    """Series in parts, with what their labels and channels are called; `validation` may be empty."""

    parts: Parts[LabelledSequences]
    channels: tuple[str, ...]
    meaning: LabelMeaning
    remarks: tuple[str, ...]


def load_labelled_series(
    source: Source = "japanese-vowels",
    *,
    validation: float | None = None,
    test: float = 0.2,
    seed: int = 0,
    reading: SeriesReading | None = None,
) -> LabelledSeries:
    """Series of (steps, channels), float32, with their classes or targets; a share is held out, by seed.

    A source is a data set's name; a file (.ts, .arff, .npz), or a folder with NAME_TRAIN and NAME_TEST; a folder of CSV
    files as CLASS/NAME.csv, or as train/CLASS/NAME.csv and test/CLASS/NAME.csv; or (arrays, labels). Where there is no
    part to test with, the share `test` is held out for it first. `validation` may be 0; None is the same share of 100
    series and more, and 0 of fewer. Japanese vowels has 270 cases to train on and 370 to test with, 12 channels, 7 to
    29 steps, 9 speakers (Kudo, Toyama, Shimbo 1999, https://archive.ics.uci.edu/dataset/128/japanese+vowels).
    """
    reading = reading or SeriesReading()
    series, tested = read_parts(source, reading)
    meaning = meaning_of(series, reading.task)
    train = _labelled(series, meaning)
    if not meaning.is_regression:
        check_classes(series.name, train.labels, train.classes)
    if tested is None:
        kept, out = held_out(_ranks(train), test, seed)
        train, other = train.select(kept), train.select(out)
    else:
        _check_alike(series, tested)
        other = _labelled(tested.with_channels(series.channels), meaning)
    remark = ""
    if validation is None:
        validation = test if len(train) >= _ENOUGH else 0
        remark = "" if validation else f"no validation: {len(train)} series are few (validation=0.2 holds a fifth out)"
    kept, out = held_out(_ranks(train), validation, seed) if validation else (np.arange(len(train)), np.arange(0))
    remarks = dict.fromkeys((*series.remarks, *(tested.remarks if tested else ()), meaning.remark, remark))
    parts = Parts(train.select(kept), train.select(out), other)
    return LabelledSeries(parts, series.channels, meaning, tuple(filter(None, remarks)))


def read_parts(source: Source, reading: SeriesReading) -> tuple[SeriesSet, SeriesSet | None]:
    """The series of a source without gaps, and those to test with where it has them apart."""
    train, tested = _read(source, reading)
    return filled(train, reading.missing), None if tested is None else filled(tested, reading.missing)


def read_all(source: Source, reading: SeriesReading) -> SeriesSet:
    """All series of one file, folder or object, whether they have labels or not; of a pair, those of both parts."""
    train, tested = _read(source, reading, alone=True)
    if tested is not None:
        raise DataError(
            f"{train.name} holds series to train on and to test with",
            expected="the series of one part",
            do="give the file of one part",
        )
    return filled(train, reading.missing)


def _read(source: Source, reading: SeriesReading, *, alone: bool = False) -> tuple[SeriesSet, SeriesSet | None]:
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


def _pair_of(path: Path, reading: SeriesReading) -> tuple[SeriesSet, SeriesSet | None]:
    """A file, with the part to test with that lies beside it under the same name."""
    part = _PART.fullmatch(path.name)
    if part is None or part[2].lower() != "train":
        return _of_file(path, reading)
    beside = {file.name.lower(): file for file in path.parent.iterdir()}
    start = path.name[: part.start(2)]
    tested = beside.get(f"{start}test{part[3]}".lower())
    return (_of_file(path, reading)[0], _of_file(tested, reading)[0]) if tested else _of_file(path, reading)


def _of_files(files: Any, reading: SeriesReading) -> tuple[SeriesSet, SeriesSet | None]:
    """The pair of parts of the first format that has both, or else the only file of series."""
    series = [path for path in files.values() if path.suffix.lower() in _SUFFIXES]
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


def _of_file(path: Path, reading: SeriesReading) -> tuple[SeriesSet, SeriesSet | None]:
    readers: dict[str, Callable[[Path], SeriesSet]] = {".ts": read_ts, ".arff": read_arff}
    readers |= dict.fromkeys(_TABLES, read_rows)
    suffix = path.suffix.lower()
    if suffix == ".npz":
        return read_npz(path, reading.layout)
    if suffix not in readers:
        raise DataError(f"{path} is no file of series that is read", expected=_FORMS, got=suffix or "no suffix")
    return readers[suffix](path), None


def _labelled(series: SeriesSet, meaning: LabelMeaning) -> LabelledSequences:
    return LabelledSequences(series.sequences, meaning.encoded(series), meaning.classes)


def _ranks(series: LabelledSequences) -> Any:
    """What a share is to be held out of evenly: the classes; of targets, the order of the first."""
    if series.classes:
        return series.labels
    return np.argsort(np.argsort(series.labels[:, 0], kind="stable"))


def _check_alike(train: SeriesSet, test: SeriesSet) -> None:
    for what, expected, got in (
        ("classes", set(train.classes), set(test.classes)),
        ("channels", set(train.channels), set(test.channels)),
    ):
        if expected != got:
            raise DataError(
                f"{test.name} has other {what} than the part to train on",
                expected=", ".join(getattr(train, what)),
                got=", ".join(getattr(test, what)),
            )


def _folders(path: Path) -> tuple[SeriesSet, SeriesSet | None]:
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
    series = series_of_tables(str(path), files)
    labels = np.array([file.parent.name for file in files])[:, np.newaxis]
    return SeriesSet(
        series.name, series.sequences, series.channels, "file", series.keys, labels, task="classification",
        classes=known or names,
    )  # fmt: skip


def series_of_tables(name: str, files: list[Path]) -> SeriesSet:
    """Series of CSV files, each of one, with the same channels."""
    tables = [read_series(file) for file in files]
    for file, table in zip(files, tables, strict=True):
        if table.values.shape[1] != tables[0].values.shape[1]:
            raise DataError(
                f"{file} has too many or too few channels",
                expected=f"{tables[0].values.shape[1]}, as in {files[0]}",
                got=str(table.values.shape[1]),
            )
    sequences = joined([table.values for table in tables])
    return SeriesSet(name, sequences, tables[0].names, "file", tuple(map(str, files)))
