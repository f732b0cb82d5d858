"""What a stream is given, read and checked."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from gatewright.axes import show_shape
from gatewright.errors import OptionError, ShapeError
from gatewright.stream.numpy_arrays import Array

DTYPES = ("float32", "float64")


def common_dtype(arrays: Sequence[Array], asked: DTypeLike | None) -> np.dtype[Any]:
    """The dtype to compute with: the one that was asked for, or that of the parameters.

    Raises OptionError for one that the kernels do not have.
    """
    try:
        dtype = np.result_type(*arrays) if asked is None else np.dtype(asked)
    except TypeError:
        dtype = None
    if dtype is None or dtype.name not in DTYPES:
        raise OptionError(
            "the parameters have a dtype that no stream has" if asked is None else "a stream cannot have this dtype",
            expected=" or ".join(DTYPES),
            got=repr(asked) if dtype is None else dtype.name,
            do="pass dtype='float32' to convert the parameters" if asked is None else None,
        )
    return np.dtype(dtype.name)


def as_numbers(values: ArrayLike, dtype: np.dtype[Any], who: str) -> Array:
    """Anything that holds real numbers, as an array of the stream's dtype.

    Raises ShapeError for what does not.
    """
    try:
        array = np.asarray(values)
        kind = array.dtype.name
    except ValueError:  # rows of different lengths
        array, kind = np.empty(0, object), "rows of different lengths"
    if array.dtype.kind not in "fiub":
        raise ShapeError(
            f"{who} was given what is not an array of real numbers",
            expected=f"numbers, which are taken as {dtype}",
            got=kind,
        )
    return array.astype(dtype, copy=False)


def shape_error(who: str, leading: tuple[str, ...], rows: tuple[int, ...], got: tuple[int, ...]) -> ShapeError:
    """What to say of an input whose shape does not fit (*leading, batch, input)."""
    batch, size = rows
    wanted = show_shape((*leading, "batch", "input")) + " with " + f"batch = {batch}, input = {size}"
    if batch == 1:
        wanted += f"; or {show_shape((*leading, 'input'))}".replace(",)", ")")
    more = len(got) == len(leading) + 2 and got[-1] == size
    return ShapeError(
        f"{who} was given an input whose shape does not fit",
        expected=wanted,
        got=str(got),
        do=f"open the stream with batch={got[-2]}" if more else None,
    )
