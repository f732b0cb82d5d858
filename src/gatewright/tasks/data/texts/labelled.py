"""Texts with labels, such as reviews that are good or bad: from tables, folders, archives, or objects in memory."""

import os
import reprlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np

from gatewright.errors import DataError
from gatewright.tasks.columns import TextColumns
from gatewright.tasks.data.published import sources
from gatewright.tasks.data.published.sources import existing_path, files_of, optional_file, source_name
from gatewright.tasks.data.ragged import LabelledSequences, Ragged, Splits, check_classes, class_numbers, completed
from gatewright.tasks.data.reading import text_pieces
from gatewright.tasks.data.tables.files import is_frame
from gatewright.tasks.data.tables.table import Table, open_table
from gatewright.tasks.data.texts.reviews import read_reviews
from gatewright.tasks.data.texts.roles import text_roles
from gatewright.tasks.data.texts.vocabulary import UNKNOWN, Tokeniser, WordVocabulary
from gatewright.tasks.settings import written_names

_TABLE = r"\.(csv|tsv|txt|jsonl|ndjson|parquet|pq)(\.gz)?"
_MOST_CLASSES = 1000
_MOST_TOLD = 20  # names of classes in a message
_PARTS = {"train": "train|training", "validation": "dev|valid|validation|val", "test": "test|testing"}


@dataclass(frozen=True, eq=False)
class LabelledTexts:
    """Texts in three parts, each (bytes,) of UTF-8, and what was inferred of their source, in lines for a person."""

    parts: Splits[LabelledSequences]
    remarks: tuple[str, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict[str, str])
    """The names of the columns of "text" and "label", where the source is a table."""


@dataclass(frozen=True, eq=False)
class _TextPart:
    texts: Sequence[str]
    labels: Sequence[str]
    place: Callable[[int], str]  # where the text of a row stands, for messages
    remarks: tuple[str, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict[str, str])

    def numbered(self, classes: tuple[str, ...] | None = None) -> LabelledSequences:
        """With the numbers of their classes, which are those given, or the labels in their order."""
        for row, (text, label) in enumerate(zip(self.texts, self.labels, strict=True)):
            if not text or not label:
                missing = "label" if text else "text"
                raise DataError(
                    f"{self.place(row)}: the {missing} is missing",
                    got=repr(text or label)[:100],
                    do="fill it in, or leave out the row",
                )
        classes = _classes(self) if classes is None else classes
        numbers = class_numbers(self.labels, classes, self.place, "label")
        content = [text.encode() for text in self.texts]
        values = np.frombuffer(b"".join(content), np.uint8)
        texts = Ragged.from_lengths(values, [len(text) for text in content])
        return LabelledSequences(texts, numbers, classes)


def load_labelled_texts(
    source: object = "imdb",
    columns: TextColumns | None = None,
    *,
    usual: Mapping[str, str] | None = None,
    validation: float = 0.1,
    test: float = 0.2,
    seed: int = 0,
) -> LabelledTexts:
    """Texts with their classes; a part that the source lacks is held out, by seed.

    A source is a data set's name; the archive of IMDB's reviews; a table with a column of texts and one of labels (see
    `open_table`); a folder with such files called train, dev (or valid) and test; a folder with a sub-folder of .txt
    files for each class, also within train/ and test/; a pandas DataFrame; or a pair of lists, `(texts, labels)`.
    `columns` names the columns, `usual` those of a model's training data, which are taken where a table has them.
    imdb: 25,000 and 25,000 reviews (Maas et al. 2011, https://aclanthology.org/P11-1015).
    sst2: 6,920, 872 and 1,821 sentences (Socher et al. 2013, https://aclanthology.org/D13-1170).
    trec: 5,452 and 500 questions (Li and Roth 2002, https://aclanthology.org/C02-1150).
    sms-spam: 5,574 messages (Almeida et al. 2011, https://doi.org/10.1145/2034691.2034742).
    python-docstrings: 3,500 paragraphs of Python's docstrings by package, which need no download.
    """
    read = _parts_of(source, columns or TextColumns(), usual)
    train = read["train"].numbered()
    check_classes(source_name(source), train.labels, train.classes)
    numbered = {name: train if name == "train" else part.numbered(train.classes) for name, part in read.items()}
    parts = completed(numbered, validation, test, lambda part, share: part.divided(share, seed))
    return LabelledTexts(parts, read["train"].remarks, read["train"].columns)


def load_texts_to_measure(
    source: object,
    columns: TextColumns | None = None,
    *,
    classes: tuple[str, ...],
    usual: Mapping[str, str] | None = None,
) -> dict[str, LabelledSequences]:
    """All texts of a source by the parts that it has, or as "test" where it has none; nothing is held out.

    Raises DataError for labels that are none of `classes`; some of these may be missing.
    """
    read = _parts_of(source, columns or TextColumns(), usual)
    labels = {label for part in read.values() for label in part.labels if label}
    if not labels <= set(classes):
        raise DataError(
            f"{source_name(source)} has other classes than the model",
            expected=", ".join(classes),
            got=", ".join(sorted(labels)[:_MOST_TOLD]),
            do="give texts of the model's classes, or train another model on these",
        )
    numbered = {name: part.numbered(classes) for name, part in read.items()}
    return {"test": numbered["train"]} if len(numbered) == 1 else numbered


