"""What the files of the UEA and UCR archives share: a header up to @data, then a case a line."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import DataError
from gatewright.tasks.data.sequences.cases import MISSING_TEXTS, SeriesCases, Task, channel_names, joined

NumberedLines = Iterator[tuple[int, str]]
Case = NDArray[np.float64]  # (steps, channels)


class ArchiveHeader(ABC):
    """What a header says of the cases after it."""

    comment: str  # what a line begins with that holds no case
    target: str  # what the label is called
    task: Task | None  # what the label is; None where cases have none
    classes: tuple[str, ...]  # the names that the label may have

    @abstractmethod
    def case(self, where: str, line: str, channels: int | None) -> tuple[Case, str]:
        """The values and the label of a line; `channels` is how many the first case has, None for the first."""

    def read(self, path: Path, lines: NumberedLines) -> SeriesCases:
        """The cases in the lines after the header, each known by its line. Raises DataError where there are none."""
        cases: list[Case] = []
        labels: list[str] = []
        numbers: list[int] = []
        for number, line in lines:
            if not line.strip() or line.startswith(self.comment):
                continue
            case, label = self.case(f"{path}, line {number}", line, cases[0].shape[1] if cases else None)
            cases.append(case)
            labels.append(label)
            numbers.append(number)
        if not cases:
            raise DataError(f"{path} holds no cases", expected="a case a line after @data")
        return SeriesCases(
            str(path),
            joined(cases),
            channel_names(cases[0].shape[1]),
            "line",
            tuple(numbers),
            np.array(labels)[:, np.newaxis] if self.task else None,
            (self.target,),
            self.task or "infer",
            self.classes,
        )


def check_width(where: str, width: int, channels: int | None) -> None:
    """Refuse a case with another number of channels than the first."""
    if channels is not None and width != channels:
        raise DataError(f"{where}: the case has too many or too few channels", expected=str(channels), got=str(width))


def channels_of(where: str, texts: Sequence[str]) -> NDArray[np.float64]:
    """A case (steps, channels) from a text for each channel. Raises DataError where channels differ in length."""
    rows = [values_of(where, channel, text.split(",")) for channel, text in enumerate(texts, 1)]
    lengths = [len(row) for row in rows]
    if len(set(lengths)) > 1:
        raise DataError(
            f"{where}: the channels of the case differ in length",
            expected=f"{lengths[0]} steps",
            got=", ".join(map(str, lengths)),
        )
    return np.array(rows).T


def values_of(where: str, channel: int, texts: Sequence[str]) -> NDArray[np.float64]:
    """The numbers of one channel of a case, NaN where a value is missing. Raises DataError for another text."""
    try:
        return np.array([float(text) for text in texts])
    except ValueError:
        return np.array([_value(where, channel, step, text.strip()) for step, text in enumerate(texts, 1)])


def _value(where: str, channel: int, step: int, text: str) -> float:
    if text.lower() in MISSING_TEXTS:
        return float("nan")
    try:
        return float(text)
    except ValueError as error:
        raise DataError(
            f"{where}: this is no number",
            expected="a number, or ? where a value is missing",
            got=f"{text[:60]!r} in channel {channel}, step {step}",
        ) from error
