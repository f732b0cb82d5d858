"""The `.arff` format of Weka as the UCR and UEA archives write it: a case a line, the label last.

A univariate case is its values as attributes; a multivariate one is a relational attribute, a quoted text in which each
channel is a line ("\\n" between them). https://waikato.github.io/weka-wiki/formats_and_processing/arff_stable/
"""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from gatewright.errors import DataError
from gatewright.tasks.data.reading import text_lines
from gatewright.tasks.data.sequences import archive_cases
from gatewright.tasks.data.sequences.archive_cases import ArchiveHeader, Case, NumberedLines
from gatewright.tasks.data.sequences.cases import MISSING_TEXTS, SeriesCases

_ATTRIBUTE = re.compile(r"""@attribute\s+('[^']*'|"[^"]*"|\S+)\s+(.*)""", re.IGNORECASE)
_CASE = re.compile(r"""\s*(?:'([^']*)'|"([^"]*)")\s*(?:,\s*(.*))?$""")
_LABEL_NAMES = {"class", "target", "label", "activity"}


class ArffHeader(ArchiveHeader):
    """The attributes outside of the relational one, with their types, and whether there is such a one.

    The last attribute is the label where it has classes, or is called so.
    """

    comment = "%"
    target, task, classes = "label", None, ()

    def __init__(self, attributes: Mapping[str, str], *, relational: bool) -> None:
        self._attributes, self._relational = attributes, relational
        name, kind = list(attributes.items())[-1] if attributes else ("", "")
        if kind.startswith("{"):
            self.target, self.task = name, "classification"
            self.classes = tuple(_plain(text) for text in kind.strip("{} ").split(","))
        elif name.lower() in _LABEL_NAMES:
            self.target, self.task = name, "regression"

    def case(self, where: str, line: str, channels: int | None) -> tuple[Case, str]:
        """A relational case is a quoted text, another one its values with commas between; the label is the last."""
        case, label = self._relational_case(where, line) if self._relational else self._univariate_case(where, line)
        archive_cases.check_width(where, case.shape[1], channels)
        label = _plain(label)
        if self.classes and label not in self.classes and label.lower() not in MISSING_TEXTS:
            expected = f"one of {', '.join(self.classes)}"
            raise DataError(f"{where}: the class is unknown", expected=expected, got=repr(label[:60]))
        return case, label

    def _relational_case(self, where: str, line: str) -> tuple[Case, str]:
        parts = _CASE.fullmatch(line.strip())
        if parts is None:
            raise DataError(
                f"{where}: this is no case of a relational attribute",
                expected="'1,2,3\\n4,5,6',label",
                got=repr(line[:60]),
            )
        channels = (parts[1] if parts[1] is not None else parts[2]).split("\\n")
        return archive_cases.channels_of(where, channels), parts[3] or ""

    def _univariate_case(self, where: str, line: str) -> tuple[Case, str]:
        texts = line.strip().split(",")
        if len(texts) != len(self._attributes):
            expected, got = f"{len(self._attributes)} values, as many as attributes", str(len(texts))
            raise DataError(f"{where}: the case has too many or too few values", expected=expected, got=got)
        label = texts.pop() if self.task else ""
        return archive_cases.values_of(where, 1, texts)[:, np.newaxis], label


def read_arff(path: Path) -> SeriesCases:
    """The cases of an `.arff` file, each known by its line."""
    lines = enumerate(text_lines(path), 1)
    return _header(path, lines).read(path, lines)


def _header(path: Path, lines: NumberedLines) -> ArffHeader:
    attributes: dict[str, str] = {}
    relational = inside = False
    for number, line in lines:
        text = line.strip()
        if not text or text.startswith("%") or text.lower().startswith("@relation"):
            continue
        if text.lower().startswith("@data"):
            return ArffHeader(attributes, relational=relational)
        if text.lower().startswith("@end"):
            inside = False
            continue
        parts = _ATTRIBUTE.fullmatch(text)
        if parts is None:
            raise DataError(
                f"{path}, line {number}: this is no header of an .arff file",
                expected='"@attribute NAME TYPE", "@end NAME" or "@data"',
                got=repr(text[:60]),
            )
        if parts[2].lower() == "relational":
            relational = inside = True
        elif not inside:
            attributes[_plain(parts[1])] = parts[2].strip()
    raise DataError(f"{path} is cut short: there is no @data")


def _plain(text: str) -> str:
    return text.strip().strip("'\"")
