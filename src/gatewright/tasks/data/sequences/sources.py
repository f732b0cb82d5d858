"""Where labelled time series come from: files of every usual form, pairs of them, folders, and objects in memory."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np

from gatewright.errors import DataError, OptionError
from gatewright.tasks.columns import LabelledSeriesColumns, SeriesColumns
from gatewright.tasks.data.forecasting.series import read_series
from gatewright.tasks.data.published import sources
from gatewright.tasks.data.published.sources import Source, existing_path, files_of, named_data_set
from gatewright.tasks.data.sequences import archive_files, long_tables, rows
from gatewright.tasks.data.sequences.arrays import Layout, read_npz, series_of_arrays
from gatewright.tasks.data.sequences.cases import SeriesCases, Task, filled_series, joined
from gatewright.tasks.data.tables.files import is_frame
from gatewright.tasks.settings import setting

Pair = tuple[SeriesCases, SeriesCases | None]
_TEXTS = (".tsv", ".csv", ".txt", ".tab")  # rows that are a series or a step
_TABLES = (*_TEXTS, ".jsonl", ".ndjson", ".parquet", ".pq")
_SUFFIXES = (".ts", ".arff", ".npz", *_TABLES)
_PART = re.compile(r"(?:(.*)[_.-])?(train|test)(\.\w+)", re.IGNORECASE)
_FORMS = (
    "NAME_TRAIN and NAME_TEST, or one file, as .ts, .arff, .npz, .tsv (a series in each row, after its label) or a "
    "table (a row for each step, as in id,time,x,y,label); or a folder for each class with CSV files of a series each"
)


@dataclass(frozen=True)
class SeriesReading(LabelledSeriesColumns):
    """How labelled series are read: the columns of a table, what labels mean, and the axes of arrays."""

    task: Task = setting("infer", "whether labels are classes or numbers")
    layout: Layout = setting("infer", "axes of arrays (.npz, or in memory) after that of the series")


@dataclass(frozen=True)
class KnownSeries:
    """What a model keeps of its training series, so that new series are read alike, with labels or without."""

    channels: tuple[str, ...] | None
    key: str = ""
    longest: int | None = None
    classes: tuple[str, ...] = ()


def read_parts(source: Source, reading: SeriesReading) -> Pair:
    """The series of a source without gaps, and those to test with where it has them apart."""
    train, tested = _read(source, reading)
    return filled_series(train, reading.missing), None if tested is None else filled_series(tested, reading.missing)


def read_unlabelled(source: Source, reading: SeriesReading, known: KnownSeries) -> SeriesCases:
    """All series of one file, folder or object with the channels of a model, without their labels, if they have any.

    Of rows of text the label stands first where they have one field more than the longest series of the training, or
    where all first fields are names of classes. For a model of CSV files of a series each, a table is a series.
    """
    path = _file(source)
    if path is not None and known.key == "file" and (path.is_dir() or path.suffix.lower() in _TABLES):
        series = _tables_in(path, reading)
    elif path is not None and path.is_file() and path.suffix.lower() in _TEXTS and rows.is_of_rows(path):
        series = rows.read_rows(path, rows.labels_of(path, known.longest, known.classes))
    elif is_frame(source) or (path is not None and path.suffix.lower() in _TABLES):
        series = long_tables.read_long(source, reading, channels=known.channels, labelled=False)
    else:
        series, other = _read(source, reading, alone=True)
        if other is not None:
            raise DataError(
                f"{series.name} holds series to train on and to test with",
                expected="the series of one part",
                do="give the file of one part",
            )
    return replace(filled_series(series.with_channels(known.channels), reading.missing), labels=None)


def read_unlabelled_line(line: str, reading: SeriesReading, known: KnownSeries) -> SeriesCases:
    """The series of a line of text, for a model of one channel, without its label, if it has one.

    A label is a word that stands first, or a field more than the longest series of the training has steps.
    """
    series = rows.read_line("the line", line, None if known.longest is None else known.longest + 1)
    return filled_series(replace(series, channels=known.channels or series.channels), reading.missing)


def _file(source: Source) -> Path | None:
    """The path of a source that is neither a data set's name nor an object in memory."""
    in_memory = is_frame(source) or isinstance(source, tuple | list | np.ndarray)
    if in_memory or named_data_set(source, "labelled series") is not None:
        return None
    return existing_path(source, "labelled series")


