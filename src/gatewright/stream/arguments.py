"""Reads and checks the arrays and dtypes that a stream is given."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from gatewright.axes import show_shape
from gatewright.backends.llvm.emit.vector_type import Products
from gatewright.errors import OptionError, ShapeError
from gatewright.stream.numpy_arrays import Array

DTYPES = ("float32", "float64")
WEIGHTS: Mapping[str, Products] = {"float32": None, "bfloat16": "bfloat16", "int8": "int8"}
"""What matrices may be kept in, and the products of the engine that computes with them."""


def common_dtype(arrays: Sequence[Array], asked: DTypeLike | None) -> np.dtype[Any]:
    """The dtype to compute in: `asked`, or that of the parameters where it is None.

    Raises OptionError unless it is float32 or float64.
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


def products_of(weights: str, dtype: np.dtype[Any]) -> Products:
    """How the engine multiplies by matrices in `weights`, of which "float32" means those in the stream's dtype.

    Raises OptionError for other weights, and for those that are summed up in float32 in a stream of float64.
    """
    if weights not in WEIGHTS:
        raise OptionError("a stream cannot have these weights", expected=", ".join(WEIGHTS), got=repr(weights))
    products = WEIGHTS[weights]
    if products and dtype.name != "float32":
        raise OptionError(
            f"a stream with weights={weights!r} computes in float32",
            expected="parameters in float32",
            got=dtype.name,
            do="pass dtype='float32' too",
        )
    return products


def as_numbers(values: ArrayLike, dtype: np.dtype[Any], caller: str) -> Array:
    """Convert numbers of any real dtype to an array of `dtype`; `caller` is named in errors.

    Raises ShapeError for values that are no array of real numbers.
    """
    try:
        array = np.asarray(values)
        kind = array.dtype.name
    except ValueError:  # rows of different lengths
        array, kind = np.empty(0, object), "rows of different lengths"
    if array.dtype.kind not in "fiub":
        raise ShapeError(
            f"{caller} was given what is not an array of real numbers",
            expected=f"numbers, which are taken as {dtype}",
            got=kind,
        )
    return array.astype(dtype, copy=False)


def as_marks(values: ArrayLike, shape: tuple[int, ...], caller: str, argument: str) -> Array:
    """Where numbers of any real dtype are not 0, as an array of bool; `caller` and `argument` are named in errors.

    Raises ShapeError unless they have this shape.
    """
    marks = as_numbers(values, np.dtype("float64"), caller)
    if marks.shape != shape:
        raise ShapeError(
            f"{caller} was given {argument} in a shape that does not fit",
            expected=f"{shape}: where it is not 0, states start anew",
            got=str(marks.shape),
        )
    return marks != 0


def shape_error(caller: str, leading: tuple[str, ...], fitting: tuple[int, ...], got: tuple[int, ...]) -> ShapeError:
    """The error for an input of another shape than (*leading, batch, input); `fitting` are batch and input."""
    batch, size = fitting
    wanted = show_shape((*leading, "batch", "input")) + " with " + f"batch = {batch}, input = {size}"
    if batch == 1:
        wanted += f"; or {show_shape((*leading, 'input'))}".replace(",)", ")")
    is_other_batch = len(got) == len(leading) + 2 and got[-1] == size
    return ShapeError(
        f"{caller} was given an input whose shape does not fit",
        expected=wanted,
        got=str(got),
        do=f"open the stream with batch={got[-2]}" if is_other_batch else None,
    )
