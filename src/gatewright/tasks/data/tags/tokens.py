"""Sentences without tags, to predict; how plain text becomes tokens that are like those of a training set."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gatewright.errors import DataError, OptionError
from gatewright.tasks.columns import StepColumns
from gatewright.tasks.data.published.sources import existing_path
from gatewright.tasks.data.tables.encoding import encoded_lines, encoding_of
from gatewright.tasks.data.tags.conll_file import read_columns
from gatewright.tasks.data.tags.sentences import INFERRED_COLUMNS, TOKEN_SUFFIXES

_CLITIC = r"n['’]t|['’](?:s|re|ve|ll|d|m)"
_SIGNS = (
    r"https?://\S+|www\.\S+|[@#]\w+"  # what stands together on the web
    r"|(?:\w\.){2,}"  # U.S.
    r"|\d+(?:[.,:/]\d+)*"  # 3.5, 10,000, 12:30
    r"|\w+(?:[-'’.&]\w+)*"
    r"|\.{2,}|[^\w\s]"
)
_WORDS = re.compile(_SIGNS)
_PARTED = re.compile(rf"\w+?(?={_CLITIC}\b)|{_CLITIC}\b|{_SIGNS}", re.IGNORECASE)
_FEW = 0.02
_LOOKED_AT = 10_000  # lines that show whether a file has columns


@dataclass(frozen=True)
class Tokenising:
    """A way to divide text, which leaves the case of letters as it is."""

    name: str
    about: str
    divide: Callable[[str], list[str]]


TOKENISINGS: Mapping[str, Tokenising] = {
    way.name: way
    for way in (
        Tokenising("spaces", "at white space", str.split),
        Tokenising("signs", "into words and single signs", _WORDS.findall),
        Tokenising("contractions", "into words and single signs, and do n't, it 's, we 'll", _PARTED.findall),
    )
}


def tokenising(sentences: Iterable[Sequence[str]]) -> Tokenising:
    """The way that is likely to divide text as those sentences were divided.

    "spaces" where signs hang on words, "contractions" where n't and 's are tokens of their own, otherwise "signs".
    """
    tokens = [token for sentence in sentences for token in sentence]
    hanging = sum(len(token) > 2 and token[-1] in ",;:!?" and token[-2].isalnum() for token in tokens)
    single = sum(len(token) == 1 and not token.isalnum() for token in tokens)
    if hanging > _FEW * len(tokens) or not single:
        return TOKENISINGS["spaces"]
    parted = {"n't", "'s"} & {token.lower() for token in tokens}
    return TOKENISINGS["contractions" if parted else "signs"]


def named_tokenising(name: str) -> Tokenising:
    """The way of that name."""
    if name not in TOKENISINGS:
        raise OptionError(f"text cannot be divided by {name!r}", expected="one of " + ", ".join(TOKENISINGS))
    return TOKENISINGS[name]


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
    if path.suffix.lower() in TOKEN_SUFFIXES or _has_columns(written):
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
