"""The parts around recurrent layers as operators of ONNX."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.backends.onnx.graph import Graph, Kind, Tensor
from gatewright.cell_config.activations import HARD_SLOPES, numbers_of
from gatewright.convert.onnx_files.simple_parts import CONSTANTS, OF_ROWS, PLAIN
from gatewright.errors import ConversionError
from gatewright.network import BatchNorm, Dense, LayerNorm, Scale

Array = NDArray[Any]
_PLAIN: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    **{ours: (op, {"axis": -1} if op in OF_ROWS else {}) for op, ours in PLAIN.items()},
    "gelu": ("Gelu", {"approximate": "none"}),
    "gelu_tanh": ("Gelu", {"approximate": "tanh"}),
}
_NUMBERED = {ours: (op, tuple(names)) for op, (ours, names) in CONSTANTS.items()}
_DEFAULTS = {ours: tuple(names.values()) for ours, names in CONSTANTS.values()}
_SINGLE = ("gelu", "gelu_tanh", "softplus", "softsign")
"""What ONNX Runtime computes in float32 only, besides those with numbers."""


def dense(graph: Graph, part: Dense, value: Tensor, name: str) -> Tensor:
    """A product, a bias and an activation."""
    weight = graph.initialiser(f"{name}.weight", part.weight.T)
    value = graph.emit("MatMul", value, weight, ndim=value.ndim)
    if part.bias is not None:
        value = graph.emit("Add", value, graph.initialiser(f"{name}.bias", part.bias))
    return activation(graph, part.activation, value)


def normalised(graph: Graph, part: Scale | BatchNorm | LayerNorm, value: Tensor, name: str) -> Tensor:
    """Features that are scaled; the statistics of training are taken together with what follows them."""

    def held(what: str, array: Array) -> Tensor:
        return graph.initialiser(f"{name}.{what}", np.asarray(array))

    match part:
        case Scale():
            less = graph.emit("Sub", value, held("mean", part.mean))
            return graph.emit("Div", less, held("deviation", part.deviation))
        case BatchNorm():
            gain = 1.0 if part.gain is None else part.gain.astype(np.float64)
            gain = gain / np.sqrt(part.variance.astype(np.float64) + part.epsilon)
            shift = (0.0 if part.bias is None else part.bias) - part.mean * gain
            return graph.emit("Add", graph.emit("Mul", value, held("gain", gain)), held("shift", shift))
        case LayerNorm():
            size = next((len(one) for one in (part.gain, part.bias) if one is not None), None)
            if size is None:
                raise ConversionError("a LayerNorm without gain and bias has no number of features that it says")
            gain = held("gain", np.ones(size) if part.gain is None else part.gain)
            bias = None if part.bias is None else held("bias", part.bias)
            return graph.emit("LayerNormalization", value, gain, bias, ndim=value.ndim, epsilon=part.epsilon)


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
            return graph.emit("Mul", value, graph.emit("Sigmoid", value))
        case "affine":
            return graph.emit("Add", graph.emit("Mul", value, numbers[0]), numbers[1])
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


def _spelled(function: str) -> tuple[str, tuple[float, ...]]:
    """A function by its kind, with all of its numbers."""
    if function in HARD_SLOPES:
        return "hard_sigmoid", (HARD_SLOPES[function], 0.5)
    kind, numbers = numbers_of(function)
    return kind, numbers or tuple(_DEFAULTS.get(kind, ()))


def _in_double(graph: Graph, kind: str, numbers: tuple[float, ...], a: Tensor) -> Tensor:
    """What ONNX Runtime has in single precision only, of operators that it has in double."""

    def below_zero(otherwise: Tensor) -> Tensor:
        return graph.emit("Where", graph.emit("Less", a, 0.0, kind=Kind.TRUTH), otherwise, a)

    match kind, numbers:
        case "elu", (scale,):
            less = graph.emit("Sub", graph.emit("Exp", graph.emit("Min", a, 0.0)), 1.0)
            return below_zero(graph.emit("Mul", less, scale))
        case "hard_sigmoid", (slope, offset):
            line = graph.emit("Add", graph.emit("Mul", a, slope), offset)
            return graph.emit("Clip", line, 0.0, 1.0, ndim=a.ndim)
        case "leaky_relu", (slope,):
            return below_zero(graph.emit("Mul", a, slope))
        case "softplus", ():
            small = graph.emit("Exp", graph.emit("Neg", graph.emit("Abs", a)))
            return graph.emit("Add", graph.emit("Max", a, 0.0), graph.emit("Log", graph.emit("Add", small, 1.0)))
        case "softsign", ():
            return graph.emit("Div", a, graph.emit("Add", graph.emit("Abs", a), 1.0))
        case _:
            raise ConversionError(
                f"ONNX Runtime has no {kind} in double precision",
                got="float64",
                do="convert to float32: --dtype float32",
            )
