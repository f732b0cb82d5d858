"""Sources of texts that are read piece by piece, as often as needed."""

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from gatewright.errors import DataError
from gatewright.tasks.data.published import sources
from gatewright.tasks.data.published.locate import locate
from gatewright.tasks.data.published.sources import Source, existing_path, named_data_set
from gatewright.tasks.data.ragged import Splits
from gatewright.tasks.data.reading import Whole, member_names, member_pieces, text_pieces

Pieces = Callable[[], Iterator[str]]  # from the beginning, each time it is called

_NAMES = {"train": "train", "valid": "valid(ation)?|dev", "test": "test"}
_ARCHIVE = r".*\.(tgz|tar|tar\.gz)"


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
