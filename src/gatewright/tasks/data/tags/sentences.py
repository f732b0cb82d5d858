"""Sentences with a tag for each token: from files in CoNLL's formats, from tables, or from lists in memory."""

import re
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from gatewright.errors import DataError
from gatewright.tasks.columns import StepColumns
from gatewright.tasks.data.published.sources import Files, Source, files_of
from gatewright.tasks.data.ragged import Splits, completed, held_out
from gatewright.tasks.data.tags.conll_file import LABEL_NAMES, ColumnFile, read_columns
from gatewright.tasks.data.tags.schemes import OUTSIDE, Scheme, converted_tags, recognised_scheme

_PARTS = {
    "train": r"train|training|trn",
    "validation": r"dev|devel|valid|validation|val|testa",
    "test": r"test|testb|eval",
}
_MOST_TAGS = 1000
INFERRED_COLUMNS = StepColumns()
TOKEN_SUFFIXES = (".conllu", ".conll", ".iob", ".iob2", ".bio", ".bioes")


@dataclass(frozen=True)
class TaggedSentences:
    """Sentences as tokens, with a tag for each token."""

    tokens: tuple[tuple[str, ...], ...]
    tags: tuple[tuple[str, ...], ...]
    scheme: Scheme = "none"  # that the tags are written in

    def __len__(self) -> int:
        return len(self.tokens)

    def select(self, places: Iterable[int]) -> Self:
        """Those sentences."""
        chosen = list(places)
        tokens, tags = (tuple(whole[place] for place in chosen) for whole in (self.tokens, self.tags))
        return replace(self, tokens=tokens, tags=tags)

    def counts(self) -> dict[str, int]:
        """How often each tag occurs, in the order of their letters."""
        return dict(sorted(Counter(tag for tags in self.tags for tag in tags).items()))

    def has_entities(self) -> bool:
        """Whether a tag marks an entity, in any scheme."""
        return any(tag != OUTSIDE for tags in self.tags for tag in tags)

    def written_as(self, scheme: Scheme) -> Self:
        """The same entities as tags of that scheme, also of its own, which a tag here and there may break.

        Tags that mark none stay as they are.
        """
        if "none" in (self.scheme, scheme):
            return self
        return replace(self, tags=tuple(tuple(converted_tags(tags, scheme)) for tags in self.tags), scheme=scheme)


@dataclass(frozen=True)
class TagColumns:
    """Which columns hold the tokens and their tags."""

    text: str
    label: str
    remark: str  # what a person is told of the choice


def load_tagged_sentences(
    source: Source,
    reading: StepColumns = INFERRED_COLUMNS,
    *,
    validation: float = 0.1,
    test: float = 0.2,
    seed: int = 0,
) -> tuple[Splits[TaggedSentences], TagColumns]:
    """Sentences with tags, and the columns that they came from.

    A source is a file; a folder with files named train, dev (valid, testa) and test (testb); or sentences
    in memory: pairs of tokens and tags. A part that the source lacks is held out, whole sentences by seed. The settings
    `text` and `label` name columns, by the names of a header or of CoNLL-U, or by their numbers from 1 on; left empty,
    CoNLL-U has `form` and `upos`, and any other file its first and its last column.

    Raises DataError for a file that is no such file, and for a choice of columns that has to be made by hand.
    """
    if isinstance(source, Sequence) and not isinstance(source, str):
        whole = sentences_in_memory(source)
        return with_held_out({"train": whole}, validation, test, seed), TagColumns("", "", "")
    files = part_files(files_of(source, "tagged texts"))
    read = {part: _read(path, reading) for part, path in files.items()}
    columns = tag_columns(read["train"], reading.text, reading.label)
    parts = {part: tagged_rows(file, columns) for part, file in read.items()}
    return with_held_out(parts, validation, test, seed), columns


def load_to_measure(source: Source, reading: StepColumns = INFERRED_COLUMNS) -> dict[str, TaggedSentences]:
    """All sentences with tags of a source, by the part that they are of; "test" where there are no parts.

    Sources, columns and errors are those of `load_tagged_sentences`; a folder needs no part to train on.
    """
    if isinstance(source, Sequence) and not isinstance(source, str):
        return {"test": sentences_in_memory(source)}
    files = files_of(source, "tagged texts")
    chosen = {"test": next(iter(files.values()))} if len(files) == 1 else part_files(files, needed=())
    read = {part: _read(path, reading) for part, path in chosen.items()}
    return {part: tagged_rows(file, tag_columns(file, reading.text, reading.label)) for part, file in read.items()}