def _parts_of(source: object, columns: TextColumns, usual: Mapping[str, str] | None) -> dict[str, _TextPart]:
    """The parts that a source has."""
    if not isinstance(source, str | os.PathLike):
        return {"train": _in_memory(source, columns, usual)}
    row = sources.named_data_set(source, "labelled texts")
    if row is not None and row.compose is not None:
        return {"train": _composed(row.name, row.compose())}
    if row is None:
        path = existing_path(source, "labelled texts")
        if path.is_dir() and (folders := _folders(path)):
            return folders
    files = files_of(source, "labelled texts")
    archive = optional_file(files, r".*\.(tar|tar\.gz|tgz)", "reviews (*.tar.gz)")
    if archive is None:
        return _tables(files, columns, usual)
    return {
        part: _TextPart(*(list(column) for column in zip(*reviews, strict=True)), place=lambda _: str(archive))
        for part, reviews in read_reviews(archive).items()
    }


def _tables(files: Mapping[str, Path], columns: TextColumns, usual: Mapping[str, str] | None) -> dict[str, _TextPart]:
    parts = {
        name: optional_file(files, rf"(.*[._-])?({pattern}){_TABLE}", f"texts to {name}")
        for name, pattern in _PARTS.items()
    }
    parts["train"] = parts["train"] or optional_file(files, ".*" + _TABLE, "labelled texts (*.csv, *.tsv, *.jsonl)")
    if parts["train"] is None:
        raise DataError(
            "there is no file of labelled texts",
            expected="*.csv, *.tsv or *.jsonl",
            got=", ".join(list(files)[:10]),
            do=sources.conversion(files),
        )
    present = {name: path for name, path in parts.items() if path is not None}
    return {name: _of_table(text_table(path, columns), columns, usual) for name, path in present.items()}


def text_table(source: object, columns: TextColumns) -> Table:
    """The table of a source, read as those settings say."""
    return open_table(source, encoding=columns.encoding, header=columns.header, decimal=columns.decimal)


def _of_table(table: Table, columns: TextColumns, usual: Mapping[str, str] | None) -> _TextPart:
    roles = text_roles(table, columns, usual=usual)
    texts, labels = _joined(table, roles.text), [label.strip() for label in table.texts(roles.label)]
    remarks = (*table.remarks, roles.remark)
    return _TextPart(texts, labels, table.place, remarks, {"text": written_names(roles.text), "label": roles.label})


def _joined(table: Table, columns: Sequence[str]) -> list[str]:
    """The texts of several columns, a line end between each two."""
    return ["\n".join(fields).strip() for fields in zip(*map(table.texts, columns), strict=True)]


def _composed(name: str, table: str) -> _TextPart:
    """The texts and labels of a table with two columns, divided by tabs, with a header."""
    (text, label), *rows = (line.split("\t") for line in table.splitlines())
    texts, labels = zip(*rows, strict=True)
    columns = {"text": text, "label": label}
    return _TextPart(texts, labels, lambda row: f"{name}, text {row}", (f"text: {text}, label: {label}",), columns)


def _in_memory(source: object, columns: TextColumns, usual: Mapping[str, str] | None) -> _TextPart:
    if is_frame(source):
        return _of_table(text_table(source, columns), columns, usual)
    pair = list(cast("Sequence[object]", source)) if isinstance(source, tuple | list) else []
    sized = len(pair) == 2 and all(hasattr(items, "__len__") and not isinstance(items, str) for items in pair)
    if not sized:
        raise DataError(
            "these are no labelled texts",
            expected="a path, a pandas DataFrame, or (texts, labels)",
            got=type(source).__name__,
        )
    texts, labels = ([str(item).strip() for item in cast("Sequence[object]", items)] for items in pair)
    if len(texts) != len(labels) or not texts:
        raise DataError("each text has a label", expected=f"{len(texts)} labels", got=str(len(labels)))
    return _TextPart(texts, labels, lambda row: f"text {row}")


def _folders(path: Path) -> dict[str, _TextPart]:
    """The parts of a folder that has a sub-folder of .txt files for each class, or of train/ and test/ with such."""
    folders = {
        name: path / word
        for name, words in _PARTS.items()
        for word in reversed(words.split("|"))  # of several the first
        if (path / word).is_dir()
    }
    inside = folders if "train" in folders else {"train": path}
    parts = {name: _class_folders(folder) for name, folder in inside.items()}
    return {name: part for name, part in parts.items() if part is not None}


