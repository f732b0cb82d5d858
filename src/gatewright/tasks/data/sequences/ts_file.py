"""The `.ts` format of the UEA and UCR archives: labelled series of several channels, each of its own length.

Lines of "@name value" up to "@data", then a case a line: channels divided by ":", their values by ",", the label last.
https://www.sktime.net/en/stable/api_reference/file_specifications/ts.html describes it.
"""

from collections.abc import Mapping
from pathlib import Path

from gatewright.errors import DataError
from gatewright.tasks.data.reading import text_lines
from gatewright.tasks.data.sequences.archive_cases import ArchiveHeader, Case, NumberedLines, channels_of, check_width
from gatewright.tasks.data.sequences.cases import MISSING_TEXTS, SeriesCases


class TsHeader(ArchiveHeader):
    """What stands before @data, by name in lower case."""

    comment = "#"

    def __init__(self, path: Path, tags: Mapping[str, str]) -> None:
        self._tags = tags
        self.task = (
            "classification" if self._flag("classlabel") else "regression" if self._flag("targetlabel") else None
        )
        self.target = "target" if self.task == "regression" else "label"
        self.classes = tuple(tags["classlabel"].split()[1:]) if self.task == "classification" else ()
        count = "1" if self._flag("univariate") else tags.get("dimensions", tags.get("dimension", ""))
        self._channels = int(count) if count.isdecimal() else None
        steps = tags.get("serieslength", "")
        self._steps = int(steps) if self._flag("equallength") and steps.isdecimal() else None
        if self.task == "classification" and not self.classes:
            raise DataError(
                f"{path} does not name its classes",
                expected='a line such as "@classLabel true 1 2 3" before @data',
                got=f"@classLabel {tags['classlabel']}",
            )
        if self._flag("timestamps"):
            raise DataError(
                f"{path} has time stamps, which are not read from this format",
                expected="values at equal intervals",
                do="leave out the time stamps, or write the series as a table with the columns id, time, channels and "
                "label",
            )

    def _flag(self, name: str) -> bool:
        return self._tags.get(name, "").lower().partition(" ")[0] == "true"

    def case(self, where: str, line: str, channels: int | None) -> tuple[Case, str]:
        """The channels are divided by ":", and the label is the last of them."""
        texts = line.strip().split(":")
        label = self._label(where, texts.pop(), alone=not texts) if self.task else ""
        check_width(where, len(texts), channels if self._channels is None else self._channels)
        case = channels_of(where, texts)
        if self._steps is not None and len(case) != self._steps:
            raise DataError(
                f"{where}: the case is not as long as the file says",
                expected=f"{self._steps} steps (@seriesLength {self._steps}, @equalLength true)",
                got=f"{len(case)} steps",
            )
        return case, label

    def _label(self, where: str, text: str, *, alone: bool) -> str:
        text = text.strip()
        known = not self.classes or text in self.classes or text.lower() in MISSING_TEXTS
        if alone or not known:
            raise DataError(
                f"{where}: the class is unknown" if self.classes else f"{where}: the case has no label",
                expected=f"one of {', '.join(self.classes)}" if self.classes else "values, then ':' and a number",
                got="the line has no label at its end" if alone else repr(text[:60]),
            )
        return text


def read_ts(path: Path) -> SeriesCases:
    """The cases of a `.ts` file, each known by its line."""
    lines = enumerate(text_lines(path), 1)
    return _header(path, lines).read(path, lines)


def _header(path: Path, lines: NumberedLines) -> TsHeader:
    tags: dict[str, str] = {}
    for number, line in lines:
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
            return TsHeader(path, tags)
        tags[name.lower()] = value.strip()
    raise DataError(f"{path} is cut short: there is no @data")
