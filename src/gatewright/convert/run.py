"""A network of converted parts, computed by the reference: what every conversion is held to."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.backends import numpy_ref
from gatewright.convert.apply import plain
from gatewright.convert.network import Dense, Embedding, Masking, Network, OneHot, Part, Recurrent
from gatewright.errors import ConversionError
from gatewright.trace import trace_cell

Array = NDArray[Any]
_FUNCTIONS: Mapping[str, Any] = {
    "identity": lambda a: a,
    "tanh": np.tanh,
    "sigmoid": numpy_ref.sigmoid,
    "relu": lambda a: np.maximum(a, 0),
    "elu": lambda a: np.where(a > 0, a, np.expm1(np.minimum(a, 0))),
    "softmax": lambda a: (
        np.exp(a - a.max(-1, keepdims=True)) / np.exp(a - a.max(-1, keepdims=True)).sum(-1, keepdims=True)
    ),
}


def run(network: Network, inputs: Array, *, dtype: Any = np.float64, lengths: Sequence[int] | None = None) -> Array:
    """Outputs of a network for inputs (time, batch, features), or (time, batch) of symbols.

    Steps that a mask leaves out must lie at the end of their rows; `lengths` are those of the rows where no part of
    the network tells them.

    Raises ConversionError for a part or a mask that cannot be computed.
    """
    value: Array = np.asarray(inputs)
    for part in network.parts:
        lengths = _lengths(part, value) or lengths
        value = _apply(part, value, lengths, dtype)
    return value


def run_layer(
    layer: Recurrent, value: Array, *, dtype: Any = np.float64, lengths: Sequence[int] | None = None
) -> list[numpy_ref.Run]:
    """What each direction of a layer gives: outputs after every step, and the final states."""
    trace = trace_cell(layer.equations.cell())
    value = np.asarray(value, dtype)
    found: list[numpy_ref.Run] = []
    for index, parameters in enumerate(layer.directions):
        begin = {name: one.astype(dtype) for name, one in layer.initial[index].items()} if layer.initial else {}
        found.append(
            numpy_ref.run(
                trace,
                {trace.inputs[0].name: value},
                {name: one.astype(dtype) for name, one in plain(parameters, layer.equations).items()},
                {name: np.broadcast_to(one, (value.shape[1], one.shape[-1])) for name, one in begin.items()},
                lengths=lengths,
                backwards=bool(index) or layer.backwards,
            )
        )
    return found


def _apply(part: Part, value: Array, lengths: Sequence[int] | None, dtype: Any) -> Array:
    match part:
        case Embedding():
            return part.weight.astype(dtype)[value.astype(np.int64)]
        case OneHot():
            return np.eye(part.symbols, dtype=dtype)[value.astype(np.int64)]
        case Masking():
            return value
        case Dense():
            product = value @ part.weight.astype(dtype).T
            return _FUNCTIONS[part.activation](product if part.bias is None else product + part.bias.astype(dtype))
        case Recurrent():
            return _recur(part, value.astype(dtype), lengths, dtype)


def _recur(layer: Recurrent, value: Array, lengths: Sequence[int] | None, dtype: Any) -> Array:
    found = run_layer(layer, value, dtype=dtype, lengths=lengths)
    first = trace_cell(layer.equations.cell()).states[0].name
    outputs = [one.finals[first] if layer.returns == "last" else one.output for one in found]
    return np.concatenate(outputs, axis=-1)


def _lengths(part: Part, value: Array) -> list[int] | None:
    if isinstance(part, Embedding) and part.masks_zero:
        kept = value != 0
    elif isinstance(part, Masking):
        kept = (value != part.value).any(axis=-1)
    else:
        return None
    lengths = kept.sum(axis=0)
    if (kept != (np.arange(len(kept))[:, None] < lengths)).any():
        raise ConversionError(
            "a mask leaves out steps that are not at the end", do="compare rows that are padded at their ends"
        )
    return [int(one) for one in lengths]
