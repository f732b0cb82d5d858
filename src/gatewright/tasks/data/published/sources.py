"""The files of a data set, by its name or by the path of the user's own."""

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from gatewright.errors import DataError
from gatewright.tasks.data.published.data_set import DataSet, Kind
from gatewright.tasks.data.published.locate import locate
from gatewright.tasks.data.published.registry import find_data_set, known_names, suggestion

Source = object
"""What data is read from: the name of a data set, a path, or an object in memory where the reader takes one."""
IN_MEMORY = "data in memory"
"""What a run and a model keep for the source of data that was handed over as an object."""
Files = Mapping[str, Path]


def named_data_set(source: Source, *kinds: Kind) -> DataSet | None:
    """The data set of that name, which has to be of one of those kinds; None where the source is a path.

    A name wins over a file that is called the same; `./name` is always the file.
    """
    row = find_data_set(source) if isinstance(source, str) else None
    if row is not None and row.kind not in kinds:
        raise DataError(
            f"data set {row.name!r} is of another kind",
            expected=f"{' or '.join(kinds)}: {known_names(*kinds)}, or a path",
            got=row.kind,
        )
    return row


def source_name(source: Source) -> str:
    """A name or path as text, and `IN_MEMORY` for any other object: for messages, and for what a run keeps."""
    return os.fspath(source) if isinstance(source, str | os.PathLike) else IN_MEMORY


def path_of(source: Source, *kinds: Kind) -> Path:
    """The path that a source is; a DataError for an object in memory, which the reader does not take."""
    if not isinstance(source, str | os.PathLike):
        raise DataError(
            f"this data cannot be read from an object of the type {type(source).__name__}",
            expected=f"{known_names(*kinds)}, or a path",
        )
    return Path(source).expanduser()


def existing_path(source: Source, *kinds: Kind) -> Path:
    """The path of a file or folder that is there."""
    path = path_of(source, *kinds)
    try:
        present = path.exists()
    except OSError as error:  # a name that is too long, or a folder that may not be looked into
        raise DataError(f"{str(source)[:80]!r} cannot be read", got=error.strerror) from error
    if not present:
        raise DataError(
            f"{str(source)!r} is neither a data set nor a file",
            expected=f"{known_names(*kinds)}, or a path",
            do=suggestion(str(source), *kinds),
        )
    return path


def files_of(source: Source, *kinds: Kind) -> Files:
    """The files of a data set, of a folder, or that one file, each by its name."""
    row = named_data_set(source, *kinds)
    if row is not None:
        located = [locate(row.name, file.name) for file in row.files]
        return {path.name: path for path in located}
    path = existing_path(source, *kinds)
    if not path.is_dir():
        return {path.name: path}
    files = {file.name: file for file in sorted(path.iterdir()) if file.is_file() and not file.name.startswith(".")}
    if not files:
        raise DataError(f"the folder {path} holds no files")
    return files


_CONVERSIONS = {
    (".xlsx", ".xls", ".xlsm", ".ods", ".numbers"): "save the sheet as a CSV file, and give that",
    (".json",): "write a JSON object a line, and name the file .jsonl",
    (".pdf", ".docx", ".doc", ".odt", ".rtf", ".html"): "save its text as a .txt or .csv file, and give that",
}


def conversion(files: Iterable[str]) -> str | None:
    """What to do with files of a format that no recipe reads; None where there are others too."""
    suffixes = {Path(name).suffix.lower() for name in files}
    return next((advice for known, advice in _CONVERSIONS.items() if suffixes and suffixes <= {*known}), None)


def required_file(files: Files, pattern: str, meaning: str) -> Path:
    """The one file with a name that matches the whole pattern, ignoring case. Raises DataError for none or several."""
    file = optional_file(files, pattern, meaning)
    if file is None:
        raise DataError(f"there is no file of {meaning}", got=", ".join(list(files)[:10]), do=conversion(files))
    return file


def optional_file(files: Files, pattern: str, meaning: str) -> Path | None:
    """The file that `required_file` finds; None where there is none."""
    fitting = [name for name in files if re.fullmatch(pattern, name, re.IGNORECASE)]
    if len(fitting) > 1:
        raise DataError(f"there are several files of {meaning}", got=", ".join(fitting), do="leave one")
    return files[fitting[0]] if fitting else None
