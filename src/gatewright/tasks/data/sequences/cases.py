"""Labelled time series as their source holds them: names of channels, places, missing values, labels as texts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import DataError
from gatewright.tasks.data.ragged import Ragged
from gatewright.tasks.data.tables.numbers import filled_values, known_steps
from gatewright.tasks.formatting import counted

Missing = Literal["refuse", "forward", "interpolate"]
Task = Literal["infer", "classification", "regression"]
MISSING_TEXTS = frozenset({"", "?", "na", "n/a", "nan", "null", "none", "-"})


@dataclass(frozen=True, eq=False, repr=False)
class SeriesCases:
    """Time series of the same channels, each of its own length.

    `sequences` are (steps, channels), float32, with NaN where a value is missing. `keys` is what a person finds each
    series by: its "line" in the file, its "id", its "file" or its "row", as `key` says. `labels` are (series, targets),
    texts or numbers, or None where the source has none; `classes` are all the names where the source lists them.
    """

    name: str
    sequences: Ragged
    channels: tuple[str, ...]
    key: str
    keys: tuple[Any, ...]
    labels: NDArray[Any] | None = None
    targets: tuple[str, ...] = ("label",)
    task: Task = "infer"  # what the source says its labels are
    classes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()  # for a person: what was inferred, and what was filled in

    def __len__(self) -> int:
        return len(self.sequences)

    def where(self, place: int) -> str:
        """How a message names that series."""
        key = self.keys[place]
        return str(key) if self.key == "file" else f"{self.name}, {self.key} {key}"

    def select(self, places: Any) -> Self:
        """Those series, in that order."""
        numbers = np.arange(len(self))[places].tolist()
        return replace(
            self,
            sequences=self.sequences.select(numbers),
            keys=tuple(self.keys[place] for place in numbers),
            labels=None if self.labels is None else self.labels[numbers],
        )

    def with_channels(self, channels: Sequence[str] | None) -> Self:
        """The same with its channels in that order; those that are not named are left out. None leaves all as they are.

        Raises DataError, with both lists, where a channel is not there.
        """
        if channels is None or self.channels == tuple(channels):
            return self
        require_channels(self.name, self.channels, channels)
        columns = [self.channels.index(name) for name in channels]
        values = replace(self.sequences, values=self.sequences.values[:, columns])
        return replace(self, sequences=values, channels=tuple(channels))


def require_channels(name: str, present: Sequence[str], channels: Sequence[str]) -> None:
    """Refuse a source that lacks one of the channels that a model reads by name."""
    if set(channels) - set(present):
        raise DataError(
            f"{name} lacks channels that the model reads",
            expected=", ".join(channels),
            got=", ".join(present),
            do="give each channel the name that it had in training",
        )


def channel_names(count: int) -> tuple[str, ...]:
    """Names for channels that their source does not name."""
    return tuple(f"channel {place}" for place in range(1, count + 1))


def joined(arrays: Sequence[NDArray[Any]]) -> Ragged:
    """Series of (steps, channels), each cut after its last value: padding with NaN is left out."""
    return Ragged.join([np.asarray(array[: known_steps(array)], np.float32) for array in arrays])


def filled_series(series: SeriesCases, rule: Missing) -> SeriesCases:
    """The series without missing values; a remark says how many were filled in.

    The rules are those of `filled_values`. Raises DataError for "refuse", for "forward" where a series begins without a
    value, for an infinite number, an empty series, or a channel without any value.
    """
    _check_filled(series)
    holed = [place for place in range(len(series)) if np.isnan(series.sequences[place]).any()]
    count = sum(int(np.isnan(series.sequences[place]).sum()) for place in holed)
    if not count:
        return series
    if rule == "refuse":
        raise DataError(
            f"{series.where(holed[0])}: a value is missing",
            expected="a number",
            got=f"none in {_first_missing(series, holed[0])}; {count} in {len(holed)} series in all",
            do="have them filled in, with missing='interpolate' or missing='forward'",
            shell="have them filled in, with --set missing=interpolate or --set missing=forward",
        )
    sequences = series.sequences.compact()
    for place in holed:
        values = sequences[place]  # a view of values of their own
        for channel in range(values.shape[1]):
            values[:, channel] = filled_values(values[:, channel], rule)
        if np.isnan(values).any():
            raise DataError(
                f"{series.where(place)}: the series begins without a value, and forward has none to repeat",
                expected="a number",
                got=f"none in {_first_missing(replace(series, sequences=sequences), place)}",
                do="have values filled in from both sides, with missing='interpolate'",
                shell="have values filled in from both sides, with --set missing=interpolate",
            )
    remark = f"missing={rule}: {counted(count, 'value')} of {len(holed)} series filled in"
    return replace(series, sequences=sequences, remarks=(*series.remarks, remark))


def _check_filled(series: SeriesCases) -> None:
    for place in range(len(series)):
        values = series.sequences[place]
        if not len(values):
            raise DataError(f"{series.where(place)}: the series has no step", do="leave it out")
        if np.isinf(values).any():
            step, channel = np.argwhere(np.isinf(values))[0]
            raise DataError(
                f"{series.where(place)}: this is no finite number",
                expected="a finite number",
                got=f"{values[step, channel]} in {_spot(series, step, channel)}",
            )
        empty = np.flatnonzero(np.isnan(values).all(0))
        if len(empty):
            raise DataError(
                f"{series.where(place)}: {series.channels[int(empty[0])]!r} has no value at all",
                expected="a value at least in each channel",
                do="leave the series or the channel out",
            )


def _first_missing(series: SeriesCases, place: int) -> str:
    step, channel = np.argwhere(np.isnan(series.sequences[place]))[0]
    return _spot(series, step, channel)


def _spot(series: SeriesCases, step: int, channel: int) -> str:
    return f"{series.channels[channel]!r}, step {step + 1}"
