"""Where the files of a data set lie on this machine; a missing one is downloaded, every one is verified."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import platformdirs

from gatewright.errors import DataError
from gatewright.tasks.data.published.data_set import DataFile, DataSet
from gatewright.tasks.data.published.registry import data_set

FOLDER_VARIABLE = "GATEWRIGHT_DATA"


def locate(name: str, file: str | None = None) -> Path:
    """The path of one file of the data set `name`; `file` may be left out where the data set has only one.

    It is looked for in the folder that the environment variable GATEWRIGHT_DATA names, as `<name>/<file>` or
    as `<file>`; then in the user's cache folder; if it is in neither it is downloaded into the cache. Its
    sha256 is verified each time. Another packing of it that is found serves as well. A missing folder, a corrupt
    file or a failed download is a DataError that says where the file belongs, and where it can be had by hand.
    """
    row = data_set(name)
    wanted = _file_of(row, file)
    wrong: list[Path] = []
    for packing in (wanted, *wanted.instead):
        for place in filter(Path.is_file, _places(row, packing)):
            if place.stat().st_size == packing.size and _sha256(place) == packing.sha256:
                return place
            wrong.append(place)
    if wrong:
        raise DataError(
            f"data set {row.name!r}: the file {wrong[0]} is not the published one",
            expected=f"{wanted.size} bytes with sha256 {wanted.sha256}",
            got=f"{wrong[0].stat().st_size} bytes with sha256 {_sha256(wrong[0])}",
            do=f"delete it to have it downloaded again, or replace it by {wanted.url}",
        )
    return _download(row, wanted)


def cache_folder() -> Path:
    """The folder that downloads go into."""
    return Path(platformdirs.user_cache_dir("gatewright")) / "data"


def _file_of(row: DataSet, file: str | None) -> DataFile:
    names = ", ".join(data_file.name for data_file in row.files)
    if not row.files:
        raise DataError(f"data set {row.name!r} has no files", do="read its text with read_text")
    if file is None and len(row.files) > 1:
        raise DataError(f"data set {row.name!r} has several files", expected=f"the name of one: {names}")
    for data_file in row.files:
        if file in (None, data_file.name):
            return data_file
    raise DataError(f"data set {row.name!r} has no file {file!r}", expected=f"one of {names}")


def _places(row: DataSet, wanted: DataFile) -> Iterator[Path]:
    folder = _given_folder()
    if folder is not None:
        yield from (folder / name / wanted.name for name in row.folders)
        yield folder / wanted.name
    yield cache_folder() / row.name / wanted.name


def _given_folder() -> Path | None:
    named = os.environ.get(FOLDER_VARIABLE)
    if not named:
        return None
    folder = Path(named).expanduser()
    if not folder.is_dir():
        raise DataError(
            f"the environment variable {FOLDER_VARIABLE} does not name a folder",
            expected="a folder that holds data sets as <name>/<file>",
            got=str(folder),
            do="create the folder, or unset the variable",
        )
    return folder


def _sha256(path: Path) -> str:
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _download(row: DataSet, wanted: DataFile) -> Path:
    target = cache_folder() / row.name / wanted.name
    try:
        import pooch

        # Read in one piece: pooch leaves the connection of a failed stream open.
        fetch: Any = pooch.HTTPDownloader(timeout=30, stream=False)
        pooch.retrieve(wanted.url, f"sha256:{wanted.sha256}", target.name, target.parent, downloader=fetch)
    except (ImportError, OSError, ValueError) as error:
        raise _missing(row, wanted, target, error) from error
    return target


def _missing(row: DataSet, wanted: DataFile, target: Path, error: Exception) -> DataError:
    folder = _given_folder()
    place = target if folder is None else folder / row.name / wanted.name
    by_hand = f"download {wanted.url} by hand and put it at {place}"
    if folder is None:
        by_hand += f", or anywhere as <folder>/{row.name}/{wanted.name} with {FOLDER_VARIABLE}=<folder> set"
    if isinstance(error, ImportError):
        got = "the package pooch, which downloads it, is not installed"
        by_hand = f'pip install "gatewright[train]"; or {by_hand}'
    else:
        got = f"{type(error).__name__}: {error}"
    return DataError(
        f"data set {row.name!r}: the file {wanted.name} is not on this machine and could not be downloaded",
        expected=f"{wanted.size} bytes with sha256 {wanted.sha256}, from {wanted.url}",
        got=got,
        do=by_hand,
    )
