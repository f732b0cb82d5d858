"""Files of tokens in columns, one token a line, with an empty line after each sentence: CoNLL's formats.

CoNLL-2000 and CoNLL-2003 have columns with spaces or tabs between them and a line -DOCSTART- before each document
(https://aclanthology.org/W03-0419). CoNLL-U has ten columns with tabs between them, comments that begin with #, tokens
of several words (1-2) and empty nodes (1.1); both are left out: https://universaldependencies.org/format.html.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gatewright.errors import DataError
from gatewright.tasks.data.tables.encoding import encoded_lines, encoding_of

CONLLU = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")
TOKEN_NAMES = ("token", "tokens", "word", "words", "form", "text")
LABEL_NAMES = ("label", "labels", "tag", "tags", "ner", "ner_tag", "ner_tags", "pos", "upos", "chunk")

_DOCUMENT = "-DOCSTART-"
_ID = re.compile(r"\d+([-.]\d+)?")
_COMMENT = re.compile(r"#\s*(?:[\w.-]+\s*=|newdoc\b|newpar\b)")
_OTHER_ID = re.compile(r"\d+[-.]\d+")


@dataclass(frozen=True)
class ColumnFile:
    """The sentences of a file: the rows of each, with all of their columns."""

    path: Path
    names: tuple[str, ...]  # of the columns: those of a header or of CoNLL-U, otherwise "1", "2", ...
    sentences: tuple[tuple[tuple[str, ...], ...], ...]
    lines: tuple[tuple[int, ...], ...]  # of each row, counted from 1
    is_conllu: bool = False
    remark: str = ""  # what was inferred of its encoding

    def place(self, name: str) -> int:
        """Which column that is, by its name or by its number from 1 on.

        Raises DataError for a column that there is not.
        """
        if name in self.names:
            return self.names.index(name)
        if name.isdecimal() and 1 <= int(name) <= len(self.names):
            return int(name) - 1
        raise DataError(
            f"{self.path} has no column {name!r}",
            expected=f"one of {', '.join(self.names)}",
            do="name another column with the settings text=... and label=...",
            shell="name another column with --set text=... label=...",
        )

    def column(self, place: int) -> list[list[str]]:
        """That column of each sentence. Raises DataError where a cell of it is empty."""
        for rows, lines in zip(self.sentences, self.lines, strict=True):
            for row, line in zip(rows, lines, strict=True):
                if not row[place]:
                    raise DataError(f"{self.path}, line {line}: column {self.names[place]} is empty")
        return [[row[place] for row in rows] for rows in self.sentences]


def read_columns(path: Path, *, encoding: str = "", header: str = "infer") -> ColumnFile:
    """The file's sentences. `encoding` names that of the file, which is found otherwise.

    `header` says whether the first row names the columns: "yes", "no", or "infer" by well-known names.
    The columns are those of its first row: divided at tabs where it has one, and at white space where it has none or
    where all rows have equally many columns only so. A line that begins with # and comes before the first row of a
    sentence is a comment where the file is CoNLL-U, where it has another number of columns, or where it reads as one of
    CoNLL-U, such as `# sent_id = 1`.
    Raises DataError for a file without a row, and for a row with more or fewer columns.
    """
    coding = encoding_of(path, encoding)
    lines = [(number, line.rstrip("\n")) for number, line in enumerate(encoded_lines(path, coding.name), 1)]
    rows = [line for _, line in lines if line.strip() and not line.startswith(("# ", "#\t"))]
    rows = [line for line in rows if line.split(maxsplit=1)[0] != _DOCUMENT]
    first = rows[0] if rows else ""
    is_conllu = len(cells := _cells(first, "\t")) == len(CONLLU) and bool(_ID.fullmatch(cells[0]))
    separator = None if _is_divided_at_spaces(rows) else "\t"
    width = len(_cells(first, separator))
    sentences = list(_sentences(path, lines, separator, width, is_conllu=is_conllu))
    names = CONLLU if is_conllu else tuple(str(number) for number in range(1, width + 1))
    first_cells = {cell.lower() for cell in sentences[0][0][1]} if sentences else set[str]()
    is_named = bool(first_cells & {*TOKEN_NAMES} and first_cells & {*LABEL_NAMES})
    has_header = header == "yes" or (header == "infer" and is_named)
    if sentences and not is_conllu and has_header:
        names = sentences[0].pop(0)[1]
        sentences = list(filter(None, sentences))
    if not sentences:
        raise DataError(
            f"{path} holds no tokens",
            expected="a token a line with its columns, and an empty line after each sentence",
            got="comments and empty lines" if lines else "an empty file",
        )
    cells = tuple(tuple(row for _, row in sentence) for sentence in sentences)
    numbers = tuple(tuple(line for line, _ in sentence) for sentence in sentences)
    return ColumnFile(path, names, cells, numbers, is_conllu, coding.remark)


def _sentences(
    path: Path, lines: Sequence[tuple[int, str]], separator: str | None, width: int, *, is_conllu: bool
) -> Iterator[list[tuple[int, tuple[str, ...]]]]:
    rows: list[tuple[int, tuple[str, ...]]] = []
    for number, line in lines:
        if not line.strip():
            if rows:
                yield rows
                rows = []
            continue
        cells = _cells(line, separator)
        is_comment = (
            line.startswith("#") and not rows and (is_conllu or len(cells) != width or bool(_COMMENT.match(line)))
        )
        if is_comment or cells[0] == _DOCUMENT or (is_conllu and _OTHER_ID.fullmatch(cells[0])):
            continue
        if len(cells) != width:
            raise DataError(
                f"{path}, line {number}: a row has {len(cells)} {'column' if len(cells) == 1 else 'columns'}",
                expected=f"{width}, as in the first row; an empty line stands between sentences",
                got=repr(line[:100]),
            )
        rows.append((number, tuple(cells)))
    if rows:
        yield rows


def _is_divided_at_spaces(rows: Sequence[str]) -> bool:
    if not rows or "\t" not in rows[0]:
        return True
    at_tabs, at_spaces = ({len(_cells(row, separator)) for row in rows} for separator in ("\t", None))
    return len(at_spaces) == 1 and (len(at_tabs) > 1 or min(at_spaces) > min(at_tabs))


def _cells(line: str, separator: str | None) -> list[str]:
    return [cell.strip() for cell in line.split(separator)] if separator else line.split()
