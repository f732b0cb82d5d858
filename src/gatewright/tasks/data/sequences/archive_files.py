"""The files of the UEA and UCR archives, `.ts` and `.arff`: a header up to @data, then a case a line, the label last.

`.ts` has lines of "@name value" before @data. A case is channels divided by ":", their values by ",":
https://www.sktime.net/en/stable/api_reference/file_specifications/ts.html

`.arff` is the format of Weka. A univariate case is its values as attributes; a multivariate one is a relational
attribute, a quoted text with a line for each channel ("\\n" between them):
https://waikato.github.io/weka-wiki/formats_and_processing/arff_stable/
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import DataError
from gatewright.tasks.data.reading import text_lines
from gatewright.tasks.data.sequences.cases import MISSING_TEXTS, SeriesCases, Task, channel_names, joined

NumberedLines = Iterator[tuple[int, str]]
Case = NDArray[np.float64]  # (steps, channels)

_ATTRIBUTE = re.compile(r"""@attribute\s+('[^']*'|"[^"]*"|\S+)\s+(.*)""", re.IGNORECASE)
_RELATIONAL_CASE = re.compile(r"""\s*(?:'([^']*)'|"([^"]*)")\s*(?:,\s*(.*))?$""")
_LABEL_NAMES = {"class", "target", "label", "activity"}


class ArchiveHeader(ABC):
    """What a header says of the cases after it."""

    comment: str  # what a line begins with that holds no case
    target = "label"  # what the label is called
    task: Task | None = None  # what the label is; None where cases have none
    classes: tuple[str, ...] = ()  # the names that the label may have

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

    def check_class(self, where: str, label: str) -> None:
        """Refuse a label that is none of the classes, where these are known."""
        if self.classes and label not in self.classes and label.lower() not in MISSING_TEXTS:
            expected = f"one of {', '.join(self.classes)}"
            raise DataError(f"{where}: the class is unknown", expected=expected, got=repr(label[:60]))


class TsHeader(ArchiveHeader):
    """The tags before @data of a `.ts` file, by name in lower case."""

    comment = "#"

    def __init__(self, path: Path, tags: Mapping[str, str]) -> None:
        flags = {name for name, text in tags.items() if text.lower().partition(" ")[0] == "true"}
        if "classlabel" in flags:
            self.task, self.classes = "classification", tuple(tags["classlabel"].split()[1:])
        elif "targetlabel" in flags:
            self.task, self.target = "regression", "target"
        count = "1" if "univariate" in flags else tags.get("dimensions", tags.get("dimension", ""))
        self._channels = int(count) if count.isdecimal() else None
        steps = tags.get("serieslength", "")
        self._steps = int(steps) if "equallength" in flags and steps.isdecimal() else None
        if self.task == "classification" and not self.classes:
            raise DataError(
                f"{path} does not name its classes",
                expected='a line such as "@classLabel true 1 2 3" before @data',
                got=f"@classLabel {tags['classlabel']}",
            )
        if "timestamps" in flags:
            raise DataError(
                f"{path} has time stamps, which are not read from this format",
                expected="values at equal intervals",
                do="leave out the time stamps, or write the series as a table with the columns id, time, channels and "
                "label",
            )

    def case(self, where: str, line: str, channels: int | None) -> tuple[Case, str]:
        """The channels are divided by ":", and the label is the last of them."""
        texts = line.strip().split(":")
        label = texts.pop().strip() if self.task else ""
        if self.task and not texts:
            raise DataError(
                f"{where}: the class is unknown" if self.classes else f"{where}: the case has no label",
                expected=f"one of {', '.join(self.classes)}" if self.classes else "values, then ':' and a number",
                got="the line has no label at its end",
            )
        self.check_class(where, label)
        _check_width(where, len(texts), channels if self._channels is None else self._channels)
        case = _channels_of(where, texts)
        if self._steps is not None and len(case) != self._steps:
            raise DataError(
                f"{where}: the case is not as long as the file says",
                expected=f"{self._steps} steps (@seriesLength {self._steps}, @equalLength true)",
                got=f"{len(case)} steps",
            )
        return case, label


