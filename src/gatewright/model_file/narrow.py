"""Matrices that a model file keeps in fewer bits: how they lie in it, and what they stand for.

In memory such a matrix is float32, with the values that the file stands for. They are exact: saving a model that was
loaded gives the same file, and a stream of the same weights reads the same whole numbers.

- "int8": whole numbers from -127 to 127, and a scale for each row in a tensor of its own, `NAME.scales`. A scale has 17
  bits, so that its product with each of the numbers is a float32 number.
- "bfloat16": the upper half of float32 numbers, as uint16.
"""

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from gatewright.int8 import LARGEST

Array = NDArray[Any]
KINDS = ("int8", "bfloat16")
SCALES = ".scales"
_SCALE_BITS = 17  # 24 of float32 without the 7 of a whole number
_LEAST_SCALE = 2.0**-110
"""Rows of still smaller numbers are rounded to multiples of it: products with a smaller scale may not be exact."""
_HALF = np.uint32(0x7FFF)


def rounded(matrix: Array, kind: str) -> Array:
    """The matrix in float32, with the values that a file of that kind stands for."""
    return _values(_stored(matrix, kind))


def stored(name: str, matrix: Array, kind: str) -> dict[str, Array]:
    """The tensors of a file that stand for a matrix, by their names.

    Raises ValueError, which says why there are none.
    """
    if kind not in KINDS:
        raise ValueError(f"tensor {name!r} cannot be kept in {kind!r}")
    if matrix.dtype != np.float32 or matrix.ndim != 2:
        raise ValueError(f"tensor {name!r} is no matrix in float32, and cannot be kept in {kind}")
    if not np.isfinite(matrix).all():
        raise ValueError(f"tensor {name!r} has numbers that are not finite, and cannot be kept in {kind}")
    numbers, *scales = _stored(matrix, kind)
    if not np.isfinite(_values((numbers, *scales))).all():
        raise ValueError(f"tensor {name!r} has numbers that are too large to be kept in {kind}")
    return {name: numbers} | ({name + SCALES: scales[0]} if scales else {})


def exact_int8(matrix: Array) -> tuple[Array, Array] | None:
    """The whole numbers and row scales whose products are exactly this matrix; None where there are none."""
    if matrix.ndim != 2 or not np.isfinite(matrix).all():
        return None
    parts = _stored(matrix.astype(np.float32), "int8")
    return (parts[0], parts[1]) if np.array_equal(_values(parts), matrix) else None


def read(listed: object, tensors: Mapping[str, Array]) -> tuple[dict[str, Array], dict[str, str]]:
    """The tensors of a file with float32 matrices in place of those that it lists, and the kind of each of these.

    `listed` is part of the file's description. Raises ValueError, which says what is wrong with it.
    """
    kinds = _kinds(listed)
    values = dict(tensors)
    for name, kind in kinds.items():
        values[name] = _checked(name, kind, tensors)
        if kind == "int8":
            values.pop(name + SCALES)
    return values, kinds


def by_kind(kinds: Mapping[str, str]) -> dict[str, list[str]]:
    """What the description lists: the names of each kind."""
    return {kind: names for kind in KINDS if (names := sorted(name for name, own in kinds.items() if own == kind))}


def _stored(matrix: Array, kind: str) -> tuple[Array, ...]:
    if kind == "bfloat16":
        bits = np.ascontiguousarray(matrix, np.float32).view(np.uint32)
        return (((bits + _HALF + ((bits >> 16) & 1)) >> 16).astype(np.uint16),)
    largest = np.abs(matrix).max(axis=1, initial=0.0)
    scales = np.where(largest == 0, 1.0, largest / LARGEST).astype(np.float32)
    mantissa, exponent = np.frexp(np.maximum(scales, _LEAST_SCALE).astype(np.float64))
    short = np.ldexp(np.ceil(np.ldexp(mantissa, _SCALE_BITS)), exponent - _SCALE_BITS)  # up: no number exceeds 127
    numbers = np.rint(matrix / short[:, None].astype(np.float64))
    return numbers.astype(np.int8), short.astype(np.float32)


def _values(parts: tuple[Array, ...]) -> Array:
    numbers, *scales = parts
    if not scales:
        return (numbers.astype(np.uint32) << 16).view(np.float32)
    with np.errstate(over="ignore"):
        return scales[0][:, None] * numbers


def _kinds(listed: object) -> dict[str, str]:
    """The kind of each matrix by its name."""
    entries = cast("dict[object, object]", listed) if isinstance(listed, dict) else {}
    kinds: dict[str, str] = {}
    for kind, names in entries.items():
        if kind not in KINDS or not isinstance(names, list):
            raise ValueError(f"matrices in {str(kind)[:40]!r}, which this version does not know")
        for name in cast("list[object]", names):
            if type(name) is not str or name in kinds:
                raise ValueError(f"the matrices in {kind} are no list of different names")
            kinds[name] = kind
    if not kinds:
        raise ValueError("it lists no matrices in fewer bits")
    return kinds


def _checked(name: str, kind: str, tensors: Mapping[str, Array]) -> Array:
    """The float32 matrix of the tensors that stand for it."""
    numbers = tensors.get(name)
    wanted = "int8" if kind == "int8" else "uint16"
    if numbers is None or numbers.dtype != wanted or numbers.ndim != 2:
        raise ValueError(f"tensor {name!r} is no matrix of {wanted}, which the one in {kind} must be")
    if kind == "bfloat16":
        return _finite(name, _values((numbers,)))
    scales = tensors.get(name + SCALES)
    if scales is None or scales.dtype != np.float32 or scales.shape != numbers.shape[:1]:
        raise ValueError(f"tensor {name + SCALES!r} has not a float32 scale for each of {len(numbers)} rows")
    if not (np.isfinite(scales) & (scales > 0)).all():
        raise ValueError(f"a scale in {name + SCALES!r} is not a positive number")
    if (numbers < -LARGEST).any():
        raise ValueError(f"tensor {name!r} has whole numbers below -{LARGEST}")
    return _finite(name, _values((numbers, scales)))


def _finite(name: str, matrix: Array) -> Array:
    if not np.isfinite(matrix).all():
        raise ValueError(f"tensor {name!r} stands for numbers that are not finite")
    return matrix