def _read(source: Source, reading: SeriesReading, *, alone: bool = False) -> Pair:
    if is_frame(source):
        return long_tables.read_long(source, reading), None
    if isinstance(source, tuple | list | np.ndarray):
        arrays, labels = source if isinstance(source, tuple) and len(source) == 2 else (source, None)
        return series_of_arrays(sources.IN_MEMORY, arrays, labels, layout=reading.layout), None
    if named_data_set(source, "labelled series") is None:
        path = existing_path(source, "labelled series")
        if path.is_dir() and not any(file.suffix.lower() in _SUFFIXES for file in path.iterdir()):
            return _folders(path, reading)
        if path.is_file():
            return _of_file(path, reading) if alone else _pair_of(path, reading)
    return _of_files(files_of(source, "labelled series"), reading)


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
        if all(len(files_of_part) == 1 for files_of_part in parts.values()):
            return _of_file(parts["train"][0], reading)[0], _of_file(parts["test"][0], reading)[0]
    if len(series) != 1:
        got = ", ".join(path.name for path in series[:10]) or ", ".join(list(files)[:10])
        problem = "there are several files of series" if series else "there is no file of series"
        raise DataError(problem, expected=_FORMS, got=got, do=sources.conversion(files) or "give the path of one file")
    return _of_file(series[0], reading)


def _of_file(path: Path, reading: SeriesReading) -> Pair:
    readers: dict[str, Callable[[Path], SeriesCases]] = {".ts": archive_files.read_ts, ".arff": archive_files.read_arff}
    suffix = path.suffix.lower()
    if suffix in _TABLES and not (suffix in _TEXTS and rows.is_of_rows(path)):
        return long_tables.read_long(path, reading), None
    _refuse_columns(path, reading)
    if suffix in _TEXTS:
        return rows.read_rows(path), None
    if suffix == ".npz":
        return read_npz(path, reading.layout)
    if suffix not in readers:
        raise DataError(
            f"{path} is no file of series that is read",
            expected=_FORMS,
            got=suffix or "no suffix",
            do=sources.conversion([path.name]),
        )
    return readers[suffix](path), None


def _refuse_columns(path: Path, reading: SeriesReading) -> None:
    """Refuse names of columns for a file that has none."""
    own = {field.name: field.default for field in fields(LabelledSeriesColumns)}
    for name in ("time", "target", "id", "ignore", "label"):
        if getattr(reading, name) != own[name]:
            raise OptionError(
                f"{path} is no table, so that it has no columns to be named",
                got=f"{name}={getattr(reading, name)}",
                do="leave it out; task='regression' takes labels as numbers",
                shell="leave it out; --set task=regression takes labels as numbers",
            )


def _folders(path: Path, reading: SeriesReading) -> Pair:
    if not ((path / "train").is_dir() and (path / "test").is_dir()):
        return _classes(path, reading), None
    train = _classes(path / "train", reading)
    return train, _classes(path / "test", reading, train.classes)


def _classes(path: Path, reading: SeriesReading, known: tuple[str, ...] | None = None) -> SeriesCases:
    folders = sorted(folder for folder in path.iterdir() if folder.is_dir() and not folder.name.startswith("."))
    names = tuple(folder.name for folder in folders)
    unknown = next((name for name in names if known is not None and name not in known), None)
    if unknown is not None:
        raise DataError(f"{path / unknown}: the class is unknown", expected="one of " + ", ".join(known or ()))
    files = [file for folder in folders for file in sorted(folder.glob("*.[ct]sv"))]
    if not files:
        raise DataError(f"{path} holds no labelled series", expected=_FORMS)
    labels = np.array([file.parent.name for file in files])[:, np.newaxis]
    return replace(_of_tables(str(path), files, reading), labels=labels, task="classification", classes=known or names)


def _tables_in(path: Path, reading: SeriesReading) -> SeriesCases:
    """Series of one table, or of all in a folder and its folders."""
    files = [path] if path.is_file() else sorted(path.rglob("*.[ct]sv"))
    if not files:
        raise DataError(f"{path} holds no series", expected="CSV files of a series each")
    return _of_tables(str(path), files, reading)


def _of_tables(name: str, files: list[Path], reading: SeriesReading) -> SeriesCases:
    """Series of CSV files, each of one, with the channels of the first by their names."""
    shared = {field.name for field in fields(SeriesColumns)} & {field.name for field in fields(LabelledSeriesColumns)}
    columns = SeriesColumns(**{name: getattr(reading, name) for name in shared - {"target", "id"}})
    tables = [read_series(file, columns) for file in files]
    names = tables[0].names
    for file, table in zip(files, tables, strict=True):
        if set(table.names) != set(names):
            problem = f"{file} has other channels than {files[0]}"
            raise DataError(problem, expected=", ".join(names), got=", ".join(table.names))
    values = [table.select(names).values for table in tables]
    return SeriesCases(name, joined(values), names, "file", tuple(map(str, files)))