def _read(path: Path, reading: StepColumns) -> ColumnFile:
    return read_columns(path, encoding=reading.encoding, header=reading.header)


def part_files(files: Files, needed: Sequence[str] = ("train",)) -> dict[str, Path]:
    """The files of "train", "validation" and "test", as far as there are such; a file alone is to train on.

    Raises DataError where a part has several files, or where there is none of a part that is needed.
    """
    if len(files) == 1:
        return {"train": next(iter(files.values()))}
    chosen = {part: path for part in _PARTS if (path := _one_of_part(files, part)) is not None}
    if not chosen or not set(needed) <= set(chosen):
        raise DataError(
            "there is no file of tagged sentences" + (" to train on" if needed else ""),
            expected="one file, or files whose names hold train, dev and test",
            got=", ".join(list(files)[:10]),
        )
    return chosen


def _one_of_part(files: Files, part: str) -> Path | None:
    words = re.compile(rf"(?<![a-z])(?:{_PARTS[part]})(?![a-z])", re.IGNORECASE)
    fitting = [path for name, path in files.items() if words.search(name)]
    for suffix in TOKEN_SUFFIXES:  # beside a text or a description of the same name
        fitting = [path for path in fitting if path.suffix.lower() == suffix] or fitting
    if len(fitting) > 1:
        raise DataError(
            f"there are several files of the part {part!r}",
            got=", ".join(path.name for path in fitting),
            do="leave one in the folder",
        )
    return fitting[0] if fitting else None


