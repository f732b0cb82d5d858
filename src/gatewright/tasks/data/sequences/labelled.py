"""Labelled time series of several channels, each of its own length: to train on, to validate and to test with."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from gatewright.errors import DataError
from gatewright.tasks.data.published.sources import Source
from gatewright.tasks.data.ragged import LabelledSequences, Splits, check_classes, held_out
from gatewright.tasks.data.sequences.cases import SeriesCases
from gatewright.tasks.data.sequences.labels import LabelMeaning, meaning_of
from gatewright.tasks.data.sequences.sources import SeriesReading, read_parts

_ENOUGH = {"classes": 100, "numbers": 20}  # series to train on, from which a share is held out by default


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
