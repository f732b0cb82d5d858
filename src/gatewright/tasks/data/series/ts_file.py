"""The `.ts` format of the UEA and UCR archives: labelled series of several channels, each of its own length.

Lines of "@name value" up to "@data", then a case a line: channels divided by ":", their values by ",", the label last.
https://www.sktime.net/en/stable/api_reference/file_specifications/ts.html describes it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import DataError
from gatewright.tasks.data.reading import text_lines
from gatewright.tasks.data.series.cases import MISSING_TEXTS, SeriesCases, Task, channel_names, joined


@dataclass
class _Header:
    """What stands before @data, by name in lower case."""

    path: Path
    tags: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def channels(self) -> int | None:
        """How many channels each case has, if that is said."""
        if self._flag("univariate"):
            return 1
        count = self.tags.get("dimensions", self.tags.get("dimension", ""))
        return int(count) if count.isdecimal() else None

    @property
    def task(self) -> Task | None:
        """What the label of a case is; None where cases have none."""
        if self._flag("classlabel"):
            return "classification"
        return "regression" if self._flag("targetlabel") else None

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the file."""
        return tuple(self.tags["classlabel"].split()[1:]) if self.task == "classification" else ()

    @property
    def steps(self) -> int | None:
        """The length of every case, if that is said."""
        steps = self.tags.get("serieslength", "")
        return int(steps) if self._flag("equallength") and steps.isdecimal() else None

    def _flag(self, name: str) -> bool:
        return self.tags.get(name, "").lower().partition(" ")[0] == "true"

    def check(self) -> None:
        """Refuse what is not read here."""
        if self.task == "classification" and not self.classes:
            raise DataError(
                f"{self.path} does not name its classes",
                expected='a line such as "@classLabel true 1 2 3" before @data',
                got=f"@classLabel {self.tags['classlabel']}",
            )
        if self._flag("timestamps"):
            raise DataError(
                f"{self.path} has time stamps, which are not read from this format",
                expected="values at equal intervals",
                do="leave out the time stamps, or write the series as a table with the columns id, time, channels and "
                "label",
            )


def read_ts(path: Path) -> SeriesCases:
    """The cases of a `.ts` file, each known by its line."""
    numbered = enumerate(text_lines(path), 1)
    header = _header(path, numbered)
    cases: list[NDArray[np.float64]] = []
    labels: list[str] = []
    lines: list[int] = []
    channels = header.channels
    for number, line in case_lines(path, numbered, "#"):
        where = f"{path}, line {number}"
        texts = line.strip().split(":")
        if header.task:
            labels.append(_label(where, texts.pop(), header, alone=not texts))
        channels = len(texts) if channels is None else channels
        cases.append(_case(where, texts, channels, header.steps))
        lines.append(number)
    return SeriesCases(
        str(path),
        joined(cases),
        channel_names(channels or 0),
        "line",
        tuple(lines),
        np.array(labels)[:, np.newaxis] if header.task else None,
        ("target" if header.task == "regression" else "label",),
        header.task or "infer",
        header.classes,
    )


def _header(path: Path, numbered: Iterator[tuple[int, str]]) -> _Header:
    header = _Header(path)
    for number, line in numbered:
        text = line.strip()
        if not text or text.startswith(("#", "%")):
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


def _label(where: str, text: str, header: _Header, *, alone: bool) -> str:
    text = text.strip()
    known = not header.classes or text in header.classes or text.lower() in MISSING_TEXTS
    if alone or not known:
        raise DataError(
            f"{where}: the class is unknown" if header.classes else f"{where}: the case has no label",
            expected=f"one of {', '.join(header.classes)}" if header.classes else "values, then ':' and a number",
            got="the line has no label at its end" if alone else repr(text[:60]),
        )
    return text


def _case(where: str, texts: list[str], channels: int, steps: int | None) -> NDArray[np.float64]:
    if len(texts) != channels:
        raise DataError(
            f"{where}: the case has too many or too few channels", expected=str(channels), got=str(len(texts))
        )
    case = channels_of(where, texts)
    if steps is not None and len(case) != steps:
        raise DataError(
            f"{where}: the case is not as long as the file says",
            expected=f"{steps} steps (@seriesLength {steps}, @equalLength true)",
            got=f"{len(case)} steps",
        )
    return case


def case_lines(path: Path, numbered: Iterator[tuple[int, str]], comment: str) -> Iterator[tuple[int, str]]:
    """The lines that hold a case, with their numbers. Raises DataError where there are none."""
    is_empty = True
    for number, line in numbered:
        if line.strip() and not line.startswith(comment):
            is_empty = False
            yield number, line
    if is_empty:
        raise DataError(f"{path} holds no cases", expected="a case a line behind @data")


def channels_of(where: str, texts: Sequence[str]) -> NDArray[np.float64]:
    """A case (steps, channels), of which each text is a channel. Raises DataError where these differ in length."""
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
