"""Functions of each number by itself that a graph puts together of several nodes: which of ours they are.

Exporters write GELU as a product with an error function, and make sure of symbols by comparisons. Such nodes are kept
as one function until something else reads their result, and are recognised by its values.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.cell_config.activations import spelled
from gatewright.convert.onnx_files.constants import FLOATS, INTEGERS
from gatewright.convert.onnx_files.values import ConstantValue, FilledValue, FlowValue, PointwiseValue, Value, shortest
from gatewright.errors import ConversionError
from gatewright.network.functions import FUNCTIONS, erf
from gatewright.network.functions import function as named

Array = NDArray[Any]
BOOLEAN = 9  # TensorProto.BOOL
_OPERANDS = {"Where": 3}
_OF_ROWS = ("softmax", "log_softmax")
_TYPES = {**FLOATS, **INTEGERS, BOOLEAN: np.bool_}
MOST_NODES = 32
"""Of one function: more of them are none that an exporter writes."""

ELEMENTWISE: Mapping[str, Callable[..., Array]] = {
    "Abs": np.abs,
    "Add": np.add,
    "Clip": np.clip,
    "Div": np.divide,
    "Equal": np.equal,
    "Erf": erf,
    "Exp": np.exp,
    "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal,
    "Less": np.less,
    "LessOrEqual": np.less_equal,
    "Log": np.log,
    "Max": np.maximum,
    "Min": np.minimum,
    "Mul": np.multiply,
    "Neg": np.negative,
    "Not": np.logical_not,
    "Pow": np.power,
    "Relu": FUNCTIONS["relu"],
    "Sigmoid": FUNCTIONS["sigmoid"],
    "Softplus": FUNCTIONS["softplus"],
    "Sqrt": np.sqrt,
    "Sub": np.subtract,
    "Tanh": np.tanh,
    "Where": np.where,
}


def composed(op: str, attributes: Mapping[str, Any], operands: Sequence[Value | None]) -> PointwiseValue | None:
    """A node as an elementwise function of the one value that it reads; None where it is none."""
    called = ELEMENTWISE.get(op)
    if op == "Clip":
        low, high = clip_bounds(attributes, operands)
        called, operands = partial(np.clip, a_min=low, a_max=high), operands[:1]
    functions = [_function(operand) for operand in operands]
    streams = [operand.stream if isinstance(operand, PointwiseValue) else operand for operand in operands]
    flowing = [stream for stream in streams if isinstance(stream, FlowValue)]
    if None in functions or not flowing or any(_place(stream) != _place(flowing[0]) for stream in flowing):
        return None
    if op in ELEMENTWISE and op != "Clip" and len(functions) != _OPERANDS.get(op, getattr(called, "nin", 1)):
        raise ConversionError("it has more or fewer operands than the operator", got=str(len(functions)))
    nodes = 1 + sum(operand.nodes for operand in operands if isinstance(operand, PointwiseValue))
    if nodes > MOST_NODES:
        raise ConversionError("it is one of too many nodes that are one function", expected=f"{MOST_NODES} at most")
    called = called or _cast(attributes)
    return PointwiseValue(flowing[0], lambda x: called(*(function(x) for function in functions if function)), nodes)


def name_of(function: PointwiseValue) -> str:
    """The name of the function, recognised by its values at numbers of all magnitudes."""
    sizes = np.logspace(-4, 4, 161)
    points = np.concatenate([-sizes[::-1], np.linspace(-12, 12, 961), sizes])
    with np.errstate(all="ignore"):
        values = np.asarray(_evaluated(function, points), np.float64)
        for name in _candidates(points, values):
            # The constants of a graph are of single precision.
            if np.allclose(values, named(name)(points), rtol=3e-6, atol=3e-7):
                return name
    raise ConversionError(
        "it computes a function of each number that is none of those that are known",
        expected=", ".join(name for name in FUNCTIONS if name not in _OF_ROWS),
    )


def _evaluated(function: PointwiseValue, points: Array) -> Array:
    try:
        return function.evaluate(points)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise ConversionError(f"its operands do not fit: {str(error)[:100]}") from error


def _candidates(points: Array, values: Array) -> Iterator[str]:
    """Names of functions that it may be. Values at some points give the numbers in a name."""
    yield from (name for name in FUNCTIONS if name not in _OF_ROWS)
    if not np.isfinite(values).all():
        return
    bounds = float(values.min()), float(values.max())
    low, high = (shortest(bound) if abs(bound) < points.max() else math.copysign(math.inf, bound) for bound in bounds)
    yield spelled("clip", low, high)
    at_minus_one, at_zero, at_one = map(float, np.interp([-1.0, 0.0, 1.0], points, values))
    yield spelled("leaky_relu", shortest(-at_minus_one))
    yield spelled("elu", shortest(-low))
    yield spelled("hard_sigmoid", shortest((float(np.interp(0.25, points, values)) - at_zero) * 4), shortest(at_zero))
    yield spelled("affine", shortest(at_one - at_zero), shortest(at_zero))


def symbols_of(function: PointwiseValue, count: int) -> Array:
    """The symbols that those below `count` are made."""
    symbols = np.asarray(_evaluated(function, np.arange(count)))
    if symbols.dtype.kind not in "iu" or symbols.min(initial=0) < -count or symbols.max(initial=0) >= count:
        raise ConversionError("it computes what are no symbols of the embedding", got=str(symbols[:8]))
    return symbols


def clip_bounds(attributes: Mapping[str, Any], operands: Sequence[Value | None]) -> tuple[float, float]:
    """The bounds of a Clip, which are attributes in old versions of the operator; either may be missing."""
    bounds: list[float] = []
    for index, (name, default) in enumerate((("min", -np.inf), ("max", np.inf)), 1):
        match operands[index] if index < len(operands) else None:
            case FilledValue(float() | int() as number):
                bounds.append(float(number))
            case ConstantValue() as given if given.array.size == 1:
                bounds.append(float(given.array.reshape(())))
            case None:
                bounds.append(float(attributes.get(name, default)))
            case _:
                raise ConversionError(f"its {name} is no constant of the file", expected="one number")
    low, high = map(shortest, bounds)
    if not low <= high:
        raise ConversionError("its lower bound is above the upper one", got=f"{low:g} and {high:g}")
    return low, high


def _function(value: Value | None) -> Callable[[Array], Array] | None:
    match value:
        case PointwiseValue():
            return value.evaluate
        case FlowValue():
            return lambda x: x
        case ConstantValue() if value.array.size == 1:
            number = value.array.reshape(())
            return lambda x: number.astype(np.float64) if number.dtype.kind == "f" else number
        case FilledValue(float() | int() as number):
            return lambda x: np.asarray(number)
        case _:
            return None


def _place(stream: FlowValue) -> FlowValue:
    """The value without the sizes of its axes, to compare two of them."""
    return replace(stream, axes=tuple(replace(axis, size=None) for axis in stream.axes))


def _cast(attributes: Mapping[str, Any]) -> Callable[[Array], Array]:
    kind = _TYPES.get(attributes.get("to", 0))
    if kind is None:
        raise ConversionError("it makes numbers of another type")
    # Double precision stands for all floating-point types: functions are recognised by their values, up to rounding.
    return lambda x: np.asarray(x).astype(np.float64 if np.dtype(kind).kind == "f" else kind)
