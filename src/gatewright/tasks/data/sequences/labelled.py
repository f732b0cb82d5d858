"""Labelled time series: to train on, to validate and to test with; and what their labels mean, classes or numbers."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import DataError
from gatewright.tasks.data.published.sources import Source
from gatewright.tasks.data.ragged import LabelledSequences, Splits, check_classes, class_numbers, held_out
from gatewright.tasks.data.sequences.cases import MISSING_TEXTS, SeriesCases, Task
from gatewright.tasks.data.sequences.sources import SeriesReading, read_parts

_FEW = 10  # whole numbers that are so few are classes, whatever they are
_ENOUGH = {"classes": 100, "numbers": 20}  # series to train on, from which a share is held out by default


@dataclass(frozen=True)
class LabelMeaning:
    """Classes in the order of the network's outputs; or, for a regression, the names of the targets."""

    classes: tuple[str, ...]
    targets: tuple[str, ...]
    remark: str = ""

    @property
    def outputs(self) -> int:
        """How many scores or numbers a network gives."""
        return len(self.classes or self.targets)

    @property
    def is_regression(self) -> bool:
        """Whether labels are numbers."""
        return not self.classes

    def encoded(self, series: SeriesCases) -> NDArray[Any]:
        """The number of each series' class, int64 (series,); or its targets, float32 (series, targets).

        Raises DataError for a label that is missing, of an unknown class, or no number.
        """
        labels = _present(series)
        if self.is_regression:
            return _numbers(series, labels).astype(np.float32)
        named = [text if text in self.classes else _spelled(text) for text in map(str, labels[:, 0].tolist())]
        return class_numbers(named, self.classes, series.where)


def meaning_of(series: SeriesCases, task: Task) -> LabelMeaning:
    """What the labels of the series to train on mean: as `task` says, as the source says, or as they look.

    Texts are classes, and so are whole numbers that are few, or that count from 0 or 1 with two series each; numbers
    with decimals, or several of them for each series, are a regression. Raises DataError for what may be either.
    """
    labels = _present(series)
    task, remark = series.task if task == "infer" else task, ""
    if task == "infer":
        task, remark = _inferred(series, labels, _as_numbers(labels))
    if task == "regression":
        numbers = _numbers(series, labels)
        constant = np.flatnonzero(np.ptp(numbers, axis=0) == 0)
        if len(constant):
            raise DataError(
                f"{series.name}: every series has the same {series.targets[int(constant[0])]!r}",
                expected="numbers that differ",
                got=f"{numbers[0, constant[0]]:g}",
            )
        return LabelMeaning((), series.targets, remark or f"regression of {', '.join(series.targets)}")
    return LabelMeaning(class_names(series), series.targets, remark)


def class_names(series: SeriesCases) -> tuple[str, ...]:
    """The classes that the source lists, or those of its labels in order."""
    labels = _present(series)
    if series.classes:
        return series.classes
    numbers = _as_numbers(labels[:, :1])
    if numbers is not None and not (numbers % 1).any():
        return tuple(str(int(value)) for value in np.unique(numbers))
    return tuple(sorted({str(label) for label in labels[:, 0].tolist()}))


def _present(series: SeriesCases) -> NDArray[Any]:
    if series.labels is None:
        raise DataError(
            f"{series.name} has no labels",
            expected="a label for each series: a class or a number",
            do="give data with labels; `predict` answers where there are none",
        )
    texts = (str(text).strip().lower() in MISSING_TEXTS for text in series.labels[:, 0].tolist())
    missing = next((place for place, is_missing in enumerate(texts) if is_missing), None)
    if missing is not None:
        raise DataError(
            f"{series.where(missing)}: the label is missing",
            expected="a class or a number",
            do="leave the series out, or fill in its label",
        )
    return series.labels


def _as_numbers(labels: NDArray[Any]) -> NDArray[np.float64] | None:
    if labels.dtype == bool:
        return None
    try:
        numbers = labels.astype(np.float64)
    except ValueError:
        return None
    return numbers if np.isfinite(numbers).all() else None