class ArffHeader(ArchiveHeader):
    """The attributes outside of the relational one, with their types, and whether there is such a one.

    The last attribute is the label where it has classes, or is called so.
    """

    comment = "%"

    def __init__(self, attributes: Mapping[str, str], *, relational: bool) -> None:
        self._attributes, self._relational = attributes, relational
        name, kind = list(attributes.items())[-1] if attributes else ("", "")
        if kind.startswith("{"):
            self.target, self.task = name, "classification"
            self.classes = tuple(_unquoted(text) for text in kind.strip("{} ").split(","))
        elif name.lower() in _LABEL_NAMES:
            self.target, self.task = name, "regression"

    def case(self, where: str, line: str, channels: int | None) -> tuple[Case, str]:
        """A relational case is a quoted text, another one its values with commas between; the label is the last."""
        case, label = self._relational_case(where, line) if self._relational else self._univariate_case(where, line)
        _check_width(where, case.shape[1], channels)
        label = _unquoted(label)
        self.check_class(where, label)
        return case, label

    def _relational_case(self, where: str, line: str) -> tuple[Case, str]:
        parts = _RELATIONAL_CASE.fullmatch(line.strip())
        if parts is None:
            raise DataError(
                f"{where}: this is no case of a relational attribute",
                expected="'1,2,3\\n4,5,6',label",
                got=repr(line[:60]),
            )
        channels = (parts[1] if parts[1] is not None else parts[2]).split("\\n")
        return _channels_of(where, channels), parts[3] or ""

    def _univariate_case(self, where: str, line: str) -> tuple[Case, str]:
        texts = line.strip().split(",")
        if len(texts) != len(self._attributes):
            expected, got = f"{len(self._attributes)} values, as many as attributes", str(len(texts))
            raise DataError(f"{where}: the case has too many or too few values", expected=expected, got=got)
        label = texts.pop() if self.task else ""
        return values_of(where, 1, texts)[:, np.newaxis], label


def read_ts(path: Path) -> SeriesCases:
    """The cases of a `.ts` file, each known by its line."""
    lines, tags = enumerate(text_lines(path), 1), dict[str, str]()
    for number, text in _header_lines(path, lines, ("#", "%")):
        if not text.startswith("@"):
            raise _no_header(path, number, text, "a .ts", '"# ...", "@name value" or "@data"')
        name, _, value = text[1:].partition(" ")
        tags[name.lower()] = value.strip()
    return TsHeader(path, tags).read(path, lines)


def read_arff(path: Path) -> SeriesCases:
    """The cases of an `.arff` file, each known by its line."""
    lines, attributes = enumerate(text_lines(path), 1), dict[str, str]()
    relational = inside = False
    for number, text in _header_lines(path, lines, ("%",)):
        parts = _ATTRIBUTE.fullmatch(text)
        if text.lower().startswith("@end"):
            inside = False
        elif text.lower().startswith("@relation"):
            continue
        elif parts is None:
            raise _no_header(path, number, text, "an .arff", '"@attribute NAME TYPE", "@end NAME" or "@data"')
        elif parts[2].lower() == "relational":
            relational = inside = True
        elif not inside:
            attributes[_unquoted(parts[1])] = parts[2].strip()
    return ArffHeader(attributes, relational=relational).read(path, lines)


def _header_lines(path: Path, lines: NumberedLines, comments: tuple[str, ...]) -> NumberedLines:
    """The lines of a header before @data, without empty ones and comments."""
    for number, line in lines:
        text = line.strip()
        if text.lower().split()[:1] == ["@data"]:
            return
        if text and not text.startswith(comments):
            yield number, text
    raise DataError(f"{path} is cut short: there is no @data")


def _no_header(path: Path, number: int, text: str, kind: str, expected: str) -> DataError:
    return DataError(f"{path}, line {number}: this is no header of {kind} file", expected=expected, got=repr(text[:60]))


def _unquoted(text: str) -> str:
    return text.strip().strip("'\"")


def _check_width(where: str, width: int, channels: int | None) -> None:
    """Refuse a case with another number of channels than the first."""
    if channels is not None and width != channels:
        raise DataError(f"{where}: the case has too many or too few channels", expected=str(channels), got=str(width))


def _channels_of(where: str, texts: Sequence[str]) -> Case:
    """A case from a text for each channel. Raises DataError where channels differ in length."""
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
