"""Texts: read exactly or piece by piece, cleaned on request, and split."""

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import DataError, OptionError
from gatewright.tasks.data.published import sources
from gatewright.tasks.data.published.locate import locate
from gatewright.tasks.data.published.sources import Source, existing_path, named_data_set
from gatewright.tasks.data.ragged import Splits
from gatewright.tasks.data.reading import Whole, member_names, member_pieces, text_pieces

Tokens = NDArray[np.integer[Any]]
Pieces = Callable[[], Iterator[str]]  # from the beginning, each time it is called

_NAMES = {"train": "train", "valid": "valid(ation)?|dev", "test": "test"}
_ARCHIVE = r".*\.(tgz|tar|tar\.gz)"


def read_text(name_or_path: Source) -> str:
    """The text of a data set, by its name, or of a file, by its path.

    A name wins over a file that is called the same; `./name` is always the file. The bytes are unpacked if they are
    gzip, and decoded as UTF-8, without a byte order mark. Nothing else is done to them: "\\r\\n" stays two characters.
    An empty file, a folder, bytes that are not UTF-8, and NULs, which UTF-16 has, are errors.
    """
    return "".join(text_source(name_or_path)())


def only_letters(text: str) -> str:
    """The cleaning of Dive into Deep Learning: lower-case letters of English and single spaces.

    In each line every run of other characters becomes one space, the line's ends are stripped, and the lines
    are joined with nothing between them, as that book does it (so a line's last word touches the next line's
    first).
    """
    lines = re.finditer(r"[^\r\n]+", text)
    return "".join(re.sub("[^A-Za-z]+", " ", line.group()).strip().lower() for line in lines)


CLEANINGS: dict[str, Callable[[str], str]] = {"none": str, "d2l": only_letters}


def clean(text: str, how: str = "none") -> str:
    """The text after the cleaning of that name: "none", or "d2l" (see only_letters)."""
    if how not in CLEANINGS:
        raise OptionError(
            f"there is no cleaning named {how!r}", expected="one of " + ", ".join(CLEANINGS), got=repr(how)
        )
    return CLEANINGS[how](text)


def split(tokens: Tokens, *, validation: float = 0.05, test: float = 0.05) -> Splits[Tokens]:
    """Cut a sequence into train, validation and test: the last fractions are held out, and all are views."""
    for name, fraction in (("validation", validation), ("test", test)):
        if not 0 <= fraction < 1:
            raise OptionError(f"{name} is a fraction of the text", expected="0 <= fraction < 1", got=repr(fraction))
    held_out, last = round(len(tokens) * (validation + test)), round(len(tokens) * test)
    train_end, test_start = len(tokens) - held_out, len(tokens) - last
    if train_end <= 0:
        raise OptionError(
            "nothing is left to train on",
            expected="validation + test below 1, and a text long enough for them",
            got=f"validation={validation}, test={test}, {len(tokens)} tokens",
        )
    return Splits(tokens[:train_end], tokens[train_end:test_start], tokens[test_start:])


def text_source(source: Source, whole: Whole = "lines") -> Pieces:
    """The pieces of one text: of a data set's, or of a file's."""
    row = named_data_set(source, "text")
    if row is not None and row.compose is not None:
        compose = row.compose
        return lambda: iter([compose()])
    path = existing_path(source, "text") if row is None else locate(row.name)
    if path.is_dir():
        raise DataError(f"{path} is a folder", expected="a text file", do="name one file in it")
    return partial(text_pieces, path, whole)


def parted_sources(source: Source, whole: Whole = "lines") -> Splits[Pieces] | None:
    """The pieces of a text that comes in three parts; None where it is one.

    Parts are those of a data set of words, the files *.train.txt, *.valid.txt and *.test.txt of a folder, or such files
    in a tar archive, as in Mikolov's simple-examples.tgz.
    """
    row = named_data_set(source, "words", "text")
    if row is not None and row.kind == "text":
        return None
    files = sources.files_of(source, "words", "text")
    archive = sources.optional_file(files, _ARCHIVE, "texts (*.tgz)")
    if archive is not None:
        return _members(archive, whole)
    if row is None and not existing_path(source).is_dir():
        return None
    parts = [
        sources.required_file(
            files, rf"(.*[._-])?({pattern})\.(txt|tokens)", f"the part {name!r} (such as ptb.{name}.txt)"
        )
        for name, pattern in _NAMES.items()
    ]
    return Splits(*(partial(text_pieces, path, whole) for path in parts))


def _members(archive: Path, whole: Whole) -> Splits[Pieces]:
    listed, parts = member_names(archive), list[Pieces]()
    for name, pattern in _NAMES.items():
        # the shortest: ptb.train.txt, not ptb.char.train.txt
        fitting = sorted((member for member in listed if re.search(rf"(^|[/._-])({pattern})\.txt$", member)), key=len)
        if not fitting:
            raise DataError(f"{archive} has no part {name!r}", expected=f"a member such as ptb.{name}.txt")
        parts.append(partial(member_pieces, archive, fitting[0], whole))
    return Splits(*parts)
