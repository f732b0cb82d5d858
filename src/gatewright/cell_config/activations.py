"""Activations by name, those with numbers of their own among them: `tanh`, `leaky_relu(0.01)`, `hard_sigmoid(0.3,0.5)`.

A name is one text for one function, so that equations can be compared by what they say.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np

from gatewright import lang
from gatewright.cells import identity
from gatewright.errors import ConversionError
from gatewright.lang.functions import KERAS3_SLOPE, THEANO_SLOPE
from gatewright.lang.ops import Op

Function = Callable[[Any], Any]

ACTIVATIONS: Mapping[str, Function] = {
    "sigmoid": lang.sigmoid,
    "tanh": lang.tanh,
    "relu": lang.relu,
    "hard_sigmoid_theano": lang.hard_sigmoid_theano,
    "hard_sigmoid_keras3": lang.hard_sigmoid_keras3,
    "softplus": lang.softplus,
    "identity": identity,
    "softsign": lang.softsign,
}
HARD_SLOPES: Mapping[str, float] = {"hard_sigmoid_theano": THEANO_SLOPE, "hard_sigmoid_keras3": KERAS3_SLOPE}

ODD_ABOUT_HALF = ("sigmoid", *HARD_SLOPES)
"""Gates for which 1 - gate(a) is gate(-a), so that an inverted gate is one with negated weights."""


@dataclass(frozen=True, slots=True)
class ActivationKind:
    """A family of activations: the function of a value and some numbers, and the default numbers."""

    function: Callable[..., Any]
    defaults: tuple[float, ...]


def _hard_sigmoid(a: Any, slope: float, offset: float) -> Any:
    if offset == 0.5:
        return lang.hard_sigmoid(a, slope)
    return lang.maximum(lang.minimum(slope * a + offset, 1.0), 0.0)


KINDS: Mapping[str, ActivationKind] = {
    "affine": ActivationKind(lambda a, scale, offset: scale * a + offset, (1.0, 0.0)),
    "elu": ActivationKind(
        lambda a, scale: lang.where(a < 0.0, scale * (lang.exp(lang.minimum(a, 0.0)) - 1.0), a), (1.0,)
    ),
    "hard_sigmoid": ActivationKind(_hard_sigmoid, (THEANO_SLOPE, 0.5)),
    "leaky_relu": ActivationKind(lambda a, slope: lang.where(a < 0.0, slope * a, a), (0.01,)),
    "scaled_tanh": ActivationKind(lambda a, scale, slope: scale * lang.tanh(slope * a), (1.0, 1.0)),
    "thresholded_relu": ActivationKind(lambda a, above: lang.where(lang.less(above, a), a, 0.0), (1.0,)),
}


def spelled(kind: str, *numbers: float) -> str:
    """The name of an activation with these numbers: a plain one where there is one."""
    if kind == "hard_sigmoid" and numbers[1] == 0.5:
        for name, slope in HARD_SLOPES.items():
            if np.float32(numbers[0]) == np.float32(slope):
                return name
    if kind == "affine" and numbers == (1.0, 0.0):
        return "identity"
    return f"{kind}({','.join(map(repr, numbers))})"


_OPS: Mapping[Op, str] = {
    Op.SIGMOID: "sigmoid",
    Op.TANH: "tanh",
    Op.RELU: "relu",
    Op.SOFTPLUS: "softplus",
    Op.DIV: "softsign",  # as normal forms have it
}


def name_of(op: Op, attributes: Mapping[str, Any]) -> str | None:
    """The name of the activation that an op is; None where it is none."""
    return spelled("hard_sigmoid", float(attributes["slope"]), 0.5) if op is Op.HARD_SIGMOID else _OPS.get(op)


def parsed(name: str) -> tuple[str, tuple[float, ...]]:
    """The kind and the numbers of an activation; none for a plain one.

    Raises ConversionError where there is no such activation.
    """
    if name in ACTIVATIONS:
        return name, ()
    kind, numbers = numbers_of(name)
    if kind not in KINDS or len(numbers) != len(KINDS[kind].defaults) or not np.isfinite(numbers).all():
        known = (f"{known_name}({','.join(map(str, kind.defaults))})" for known_name, kind in KINDS.items())
        raise ConversionError(
            f"activation {name!r} is none that a cell can have", expected=", ".join((*ACTIVATIONS, *known))
        )
    return kind, numbers


def numbers_of(name: str) -> tuple[str, tuple[float, ...]]:
    """The kind and the numbers of a name such as `leaky_relu(0.3)`."""
    kind, _, inside = name.partition("(")
    try:
        return kind, tuple(float(number) for number in inside.removesuffix(")").split(",")) if inside else ()
    except ValueError:
        return kind, ()


@cache
def function(name: str, clip: float = 0.0) -> Function:
    """The function of an activation. With a `clip` other than 0 its argument is clipped to [-clip, clip].

    Raises ConversionError where there is no such activation.
    """
    kind, numbers = parsed(name)
    computed = ACTIVATIONS[kind] if kind in ACTIVATIONS else partial(_of_kind, kind, numbers)
    return partial(_clipped, computed, clip) if clip else computed


def odd_about_half(name: str) -> bool:
    """Whether 1 - f(a) is f(-a)."""
    kind, numbers = parsed(name)
    return kind in ODD_ABOUT_HALF or (kind == "hard_sigmoid" and numbers[1] == 0.5)


def _of_kind(kind: str, numbers: tuple[float, ...], a: Any) -> Any:
    return KINDS[kind].function(a, *numbers)


def _clipped(computed: Function, clip: float, a: Any) -> Any:
    return computed(lang.maximum(lang.minimum(a, clip), -clip))