def _class_folders(path: Path) -> _TextPart | None:
    folders = sorted(child for child in path.iterdir() if child.is_dir() and not child.name.startswith("."))
    files = [(folder.name, file) for folder in folders for file in sorted(folder.glob("*.txt"))]
    if not files:
        return None
    texts = ["".join(text_pieces(file)).strip() for _, file in files]
    remark = f"text: *.txt files, label: the {len({name for name, _ in files})} folders that hold them"
    return _TextPart(texts, [name for name, _ in files], lambda row: str(files[row][1]), (remark,))


def _classes(part: _TextPart) -> tuple[str, ...]:
    distinct = set(part.labels)
    if len(distinct) > min(_MOST_CLASSES, max(2, len(part.labels) // 2)):
        raise DataError(
            f"{part.place(0)}: there are {len(distinct)} different labels for {len(part.labels)} texts",
            expected="one of a few labels for each text",
            got=repr(part.labels[0][:60]),
            do="name the columns: text='...', label='...'",
            shell="name the columns: add --set text=COLUMN --set label=COLUMN",
        )
    if all(label.isascii() and label.isdecimal() for label in distinct):
        return tuple(sorted(distinct, key=int))
    return tuple(sorted(distinct))


@dataclass(frozen=True, eq=False)
class Texts:
    """Texts without labels, and what identifies each: its line, its row, or its file."""

    texts: Sequence[str]
    keys: Mapping[str, Sequence[Any]]
    remarks: tuple[str, ...] = ()


def read_texts(source: object, columns: TextColumns | None = None, usual: Mapping[str, str] | None = None) -> Texts:
    """The texts of a list or array, a table's column of texts, the lines of a .txt file, or a folder of .txt files.

    A table's column is `columns.text`, or that of the training data (`usual`), or inferred; labels are not read.
    """
    columns = columns or TextColumns()
    if not is_frame(source) and hasattr(source, "__len__") and not isinstance(source, str | bytes):
        texts = _checked_texts(source)
        return Texts(texts, {"line": range(1, len(texts) + 1)})
    if not is_frame(source):
        path = existing_path(source, "labelled texts")
        if path.is_dir():
            files = sorted(file for file in path.rglob("*.txt") if file.is_file())
            if not files:
                raise DataError(f"{path} holds no .txt files", do="give a table, a .txt file or a folder of such")
            texts = ["".join(text_pieces(file)).strip() for file in files]
            return Texts(texts, {"file": [str(file.relative_to(path)) for file in files]})
        if not columns.text and path.name.lower().removesuffix(".gz").endswith(".txt"):
            lines = enumerate("".join(text_pieces(path)).split("\n"), 1)
            present = {number: text for number, line in lines if (text := line.strip())}
            return Texts([*present.values()], {"line": [*present]})
    table = text_table(source, columns)
    roles = text_roles(table, columns, labelled=False, usual=usual)
    keys = {table.place_word: [table.line(row) for row in range(len(table))]}
    trained = (usual or {}).get("text") or ""
    is_other = bool(trained) and written_names(roles.text) not in (columns.text, trained)
    return Texts(_joined(table, roles.text), keys, (*table.remarks, *((roles.remark,) if is_other else ())))


def _checked_texts(source: object) -> list[str]:
    """The texts of a list, an array or a pandas Series; anything else is refused, not written as a text."""
    wrong, texts = "", list[object]()
    if isinstance(source, Mapping | set | frozenset | bytearray | memoryview):
        wrong = type(source).__name__
    else:
        texts = list(cast("Sequence[object]", source))
        others = (place for place, text in enumerate(texts) if not isinstance(text, str))
        if (other := next(others, None)) is not None:
            wrong = f"{type(texts[other]).__name__} as text {other + 1}: {reprlib.repr(texts[other])}"
    if wrong:
        expected = "a path, a pandas DataFrame, or a list, array or pandas Series of strings"
        raise DataError("these are no texts", expected=expected, got=wrong)
    return cast("list[str]", texts)


def decoded_texts(part: LabelledSequences) -> list[str]:
    """Texts of UTF-8 bytes as strings."""
    return list(_decoded(part.sequences))


def _decoded(texts: Ragged) -> Iterator[str]:
    return (texts[place].tobytes().decode() for place in range(len(texts)))


def count_words(texts: Ragged, divide: Tokeniser) -> Counter[str]:
    """How often each word occurs in those texts."""
    return Counter(word for text in _decoded(texts) for word in divide(text))


def encode_texts(texts: LabelledSequences, divide: Tokeniser, vocabulary: WordVocabulary) -> LabelledSequences:
    """The same texts as numbers of words, each (words,); a text without a word becomes one "<unk>"."""
    symbols = [vocabulary.encode(divide(text) or [UNKNOWN]) for text in _decoded(texts.sequences)]
    return LabelledSequences(Ragged.join(symbols), texts.labels, texts.classes)
