"""Functions outside of recurrent layers by name, some with numbers of their own: `relu`, `leaky_relu(0.3)`."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.backends.numpy_ref import RULES
from gatewright.cell_config.activations import HARD_SLOPES, numbers_of
from gatewright.errors import ConversionError
from gatewright.lang.ops import Op

Array = NDArray[Any]


def _softmax(a: Array) -> Array:
    exponential = np.exp(a - a.max(-1, keepdims=True))
    return exponential / exponential.sum(-1, keepdims=True)


def _log_softmax(a: Array) -> Array:
    below = a - a.max(-1, keepdims=True)
    return below - np.log(np.exp(below).sum(-1, keepdims=True))


erf = np.vectorize(math.erf, otypes=[np.float64])  # NumPy has none


def _gelu(a: Array) -> Array:
    return (0.5 * a * (1 + erf(a / math.sqrt(2)))).astype(a.dtype)


def _gelu_tanh(a: Array) -> Array:
    return 0.5 * a * (1 + np.tanh(math.sqrt(2 / math.pi) * (a + 0.044715 * a**3)))


def _elu(a: Array, scale: float = 1.0) -> Array:
    return np.where(a > 0, a, scale * np.expm1(np.minimum(a, 0)))


def _bounded_relu(a: Array, slope: float, threshold: float, most: float) -> Array:
    """A relu as Keras has it: from `threshold` on, at most `most`, and rising by `slope` below."""
    above = np.where(a > threshold, a, 0)
    above = above if np.isinf(most) else np.clip(above, 0, most)
    return above - slope * np.maximum(threshold - a, 0)


FUNCTIONS: Mapping[str, Callable[[Array], Array]] = {
    "identity": lambda a: a,
    "tanh": RULES[Op.TANH],
    "sigmoid": RULES[Op.SIGMOID],
    "relu": RULES[Op.RELU],
    **{name: partial(RULES[Op.HARD_SIGMOID], slope=slope) for name, slope in HARD_SLOPES.items()},
    "softplus": RULES[Op.SOFTPLUS],
    "elu": _elu,
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "silu": lambda a: a * RULES[Op.SIGMOID](a),
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,  # its approximation, without the error function
    "softsign": lambda a: a / (1 + np.abs(a)),
}
"""What a dense layer may end with; softmax and log_softmax are of each row of features, all others of each number."""

PARAMETRIC: Mapping[str, tuple[Callable[..., Array], int]] = {
    "leaky_relu": (lambda a, slope: np.where(a < 0, slope * a, a), 1),
    "elu": (_elu, 1),
    "affine": (lambda a, scale, offset: scale * a + offset, 2),
    "clip": (lambda a, low, high: np.minimum(np.maximum(a, low), high), 2),  # a bound may be infinite
    "hard_sigmoid": (lambda a, slope, offset: np.clip(slope * a + offset, 0, 1), 2),
    "thresholded_relu": (lambda a, above: np.where(a > above, a, 0), 1),
    "bounded_relu": (_bounded_relu, 3),
}
"""Functions with numbers of their own, and how many those are."""


def known(name: str) -> bool:
    """Whether there is a function of that name."""
    try:
        function(name)
    except ConversionError:
        return False
    return True


def function(name: str) -> Callable[[Array], Array]:
    """What a function computes of an array.

    Raises ConversionError where there is none of that name.
    """
    if name in FUNCTIONS:
        return FUNCTIONS[name]
    kind, numbers = numbers_of(name)
    computed, count = PARAMETRIC.get(kind, (None, 0))
    if computed is None or len(numbers) != count or np.isnan(numbers).any():
        raise ConversionError(f"there is no function {name!r}", expected=", ".join((*FUNCTIONS, *PARAMETRIC)))
    return lambda a: computed(a, *(a.dtype.type(number) for number in numbers))