def _inferred(series: SeriesCases, labels: NDArray[Any], numbers: NDArray[np.float64] | None) -> tuple[Task, str]:
    if numbers is None:
        return "classification", ""
    if labels.shape[1] > 1:
        if series.key == "row" and ((numbers == 0) | (numbers == 1)).all() and (numbers.sum(1) == 1).all():
            raise DataError(
                f"{series.name}: the labels look one-hot, a 1 in the column of each series' class",
                expected="a class for each series, or numbers",
                got=f"{labels.shape[1]} columns of 0 and 1",
                do="give the classes, y.argmax(1); task='regression' takes them as numbers",
                shell="save the classes, y.argmax(1); --set task=regression takes them as numbers",
            )
        return "regression", ""
    name, spread = series.targets[0], f"{numbers.min():g} to {numbers.max():g}"
    if (numbers % 1).any():
        return "regression", f"regression: {name!r} has numbers with decimals, {spread}"
    values, counts = np.unique(numbers, return_counts=True)
    counted = values[0] in (0, 1) and values[-1] - values[0] == len(values) - 1 and counts.mean() >= 2
    if len(values) > _FEW and not counted:
        raise DataError(
            f"{series.name}: the labels may be classes or numbers",
            expected="names of classes, numbers with decimals, or a word on which of the two whole numbers are",
            got=f"{len(values)} whole numbers, {spread}",
            do="say which, with task='classification' or task='regression'",
            shell="say which, with --set task=classification or --set task=regression",
        )
    remark = f"classification: {name!r} has {len(values)} whole numbers, {spread} (task=regression takes them as such)"
    return "classification", remark


def _numbers(series: SeriesCases, labels: NDArray[Any]) -> NDArray[np.float64]:
    numbers = _as_numbers(labels)
    if numbers is None:
        place, row = next((place, row) for place, row in enumerate(labels) if _as_numbers(row) is None)
        raise DataError(
            f"{series.where(place)}: the target is no number",
            expected="a finite number",
            got=repr(str(row[0])[:60]),
            do="classes are told apart with task='classification'",
            shell="classes are told apart with --set task=classification",
        )
    return numbers


def _spelled(text: str) -> str:
    """A whole number as a class is called: 1 for 1.0 and 1.0000000e+00."""
    try:
        number = float(text)
    except ValueError:
        return text
    return str(int(number)) if number % 1 == 0 else text


@dataclass(frozen=True)
class LabelledSeries:
    """Series in parts, with what their labels and channels are called; `validation` may be empty."""

    parts: Splits[LabelledSequences]
    channels: tuple[str, ...]
    key: str  # what a person finds a series by
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
    series and more, and 0 of fewer; of series with targets it is that of 20 and more, since a network is soon worse
    than their mean, and nothing else tells. Japanese vowels has 270 cases to train on and 370 to test with, 12
    channels, 7 to 29 steps, 9 speakers (Kudo, Toyama, Shimbo 1999,
    https://archive.ics.uci.edu/dataset/128/japanese+vowels).
    """
    reading = reading or SeriesReading()
    series, tested = read_parts(source, reading)
    meaning = meaning_of(series, reading.task)
    train = _labelled(series, meaning)
    if not meaning.is_regression:
        check_classes(series.name, train.labels, train.classes)
    if tested is None:
        kept, out = _divided(train, test, seed)
        if not len(out):
            raise DataError(
                f"{series.name} has a single series of each class, of which none can be held out for a test",
                expected="two series at least of a class",
                got=f"{len(train)} series of {len(train)} classes",
                do="give series to test with in a file beside it: NAME_TRAIN and NAME_TEST",
            )
        train, other = train.select(kept), train.select(out)
    else:
        _check_alike(series, tested)
        other = _labelled(tested.with_channels(series.channels), meaning)
    remark = ""
    if validation is None:
        validation = test if len(train) >= _ENOUGH["classes" if train.classes else "numbers"] else 0
        remark = "" if validation else f"no validation: {len(train)} series are few (validation=0.2 holds a fifth out)"
    kept, out = _divided(train, validation, seed) if validation else (np.arange(len(train)), np.arange(0))
    remarks = dict.fromkeys((*series.remarks, *(tested.remarks if tested else ()), meaning.remark, remark))
    parts = Splits(train.select(kept), train.select(out), other)
    return LabelledSeries(parts, series.channels, series.key, meaning, tuple(filter(None, remarks)))


def _labelled(series: SeriesCases, meaning: LabelMeaning) -> LabelledSequences:
    return LabelledSequences(series.sequences, meaning.encoded(series), meaning.classes)


def _divided(series: LabelledSequences, share: float, seed: int) -> tuple[Any, Any]:
    """The places to keep and those to hold out; a class is kept where all of it would be held out."""
    if not series.classes:  # by the ranks of the first target
        return held_out(np.argsort(np.argsort(series.labels[:, 0], kind="stable")), share, seed)
    kept, _ = held_out(series.labels, share, seed)
    is_kept = np.isin(series.labels, series.labels[kept], invert=True)
    is_kept[kept] = True
    return np.flatnonzero(is_kept), np.flatnonzero(~is_kept)


def _check_alike(train: SeriesCases, test: SeriesCases) -> None:
    for what in ("classes", "channels"):
        expected, got = getattr(train, what), getattr(test, what)
        if {*expected} != {*got}:
            problem = f"{test.name} has other {what} than the part to train on"
            raise DataError(problem, expected=", ".join(expected), got=", ".join(got))
