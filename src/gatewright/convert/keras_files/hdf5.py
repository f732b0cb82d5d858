"""HDF5 files of Keras, read with h5py alone. No size that a file states is trusted.

Links that leave the place where they lie, arrays that are made of other files, and arrays that would need more memory
than a few times the file are refused, before anything is read.
"""

import io
import mmap
from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.convert.files import check_finite
from gatewright.convert.keras_files.hdf5_bytes import Content, check_lengths, largest_heap
from gatewright.convert.refusals import read_whole
from gatewright.errors import ConversionError
from gatewright.untrusted.unpacking import WEIGHTS_LIMIT

MOST_NAMES = 100_000
MOST_TEXT = 1 << 28  # of all texts in one list, in bytes
_FILTERS = {1: "gzip", 2: "shuffle", 3: "fletcher32"}  # those that every HDF5 library has


@dataclass
class _ReadBudget:
    """How much of a file may be read; its length stands for all that it can honestly hold."""

    path: Path
    content: Content
    longest: int  # text of varying length
    spent: int = 0

    def spend(self, what: str, amount: int) -> None:
        self.spent += amount
        if self.spent > WEIGHTS_LIMIT.ratio * len(self.content):
            raise ConversionError(
                f"{self.path}: {what} says that it is larger than it can be",
                expected=f"at most {WEIGHTS_LIMIT.ratio} times the file's {len(self.content):,} bytes in all",
                got=f"{amount:,} bytes",
                do="save the weights again without compression",
            )


class HdfGroup:
    """A group of an HDF5 file."""

    def __init__(self, group: Any, budget: _ReadBudget, h5py: Any) -> None:
        self._group, self._budget, self._h5py = group, budget, h5py

    @property
    def where(self) -> str:
        """The file and the group, as errors name them."""
        name = self._group.name or "/"
        return f"{self._budget.path}" + (f", group {name}" if name != "/" else "")

    def names(self) -> list[str]:
        """The names in the group."""
        if len(self._group) > MOST_NAMES:
            raise ConversionError(f"{self.where} holds {len(self._group):,} names", expected=f"at most {MOST_NAMES:,}")
        return list(self._group)

    def group(self, path: str) -> "HdfGroup | None":
        """The group of that name below this one, or None."""
        member = self._member(path)
        return HdfGroup(member, self._budget, self._h5py) if isinstance(member, self._h5py.Group) else None

    def array(self, path: str) -> NDArray[Any]:
        """The array of that name."""
        member = self._member(path)
        if not isinstance(member, self._h5py.Dataset):
            raise ConversionError(f"{self.where} has no array {path!r}", got=", ".join(self.names()[:12]) or "nothing")
        self._check(member, path)
        array = member[()]
        check_finite(self._budget.path, str(member.name), array)
        return array

    def labelled(self, name: str) -> bool:
        """Whether the group has that attribute."""
        return name in self._group.attrs

    def text(self, name: str) -> str | None:
        """A text that the group is labelled with, or None."""
        texts = self._attribute(name)
        return texts[0] if texts is not None and len(texts) == 1 else None

    def texts(self, name: str) -> list[str] | None:
        """A list of texts that the group is labelled with, in one piece or in numbered ones, or None."""
        whole = self._attribute(name)
        if whole is not None:
            return whole
        pieces: list[str] = []
        for index in range(MOST_NAMES):
            piece = self._attribute(f"{name}{index}")
            if piece is None:
                return pieces if index else None
            pieces += piece
        return pieces

    def _attribute(self, name: str) -> list[str] | None:
        """The texts of an attribute; None where it holds none. A list that could repeat one long text is refused."""
        if name not in self._group.attrs:
            return None
        identity = self._group.attrs.get_id(name)
        kind, count = identity.get_type(), prod(identity.shape)
        if count == 0:
            return []  # an empty list is saved as one of numbers
        if not isinstance(kind, self._h5py.h5t.TypeStringID):
            return None
        self._budget.spend(f"attribute {name!r}", count * kind.get_size())
        if kind.is_variable_str():
            check_lengths(self._budget.path, self._budget.content, name, self._budget.longest)
        if kind.is_variable_str() and count > 1 and count * self._budget.longest > MOST_TEXT:
            raise ConversionError(
                f"{self.where}: attribute {name!r} is a list of texts that could be larger than its file",
                expected=f"at most {MOST_TEXT:,} bytes",
            )
        texts = np.asarray(self._group.attrs[name]).ravel().tolist()
        return [text.decode("utf-8") if isinstance(text, bytes) else str(text) for text in texts]

    def _member(self, path: str) -> Any:
        """The member at a path. Every step must be a plain link within the file."""
        member = self._group
        for step in path.strip("/").split("/"):
            if not isinstance(member, self._h5py.Group) or step in ("", ".", "..") or step not in member:
                return None
            if not isinstance(member.get(step, getlink=True), self._h5py.HardLink):
                raise ConversionError(
                    f"{self.where}: {path!r} is a link to another place",
                    expected="weights that lie in the file itself",
                    do="save the weights again with Keras",
                )
            member = member[step]
        return member

    def _check(self, dataset: Any, path: str) -> None:
        """Refuse an array that is not simply there, or is larger than its file can hold."""
        if dataset.is_virtual or dataset.external:
            raise ConversionError(
                f"{self.where}: array {path!r} is made of other files", expected="numbers in the file itself"
            )
        if dataset.dtype.kind not in "fiub":
            raise ConversionError(f"{self.where}: array {path!r} holds no numbers", got=str(dataset.dtype))
        settings = dataset.id.get_create_plist()
        filters = [settings.get_filter(index)[0] for index in range(settings.get_nfilters())]
        unknown = [str(number) for number in filters if number not in _FILTERS]
        if unknown:
            raise ConversionError(
                f"{self.where}: array {path!r} is packed in a way that needs a plug-in",
                expected=", ".join(_FILTERS.values()),
                got=f"filter {', '.join(unknown)}",
            )
        piece = prod(dataset.chunks or ()) * dataset.dtype.itemsize  # read as a whole, whatever the array's size
        self._budget.spend(f"array {path!r}", max(dataset.size * dataset.dtype.itemsize, piece))
        if not filters and dataset.id.get_storage_size() < dataset.size * dataset.dtype.itemsize:
            raise ConversionError(
                f"{self.where}: array {path!r} says that it is larger than it is",
                expected=f"shape {dataset.shape} of {dataset.dtype}",
                got=f"{dataset.id.get_storage_size():,} bytes",
            )


@contextmanager
def opened(path: Path, content: bytes | None = None) -> Generator[HdfGroup]:
    """The root of an HDF5 file, or of one that lies in another file."""
    h5py = library(path)
    complete = read_whole(path, "a complete HDF5 file of Keras")
    with complete, _bytes_of(path) if content is None else nullcontext(content) as raw:
        budget = _ReadBudget(path, raw, largest_heap(path, raw))  # looks at heaps of texts before the library does
        with h5py.File(path if content is None else io.BytesIO(content), "r") as file:
            yield HdfGroup(file, budget, h5py)


def library(path: Path) -> Any:
    """h5py."""
    try:
        import h5py
    except ImportError as error:
        raise ConversionError(
            f"{path} is an HDF5 file, and h5py is not installed", do="pip install 'gatewright[keras]'"
        ) from error
    return h5py


@contextmanager
def _bytes_of(path: Path) -> Generator[Content]:
    if not path.stat().st_size:
        yield b""
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        yield mapped
