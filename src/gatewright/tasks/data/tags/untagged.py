"""Sentences without tags, to predict: from files in columns, from plain texts, and from lists in memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gatewright.errors import DataError
from gatewright.tasks.columns import StepColumns
from gatewright.tasks.data.published.sources import existing_path
from gatewright.tasks.data.tables.encoding import encoded_lines, encoding_of
from gatewright.tasks.data.tags.conll_file import read_columns
from gatewright.tasks.data.tags.sentences import INFERRED_COLUMNS
from gatewright.tasks.data.tags.tokens import Tokenising

_COLUMN_SUFFIXES = (".conll", ".conllu", ".iob", ".iob2", ".bio", ".bioes")
_LOOKED_AT = 10_000  # lines that show whether a file has columns


@dataclass(frozen=True)
class Sentences:
    """Sentences as tokens; `keys` say which each is: its number, its line, or its id."""

    key: str
    keys: tuple[int | str, ...]
    tokens: tuple[tuple[str, ...], ...]


def read_sentences(
    source: object, tokenising: Tokenising, text: str, reading: StepColumns = INFERRED_COLUMNS
) -> Sentences:
    """The sentences of a path or a list; `text` is the column that tokens were in.

    A file is in columns where its name ends in .conll, .conllu or the like, or where all of its lines have equally
    many columns and an empty line stands between sentences; otherwise each of its lines is a text. A list holds
    texts, or sentences as lists of tokens. Raises DataError for anything else, and for a sentence without a token.
    """
    if isinstance(source, Sequence) and not isinstance(source, str):
        return _in_memory(source, tokenising)
    path = existing_path(source, "tagged texts")
    encoding = encoding_of(path, reading.encoding).name
    written = [line.rstrip() for line in encoded_lines(path, encoding)]
    if path.suffix.lower() in _COLUMN_SUFFIXES or _has_columns(written):
        file = read_columns(path, encoding=encoding, header=reading.header)
        # The column that the training's tokens were in; a file of tokens alone has no other.
        tokens = file.column(0 if len(file.names) == 1 or not text else file.place(text))
        return Sentences("sentence", tuple(range(1, len(tokens) + 1)), tuple(map(tuple, tokens)))
    lines = {number: tuple(tokenising.divide(line)) for number, line in enumerate(written, 1) if line}
    if not lines:
        raise DataError(f"{path} holds no text")
    return Sentences("line", tuple(lines), tuple(lines.values()))


def _has_columns(lines: Sequence[str]) -> bool:
    lines = list(lines[:_LOOKED_AT])
    while lines and not lines[-1]:
        lines.pop()
    written = [line for line in lines if line and not line.startswith(("# ", "-DOCSTART-"))]
    widths = {len(line.split("\t" if any("\t" in other for other in written) else None)) for line in written}
    return len(widths) == 1 and ("" in lines or any("\t" in line for line in written))


def _in_memory(source: Sequence[Any], tokenising: Tokenising) -> Sentences:
    tokens: list[tuple[str, ...]] = []
    for place, item in enumerate(source):
        is_tokens = isinstance(item, Sequence) and all(isinstance(token, str) for token in item)
        divided: list[str] = tokenising.divide(item) if isinstance(item, str) else list(item) if is_tokens else []
        if not divided:
            raise DataError(
                f"sentence {place} of the data in memory has no tokens",
                expected='a text, or a list of tokens such as ["Ada", "writes"]',
                got=f"{item!r:.100}",
            )
        tokens.append(tuple(divided))
    return Sentences("sentence", tuple(range(1, len(tokens) + 1)), tuple(tokens))
