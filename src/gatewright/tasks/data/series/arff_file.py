"""The `.arff` format of Weka as the UCR and UEA archives write it: a case a line, the label last.

A univariate case is its values as attributes; a multivariate one is a relational attribute, a quoted text in which each
channel is a line ("\\n" between them). https://waikato.github.io/weka-wiki/formats_and_processing/arff_stable/
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import DataError
from gatewright.tasks.data.reading import text_lines
from gatewright.tasks.data.series.cases import MISSING_TEXTS, SeriesCases, channel_names, joined
from gatewright.tasks.data.series.ts_file import case_lines, channels_of, values_of

_ATTRIBUTE = re.compile(r"""@attribute\s+('[^']*'|"[^"]*"|\S+)\s+(.*)""", re.IGNORECASE)
_CASE = re.compile(r"""\s*(?:'([^']*)'|"([^"]*)")\s*(?:,\s*(.*))?$""")
_CLASSES = {"class", "target", "label", "activity"}


@dataclass
class _Header:
    """The attributes before @data, outside of the relational one, and whether there is one."""

    attributes: dict[str, str] = field(default_factory=dict[str, str])
    relational: bool = False

    @property
    def label(self) -> str | None:
        """The name of the last attribute where it is the label: one with classes, or one that is called so."""
        if not self.attributes:
            return None
        name, kind = list(self.attributes.items())[-1]
        return name if kind.startswith("{") or name.lower() in _CLASSES else None

    @property
    def classes(self) -> tuple[str, ...]:
        """The names that the label may have."""
        kind = self.attributes[self.label] if self.label else ""
        return tuple(_plain(text) for text in kind.strip("{} ").split(",")) if kind.startswith("{") else ()


def read_arff(path: Path) -> SeriesCases:
    """The cases of an `.arff` file, each known by its line."""
    numbered = enumerate(text_lines(path), 1)
    header = _header(path, numbered)
    cases: list[NDArray[np.float64]] = []
    labels: list[str] = []
    lines: list[int] = []
    for number, line in case_lines(path, numbered, "%"):
        where = f"{path}, line {number}"
        case, label = _relational(where, line, header) if header.relational else _univariate(where, line, header)
        if cases and case.shape[1] != cases[0].shape[1]:
            expected, got = str(cases[0].shape[1]), str(case.shape[1])
            raise DataError(f"{where}: the case has too many or too few channels", expected=expected, got=got)
        cases.append(case)
        labels.append(_checked(where, label, header))
        lines.append(number)
    return SeriesCases(
        str(path),
        joined(cases),
        channel_names(cases[0].shape[1]),
        "line",
        tuple(lines),
        np.array(labels)[:, np.newaxis] if header.label else None,
        (header.label or "label",),
        ("classification" if header.classes else "regression") if header.label else "infer",
        header.classes,
    )


def _header(path: Path, numbered: Iterator[tuple[int, str]]) -> _Header:
    header, inside = _Header(), False
    for number, line in numbered:
        text = line.strip()
        if not text or text.startswith("%") or text.lower().startswith("@relation"):
            continue
        if text.lower().startswith("@data"):
            return header
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
            header.relational = inside = True
        elif not inside:
            header.attributes[_plain(parts[1])] = parts[2].strip()
    raise DataError(f"{path} is cut short: there is no @data")


def _relational(where: str, line: str, header: _Header) -> tuple[NDArray[np.float64], str]:
    parts = _CASE.fullmatch(line.strip())
    if parts is None:
        raise DataError(
            f"{where}: this is no case of a relational attribute",
            expected="'1,2,3\\n4,5,6',label",
            got=repr(line[:60]),
        )
    channels = (parts[1] if parts[1] is not None else parts[2]).split("\\n")
    return channels_of(where, channels), parts[3] or ""


def _univariate(where: str, line: str, header: _Header) -> tuple[NDArray[np.float64], str]:
    texts = line.strip().split(",")
    if len(texts) != len(header.attributes):
        expected, got = f"{len(header.attributes)} values, as many as attributes", str(len(texts))
        raise DataError(f"{where}: the case has too many or too few values", expected=expected, got=got)
    label = texts.pop() if header.label else ""
    return values_of(where, 1, texts)[:, np.newaxis], label


def _checked(where: str, text: str, header: _Header) -> str:
    label = _plain(text)
    if header.classes and label not in header.classes and label.lower() not in MISSING_TEXTS:
        expected = f"one of {', '.join(header.classes)}"
        raise DataError(f"{where}: the class is unknown", expected=expected, got=repr(label[:60]))
    return label


def _plain(text: str) -> str:
    return text.strip().strip("'\"")
