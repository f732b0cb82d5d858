"""Digests of data in memory: a resumed run checks that its data is still the same."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from gatewright.errors import DataError
from gatewright.tasks.data.ragged import LabelledSequences


def digest(source: object) -> str:
    """A SHA-256 of what arrays, DataFrames, texts, numbers, and lists or mappings of these hold.

    Raises DataError for an object with content that cannot be read.
    """
    state = hashlib.sha256()
    _add(state, source)
    return state.hexdigest()


def digest_of_labelled(parts: Iterable[LabelledSequences | None]) -> str:
    """The same of sequences and their labels, part by part."""
    present = [part for part in parts if part is not None]
    return digest([[part.sequences.lengths, part.sequences.compact().values, part.labels] for part in present])


def _add(state: Any, source: object) -> None:
    """Hash the type and size before the content, so that two different sources never hash the same bytes."""
    if isinstance(source, str | bytes):
        content = source.encode("utf-8", "surrogatepass") if isinstance(source, str) else source
        _write(state, type(source).__name__, str(len(content)), content)
    elif isinstance(source, Mapping):
        _write(state, "mapping", str(len(source)))
        for key, value in source.items():
            _add(state, key)
            _add(state, value)
    elif isinstance(source, list | tuple):
        _write(state, "list", str(len(source)))
        for item in source:
            _add(state, item)
    elif hasattr(source, "iloc"):
        _add_pandas(state, source)
    elif source is None or isinstance(source, bool | int | float):
        _write(state, type(source).__name__, repr(source))
    else:
        _add_array(state, source)


def _add_pandas(state: Any, source: Any) -> None:
    from pandas import util

    tools: Any = util  # its types are not known
    try:
        rows = tools.hash_pandas_object(source, index=True)
    except TypeError as error:
        raise DataError("a column of the DataFrame holds objects that are no values", got=str(error)) from error
    names: list[Any] = list(source.columns) if hasattr(source, "columns") else [source.name]
    _write(state, "table", repr([str(name) for name in names]), str(len(source)))
    _write(state, rows.to_numpy().tobytes())


def _add_array(state: Any, source: object) -> None:
    array = np.asarray(source)
    if array.dtype == object:
        if array.ndim == 0:
            raise DataError(
                f"data in memory cannot be an object of the type {type(source).__name__}",
                expected="a pandas DataFrame, arrays, texts, or lists of these",
            )
        _write(state, "objects", repr(array.shape))
        for item in array.reshape(-1).tolist():
            _add(state, item)
    else:
        _write(state, array.dtype.str, repr(array.shape), np.ascontiguousarray(array).tobytes())


def _write(state: Any, *parts: str | bytes) -> None:
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        state.update(content + b"\0")
