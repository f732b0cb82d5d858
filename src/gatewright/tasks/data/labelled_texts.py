"""Texts with labels, such as reviews that are good or bad: from an archive, or from tables of two columns."""

from collections import Counter
from itertools import chain
from pathlib import Path

import numpy as np

from gatewright.errors import DataError
from gatewright.tasks.data.ragged import LabelledSequences, Parts, Ragged, check_classes, held_out
from gatewright.tasks.data.reviews import read_reviews
from gatewright.tasks.data.sources import Source, files_of, optional
from gatewright.tasks.data.tables import Row, rows_of
from gatewright.tasks.data.vocabulary import UNKNOWN
from gatewright.tasks.data.words import Tokeniser, WordVocabulary

_TABLE = r"\.(csv|tsv|txt)(\.gz)?"
_MOST_CLASSES = 1000


def load_labelled_texts(
    source: Source = "imdb", *, validation: float = 0.1, test: float = 0.2, seed: int = 0
) -> Parts[LabelledSequences]:
    """Texts, each (bytes,) of UTF-8, with their classes; a part that the source lacks is held out, by seed.

    A source is a data set's name; the archive of IMDB's reviews; a CSV or TSV file with a text and a label in each row;
    or a folder with such files called train, dev (or valid) and test. imdb: 25,000 and 25,000 reviews (Maas et al.
    2011, https://aclanthology.org/P11-1015). sst2: 6,920, 872 and 1,821 sentences (Socher et al. 2013,
    https://aclanthology.org/D13-1170).
    """
    files = files_of(source, "labelled texts")
    archive = optional(files, r".*\.(tar|tar\.gz|tgz)", "reviews (*.tar.gz)")
    if archive is not None:
        train, tested = read_reviews(archive)
        check_classes(source, train.labels, train.classes)
        return _with_held_out(train, None, tested, validation, test, seed)
    found = {
        name: optional(files, rf"(.*[._-])?({pattern}){_TABLE}", f"texts to {name}")
        for name, pattern in (("train", "train"), ("validation", "dev|valid|validation"), ("test", "test"))
    }
    first = found["train"] or optional(files, ".*" + _TABLE, "labelled texts (*.csv, *.tsv)")
    if first is None:
        raise DataError(
            "there is no file of labelled texts", expected="*.csv or *.tsv", got=", ".join(list(files)[:10])
        )
    train = read_labelled_texts(first)
    check_classes(source, train.labels, train.classes)
    validated, tested = (
        None if path is None else read_labelled_texts(path, train.classes)
        for path in (found["validation"], found["test"])
    )
    return _with_held_out(train, validated, tested, validation, test, seed)


def _with_held_out(
    train: LabelledSequences,
    validated: LabelledSequences | None,
    tested: LabelledSequences | None,
    validation: float,
    test: float,
    seed: int,
) -> Parts[LabelledSequences]:
    if tested is None:
        kept, out = held_out(train.labels, test, seed)
        train, tested = train.select(kept), train.select(out)
    if validated is None:
        kept, out = held_out(train.labels, validation, seed)
        train, validated = train.select(kept), train.select(out)
    return Parts(train, validated, tested)


def read_labelled_texts(path: Path, classes: tuple[str, ...] | None = None) -> LabelledSequences:
    """The rows of a table with two columns, a text and its label; `classes` are those that labels may be.

    The first row is a header where its label is that of no other row (none of `classes`), and its text is one word or
    all other labels are numbers. Classes are in the order of their numbers where they are numbers, otherwise in that of
    their letters.
    """
    rows = rows_of(path)
    first = next(rows)
    if len(first.fields) != 2:
        raise DataError(
            f"{path}, line {first.line}: a labelled text has two columns",
            expected="a text and its label",
            got=f"{len(first.fields)} columns: {first.fields!r:.100}",
        )
    gathered = _Gathered(path)
    for row in chain([first], rows):
        gathered.add(row)
    return gathered.finished(classes)


class _Gathered:
    """The rows of a table, gathered one after the other."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._content, self._lengths = bytearray(), list[int]()
        self._labels, self._lines = list[str](), list[int]()

    def add(self, row: Row) -> None:
        text, label = (field.strip() for field in row.fields)
        if not text or not label:
            missing = "label" if text else "text"
            raise DataError(f"{self._path}, line {row.line}: the {missing} is missing", got=repr(row.fields)[:100])
        content = text.encode()
        self._content += content
        self._lengths.append(len(content))
        self._labels.append(label)
        self._lines.append(row.line)

    def finished(self, classes: tuple[str, ...] | None) -> LabelledSequences:
        """All of them but the header, with the numbers of their classes."""
        texts = Ragged.from_lengths(np.frombuffer(self._content, np.uint8), self._lengths)
        start = int(self._has_header(set(self._labels[1:]) if classes is None else set(classes)))
        labels = self._labels[start:]
        if not labels:
            raise DataError(f"{self._path} holds no labelled texts", got="a header, or one row only")
        classes = self._classes(labels) if classes is None else classes
        numbers = {name: place for place, name in enumerate(classes)}
        for label, line in zip(labels, self._lines[start:], strict=True):
            if label not in numbers:
                raise DataError(
                    f"{self._path}, line {line}: the label is unknown",
                    expected="one of " + ", ".join(classes),
                    got=repr(label[:60]),
                )
        return LabelledSequences(
            texts.select(slice(start, None)), np.array([numbers[label] for label in labels], np.int64), classes
        )

    def _has_header(self, known: set[str]) -> bool:
        one_word = b" " not in self._content[: self._lengths[0]]
        return self._labels[0] not in known and (one_word or all(label.isdecimal() for label in known))

    def _classes(self, labels: list[str]) -> tuple[str, ...]:
        found = set(labels)
        if len(found) > min(_MOST_CLASSES, max(2, len(labels) // 2)):
            raise DataError(
                f"{self._path}: the second column holds {len(found)} different labels in {len(labels)} rows",
                expected="a text in the first column, one of a few labels in the second",
                got=f"{labels[0][:60]!r} in line {self._lines[-len(labels)]}",
                do="put the columns in that order",
            )
        if all(label.isascii() and label.isdecimal() for label in found):
            return tuple(sorted(found, key=int))
        return tuple(sorted(found))


def count_words(texts: Ragged, divide: Tokeniser) -> Counter[str]:
    """How often each word occurs in those texts."""
    counts: Counter[str] = Counter()
    for place in range(len(texts)):
        counts.update(divide(texts[place].tobytes().decode()))
    return counts


def encode_texts(texts: LabelledSequences, divide: Tokeniser, vocabulary: WordVocabulary) -> LabelledSequences:
    """The same texts as numbers of words, each (words,); a text without a word becomes one "<unk>"."""
    found = [
        vocabulary.encode(divide(texts.sequences[place].tobytes().decode()) or [UNKNOWN]) for place in range(len(texts))
    ]
    return LabelledSequences(Ragged.join(found), texts.labels, texts.classes)
