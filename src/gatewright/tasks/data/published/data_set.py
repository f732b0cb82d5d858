"""A data set as a row of the registry: its files, their URLs, sizes and checksums."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["text", "words", "labelled texts", "images", "piano rolls", "labelled series", "series", "tagged texts"]


@dataclass(frozen=True)
class DataFile:
    """One file of a data set: its URL, size and checksum.

    `instead` are other files with the same data, such as a smaller archive. They are used if present, never downloaded.
    """

    name: str
    url: str
    sha256: str
    size: int  # bytes
    instead: tuple["DataFile", ...] = ()


@dataclass(frozen=True)
class DataSet:
    """One data set.

    `aliases` are further names for it, also for the folder that its files lie in; `folder` is a further name for
    that folder alone, which several sets may share. A data set without files makes its text itself, by `compose`.
    """

    name: str
    about: str
    licence: str
    files: tuple[DataFile, ...] = ()
    aliases: tuple[str, ...] = ()
    compose: Callable[[], str] | None = None
    kind: Kind = "text"
    folder: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The name and the aliases."""
        return (self.name, *self.aliases)

    @property
    def folders(self) -> tuple[str, ...]:
        """The names that a folder of its files may have."""
        return self.names if self.folder is None else (*self.names, self.folder)


def published(
    kind: Kind, name: str, about: str, licence: str, folder_url: str, *files: tuple[str, int, str], **names: Any
) -> DataSet:
    """A data set with files (name, size, sha256) that are published in one folder; `names` are further fields."""
    located = tuple(DataFile(file, f"{folder_url}/{file}", sha256, size) for file, size, sha256 in files)
    return DataSet(name, about, licence, located, kind=kind, **names)
