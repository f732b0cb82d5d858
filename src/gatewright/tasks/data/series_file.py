"""The `.ts` format of the UEA and UCR archives: labelled series of several channels, each of its own length.

Lines of "@name value" up to "@data", then a case a line: channels divided by ":", their values by ",", the class last.
https://www.sktime.net/en/stable/api_reference/file_specifications/ts.html describes it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import DataError
from gatewright.tasks.data.ragged import LabelledSequences, Ragged
from gatewright.tasks.data.reading import text_lines


@dataclass
class _Header:
    """What stands before @data, by name in lower case."""

    path: Path
    tags: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def channels(self) -> int | None:
        """How many channels each case has, if that is said."""
        if self.tags.get("univariate") == "true":
            return 1
        said = self.tags.get("dimensions", self.tags.get("dimension", ""))
        return int(said) if said.isdecimal() else None

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the file."""
        return tuple(self.tags.get("classlabel", "").split()[1:])

    def check(self) -> None:
        """Refuse what is not read here."""
        if not self.tags.get("classlabel", "").lower().startswith("true") or not self.classes:
            raise DataError(
                f"{self.path} does not name its classes",
                expected='a line such as "@classLabel true 1 2 3" before @data',
                got=f"@classLabel {self.tags.get('classlabel', 'is missing')}",
            )
        if self.tags.get("timestamps") == "true":
            raise DataError(
                f"{self.path} has time stamps, which are not read", do="write values at equal intervals, without them"
            )


def read_ts(path: Path) -> LabelledSequences:
    """The cases of a `.ts` file: sequences of (steps, channels), float32, and the number of each one's class."""
    numbered = enumerate(text_lines(path), 1)
    header = _header(path, numbered)
    numbers = {name: place for place, name in enumerate(header.classes)}
    cases: list[NDArray[np.float32]] = []
    labels: list[int] = []
    channels = header.channels
    for number, line in numbered:
        if not line.strip() or line.startswith("#"):
            continue
        where = f"{path}, line {number}"
        *texts, label = line.strip().split(":")
        if label not in numbers:
            got = "the line has no class at its end" if not texts else repr(label[:60])
            raise DataError(f"{where}: the class is unknown", expected=f"one of {', '.join(numbers)}", got=got)
        channels = len(texts) if channels is None else channels
        cases.append(_case(where, texts, channels))
        labels.append(numbers[label])
    if not cases:
        raise DataError(f"{path} holds no cases", expected="a case a line behind @data")
    return LabelledSequences(Ragged.join(cases), np.array(labels, np.int64), header.classes)


def _header(path: Path, numbered: Iterator[tuple[int, str]]) -> _Header:
    header = _Header(path)
    for number, line in numbered:
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        if not text.startswith("@"):
            raise DataError(
                f"{path}, line {number}: this is no header of a .ts file",
                expected='"# ...", "@name value" or "@data"',
                got=repr(text[:60]),
            )
        name, _, value = text[1:].partition(" ")
        if name.lower() == "data":
            header.check()
            return header
        header.tags[name.lower()] = value.strip()
    raise DataError(f"{path} is cut short: there is no @data")


def _case(where: str, texts: list[str], channels: int) -> NDArray[np.float32]:
    if len(texts) != channels:
        raise DataError(
            f"{where}: the case has too many or too few channels", expected=str(channels), got=str(len(texts))
        )
    rows = [_values(where, channel, text) for channel, text in enumerate(texts, 1)]
    lengths = [len(row) for row in rows]
    if len(set(lengths)) > 1:
        raise DataError(
            f"{where}: the channels of the case differ in length",
            expected=f"{lengths[0]} steps",
            got=", ".join(map(str, lengths)),
        )
    return np.array(rows, np.float32).T  # (steps, channels)


def _values(where: str, channel: int, text: str) -> list[float]:
    found: list[float] = []
    for step, one in enumerate(text.split(","), 1):
        try:
            value = float(one)
        except ValueError:
            value = np.nan
        if not np.isfinite(value):
            missing = one.strip() in {"", "?"} or "nan" in one.lower()
            raise DataError(
                f"{where}: {'a value is missing' if missing else 'this is no number'}",
                expected="a finite number",
                got=f"{one.strip()[:60]!r} in channel {channel}, step {step}",
                do="leave the case out, or fill in the value",
            )
        found.append(value)
    return found
