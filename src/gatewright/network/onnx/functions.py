"""Functions outside of recurrent layers as operators of ONNX, for reading and writing."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from gatewright.backends.onnx.graph import ElementKind, Graph, Tensor
from gatewright.backends.onnx.operators import ACTIVATIONS
from gatewright.cell_config.activations import HARD_SLOPES, numbers_of
from gatewright.errors import ConversionError

PLAIN: Mapping[str, str] = {
    **{name: function.ours for name, function in ACTIVATIONS.items() if not function.numbers},
    "LogSoftmax": "log_softmax",
    "Softmax": "softmax",
}
"""Outside of recurrent layers: ONNX's operator, and our function."""
CONSTANTS: Mapping[str, tuple[str, Mapping[str, float]]] = {
    name: (function.ours, function.numbers)
    for name, function in ACTIVATIONS.items()
    if function.numbers and name not in ("Affine", "ScaledTanh")  # which are no operators by themselves
}
"""The same of those with numbers: their attributes, as they are where the node does not say them."""
OF_ROWS = ("LogSoftmax", "Softmax")
_PLAIN: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    **{ours: (op, {"axis": -1} if op in OF_ROWS else {}) for op, ours in PLAIN.items()},
    "gelu": ("Gelu", {"approximate": "none"}),
    "gelu_tanh": ("Gelu", {"approximate": "tanh"}),
}
_NUMBERED = {ours: (op, tuple(names)) for op, (ours, names) in CONSTANTS.items()}
_DEFAULTS = {ours: tuple(names.values()) for ours, names in CONSTANTS.values()}
_SINGLE = ("gelu", "gelu_tanh", "softplus", "softsign")
"""What ONNX Runtime computes in float32 only, besides those with numbers."""


def activation(graph: Graph, function: str, value: Tensor) -> Tensor:
    """A function of each number, or of each row of features.

    Raises ConversionError where ONNX, or in double precision ONNX Runtime, has none.
    """
    kind, numbers = _spelled(function)
    if graph.dtype == np.float64 and kind in (*_NUMBERED, *_SINGLE):
        return _in_double(graph, kind, numbers, value)
    match kind:
        case "identity":
            return value
        case "silu":
            return value * graph.emit("Sigmoid", value)
        case "affine":
            return value * numbers[0] + numbers[1]
        case "clip":
            low, high = (None if np.isinf(bound) else bound for bound in numbers)
            return graph.emit("Clip", value, low, high, ndim=value.ndim)
        case _ if kind in _NUMBERED:
            op, names = _NUMBERED[kind]
            constants: dict[str, Any] = dict(zip(names, numbers, strict=True))
            return graph.emit(op, value, **constants)
        case _ if kind in _PLAIN:
            op, attributes = _PLAIN[kind]
            return graph.emit(op, value, **attributes)
        case _:
            raise ConversionError(f"ONNX has no activation {function!r}", expected=", ".join((*_PLAIN, *_NUMBERED)))


def softplus(graph: Graph, a: Tensor) -> Tensor:
    """log(1 + e^a), of operators that ONNX Runtime has in float64 too."""
    small = graph.emit("Exp", graph.emit("Neg", graph.emit("Abs", a)))
    return graph.emit("Max", a, 0.0) + graph.emit("Log", small + 1.0)


def _spelled(function: str) -> tuple[str, tuple[float, ...]]:
    """A function by its kind, with all of its numbers."""
    if function in HARD_SLOPES:
        return "hard_sigmoid", (HARD_SLOPES[function], 0.5)
    kind, numbers = numbers_of(function)
    return kind, numbers or tuple(_DEFAULTS.get(kind, ()))


def _in_double(graph: Graph, kind: str, numbers: tuple[float, ...], a: Tensor) -> Tensor:
    """What ONNX Runtime has in single precision only, of operators that it has in double."""

    def below_zero(otherwise: Tensor) -> Tensor:
        return graph.emit("Where", graph.emit("Less", a, 0.0, kind=ElementKind.TRUTH), otherwise, a)

    match kind, numbers:
        case "elu", (scale,):
            return below_zero((graph.emit("Exp", graph.emit("Min", a, 0.0)) - 1.0) * scale)
        case "hard_sigmoid", (slope, offset):
            return graph.emit("Clip", a * slope + offset, 0.0, 1.0, ndim=a.ndim)
        case "leaky_relu", (slope,):
            return below_zero(a * slope)
        case "softplus", ():
            return softplus(graph, a)
        case "softsign", ():
            return a / (graph.emit("Abs", a) + 1.0)
        case _:
            raise ConversionError(
                f"ONNX Runtime has no {kind} in double precision",
                got="float64",
                do="convert to float32, with dtype='float32'",
                shell="convert to float32: --dtype float32",
            )
