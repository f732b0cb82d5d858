"""Labelled series of several channels, each of its own length: `.ts` files, or a folder of CSV files for each class."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import DataError
from gatewright.tasks.data.ragged import LabelledSequences, Parts, Ragged, check_classes, held_out
from gatewright.tasks.data.series import read_series
from gatewright.tasks.data.series_file import read_ts
from gatewright.tasks.data.sources import Source, existing, files_of, named, optional


def load_labelled_series(
    source: Source = "japanese-vowels", *, validation: float = 0.2, test: float = 0.2, seed: int = 0
) -> Parts[LabelledSequences]:
    """Series of (steps, channels), float32, with their classes; a share of those to train on is held out, by seed.

    A source is a data set's name; a folder with a NAME_TRAIN.ts and a NAME_TEST.ts; one `.ts` file; or a folder of CSV
    files as CLASS/NAME.csv, or as train/CLASS/NAME.csv and test/CLASS/NAME.csv. Where there is no part to test with,
    the share `test` is held out for it first. Japanese vowels has 270 cases to train on and 370 to test with, 12
    channels, 7 to 29 steps, 9 speakers (Kudo, Toyama, Shimbo 1999,
    https://archive.ics.uci.edu/dataset/128/japanese+vowels).
    """
    train, tested = _two_parts(source)
    check_classes(source, train.labels, train.classes)
    if tested is None:
        kept, out = held_out(train.labels, test, seed)
        train, tested = train.select(kept), train.select(out)
    kept, out = held_out(train.labels, validation, seed)
    return Parts(train.select(kept), train.select(out), tested)


def _two_parts(source: Source) -> tuple[LabelledSequences, LabelledSequences | None]:
    if named(source, "labelled series") is None:
        path = existing(source, "labelled series")
        if path.is_dir() and not any(path.glob("*.ts")):
            return _folders(path)
    files = files_of(source, "labelled series")
    train = optional(files, r".*_TRAIN\.ts", "series to train on (*_TRAIN.ts)")
    tested = optional(files, r".*_TEST\.ts", "series to test with (*_TEST.ts)")
    if train is None or tested is None:
        only = optional(files, r".*\.ts", "series (*.ts)")
        if only is None:
            raise DataError("there is no file of series", expected="*.ts", got=", ".join(list(files)[:10]))
        return read_ts(only), None
    parts = read_ts(train), read_ts(tested)
    _check_alike(str(tested), *parts)
    return parts


def _folders(path: Path) -> tuple[LabelledSequences, LabelledSequences | None]:
    if not ((path / "train").is_dir() and (path / "test").is_dir()):
        return _classes(path), None
    train = _classes(path / "train")
    tested = _classes(path / "test", train.classes)
    _check_alike(str(path / "test"), train, tested)
    return train, tested


def _classes(path: Path, known: tuple[str, ...] | None = None) -> LabelledSequences:
    classes = tuple(sorted(one.name for one in path.iterdir() if one.is_dir() and not one.name.startswith(".")))
    unknown = next((name for name in classes if known is not None and name not in known), None)
    if unknown is not None:
        raise DataError(f"{path / unknown}: the class is unknown", expected="one of " + ", ".join(known or ()))
    found = [(name, file) for name in classes for file in sorted((path / name).glob("*.[ct]sv"))]
    if not found:
        raise DataError(
            f"{path} holds no labelled series",
            expected="*.ts, or a folder for each class with CSV files of a series each",
        )
    names = known or classes
    sequences = Ragged.join(_read_all([file for _, file in found]))
    return LabelledSequences(sequences, np.array([names.index(name) for name, _ in found], np.int64), names)


def _read_all(files: list[Path]) -> list[NDArray[np.float32]]:
    found: list[NDArray[np.float32]] = []
    for file in files:
        found.append(read_series(file).values.astype(np.float32))
        if found[-1].shape[1] != found[0].shape[1]:
            raise DataError(
                f"{file} has too many or too few channels",
                expected=f"{found[0].shape[1]}, as in {files[0]}",
                got=str(found[-1].shape[1]),
            )
    return found


def _check_alike(tested: str, train: LabelledSequences, test: LabelledSequences) -> None:
    for what, expected, got in (
        ("classes", ", ".join(train.classes), ", ".join(test.classes)),
        ("channels", str(train.sequences.values.shape[1]), str(test.sequences.values.shape[1])),
    ):
        if expected != got:
            raise DataError(f"{tested} has other {what} than the part to train on", expected=expected, got=got)
