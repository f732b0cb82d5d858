"""The arguments of measures, each checked to be a number or an array before anything is computed."""

import operator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from gatewright.errors import OptionError, OptionTypeError, ShapeError


def whole_number(name: str, value: Any) -> int:
    """A whole number, NumPy's among them. Raises OptionTypeError for anything else: 1.5 would be cut to 1."""
    if not isinstance(value, (bool, np.bool_)):
        try:
            return operator.index(value)
        except TypeError:
            pass
    raise OptionTypeError(f"{name} must be a whole number", got=repr(value)[:80])


def real_number(name: str, value: Any) -> float:
    """A number. Raises OptionTypeError for anything else."""
    is_number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if not is_number:
        raise OptionTypeError(f"{name} must be a number", got=repr(value)[:80])
    return float(value)


def not_negative(name: str, value: Any) -> float:
    """A number of 0 or more. Raises OptionError for another one, OptionTypeError for what is no number."""
    number = real_number(name, value)
    if not number >= 0:  # as NaN is
        raise OptionError(f"{name} is out of range", expected="0 or more", got=str(value))
    return number


def generator(seed: Any) -> np.random.Generator:
    """Random numbers from a seed. Raises OptionTypeError for what is no whole number, OptionError for one below 0."""
    not_negative("seed", whole_number("seed", seed))
    return np.random.default_rng(seed)


def numbers_of(name: str, values: ArrayLike) -> NDArray[np.float64]:
    """Numbers as an array. Raises ShapeError for what is none, such as a text or rows of different lengths."""
    given: Any = values.detach().cpu() if isinstance(values, Tensor) else values
    try:
        array = np.asarray(given)
    except (TypeError, ValueError):  # rows of different lengths
        array = np.empty(0, object)
    if array.dtype.kind in "biuf":  # of complex numbers the imaginary parts would be lost
        return array.astype(np.float64)
    raise ShapeError(f"{name} must be an array of numbers", got=repr(values)[:80])