def tag_columns(file: ColumnFile, text: str = "", label: str = "") -> TagColumns:
    """The columns of tokens and tags: those named, or what the file's form says."""
    places = {"text": file.place(text) if text else None, "label": file.place(label) if label else None}
    if len(file.names) < 2:
        raise DataError(
            f"{file.path} has no column of labels",
            expected="a token and its label in each line, with a space or a tab between them",
            got=f"one column: {file.sentences[0][0][0]!r:.60} in line {file.lines[0][0]}",
        )
    text_place, label_place = (chosen if chosen is not None else _usual(file)[name] for name, chosen in places.items())
    if text_place == label_place:
        raise DataError(
            f"{file.path}: the tokens and their labels are one column, {file.names[text_place]!r}",
            expected=f"two of {', '.join(file.names)}",
            do="name both with the settings text=... and label=...",
            shell="name both with --set text=... label=...",
        )
    labels = Counter(row[label_place] for rows in file.sentences for row in rows)
    tokens = sum(labels.values())
    if len(labels) > min(_MOST_TAGS, max(20, tokens // 2)):
        raise DataError(
            f"{file.path}: column {file.names[label_place]!r} holds {len(labels):,} different labels for "
            f"{tokens:,} tokens",
            expected="a column with one of a few labels for each token",
            got=", ".join(map(repr, list(labels)[:5])),
            do="name the column of the labels with the setting label=...",
            shell=f"name the columns, as in --set text={file.names[text_place]} label={file.names[-1]}",
        )
    kinds = len({row[text_place] for rows in file.sentences for row in rows})
    if None in places.values() and len(labels) > kinds:
        name, other = file.names[text_place], file.names[label_place]
        raise DataError(
            f"{file.path} does not show which column holds the labels",
            expected="fewer different labels than different tokens",
            got=f"{kinds:,} different values in column {name!r}, {len(labels):,} in column {other!r}",
            do=f"name both columns, as in text={other!r}, label={name!r}",
            shell=f"name both columns, as in --set {shlex.quote(f'text={other}')} {shlex.quote(f'label={name}')}",
        )
    names = file.names[text_place], file.names[label_place]
    listed = ", ".join(label for label, _ in labels.most_common(6)) + (", ..." if len(labels) > 6 else "")
    shown = tuple(f"column {name} of {len(file.names)}" if name.isdecimal() else name for name in names)
    inferred = f"text: {shown[0]}, label: {shown[1]} ({len(labels)} labels: {listed})"
    return TagColumns(*names, f"{file.remark}; {inferred}" if file.remark else inferred)


def _usual(file: ColumnFile) -> dict[str, int]:
    """The columns that such files have tokens and labels in."""
    if file.is_conllu:
        return {"text": file.names.index("form"), "label": file.names.index("upos")}
    lowered = [name.lower() for name in file.names]
    named = [place for place, name in enumerate(lowered) if name in LABEL_NAMES]
    label = len(file.names) - 1 if not named or len(file.names) - 1 in named else named[-1]
    numbered = all(row[0] == str(number) for rows in file.sentences for number, row in enumerate(rows, 1)) and any(
        len(rows) > 1 for rows in file.sentences
    )
    return {"text": 1 if numbered and label != 1 else 0, "label": label}


def tagged_rows(file: ColumnFile, columns: TagColumns) -> TaggedSentences:
    """The sentences of a file, with the scheme of its tags."""
    return tagged(*(file.column(file.place(name)) for name in (columns.text, columns.label)))


def tagged(tokens: Sequence[Sequence[str]], tags: Sequence[Sequence[str]]) -> TaggedSentences:
    """Those sentences, with the scheme of their tags."""
    return TaggedSentences(tuple(map(tuple, tokens)), tuple(map(tuple, tags)), recognised_scheme(tags))


def sentences_in_memory(source: Sequence[Any]) -> TaggedSentences:
    """Pairs of tokens and tags, as in [(["Ada", "writes"], ["PROPN", "VERB"]), ...].

    Two lists, of all tokens and of all tags, are taken as well. Raises DataError for anything else, and for a sentence
    with more or fewer tags than tokens.
    """
    pairs: list[Any] = list(source)
    two_lists = isinstance(source, tuple) and len(source) == 2 and len(source[0]) == len(source[1])
    if two_lists and all(len(part) > 0 and all(map(_is_sentence, part)) for part in pairs):
        pairs = list(zip(*pairs, strict=True))
    for place, pair in enumerate(pairs):
        fits = isinstance(pair, Sequence) and len(pair) == 2 and all(_is_sentence(sentence) for sentence in pair)
        if not fits or len(pair[0]) != len(pair[1]) or not len(pair[0]):
            raise DataError(
                f"sentence {place} is no pair of tokens and tags",
                expected='two lists of texts, equally long, as in (["Ada", "writes"], ["PROPN", "VERB"])',
                got=f"{pair!r:.100}",
            )
    if not pairs:
        raise DataError("there are no sentences", expected="pairs of tokens and tags")
    return tagged([pair[0] for pair in pairs], [pair[1] for pair in pairs])


def _is_sentence(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and all(isinstance(token, str) for token in value)


def with_held_out(
    parts: dict[str, TaggedSentences], validation: float, test: float, seed: int
) -> Splits[TaggedSentences]:
    """The three parts; those that lack are held out, whole sentences by seed. All have the scheme of the first."""
    scheme = parts["train"].scheme
    # Entities are read alike in all of them, and a small part may look like one of another scheme.
    parts = {part: replace(sentences, scheme=scheme) for part, sentences in parts.items()}
    train = parts["train"]
    lacking = [part for part in ("validation", "test") if part not in parts]
    if len(train) <= len(lacking):
        tokens = sum(map(len, train.tokens))
        raise DataError(
            f"there are too few sentences to hold some out for {' and '.join(lacking)}",
            expected=f"{len(lacking) + 1} sentences at least, with an empty line after each in a file",
            got=f"{len(train)} of {tokens:,} {'token' if tokens == 1 else 'tokens'} in all",
            do="give more sentences, or a folder with files for train, dev and test",
        )

    def divide(part: TaggedSentences, share: float) -> tuple[TaggedSentences, TaggedSentences]:
        # Sentences with entities and those without give the same share, so that a small part has entities too.
        marked = [scheme != "none" and any(tag != OUTSIDE for tag in tags) for tags in part.tags]
        kept, out = held_out(np.array(marked, np.int64), share, seed)
        return part.select(kept), part.select(out)

    return completed(parts, validation, test, divide)
