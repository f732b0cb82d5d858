"""A network of converted parts, computed by the reference: what every conversion is held to."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.backends import numpy_ref
from gatewright.convert.apply import plain
from gatewright.convert.functions import function
from gatewright.convert.network import (
    Activation,
    AddInput,
    BatchNorm,
    Dense,
    Embedding,
    LayerNorm,
    Masking,
    Max,
    Mean,
    Merge,
    Network,
    OneHot,
    Part,
    Recurrent,
    Reshape,
    Reverse,
    Scale,
    Step,
)
from gatewright.errors import ConversionError
from gatewright.trace import trace_cell
from gatewright.trace.mask import MASK, masked_trace

Array = NDArray[Any]


def run(network: Network, inputs: Array, *, dtype: Any = np.float64, lengths: Sequence[int] | None = None) -> Array:
    """Outputs of a network for inputs (time, batch, features), or (time, batch) of symbols.

    `lengths` are those of the rows where no part of the network tells which steps are padding; without them they are
    those that the network has, or all steps. A network that begins with a Reshape reads (batch, features); one that has
    left time behind gives out as much.

    Raises ConversionError for a part that cannot be computed.
    """
    lengths = network.lengths if lengths is None and isinstance(network.lengths, tuple) else lengths
    value: Array = np.asarray(inputs)
    mask: Array | None = None  # (time, batch), false where a step is padding
    for part in network.parts:
        mask = _mask(part, value, mask)
        if isinstance(part, AddInput):
            value = _with_input(part, value, np.asarray(inputs), dtype)
        else:
            value = _apply(part, value, mask, lengths, dtype)
        if value.ndim < 3 or isinstance(part, Reshape):
            mask = None
        elif isinstance(part, Reverse) and mask is not None:
            mask = mask[::-1]
    return value


def run_layer(
    layer: Recurrent,
    value: Array,
    *,
    dtype: Any = np.float64,
    lengths: Sequence[int] | None = None,
    mask: Array | None = None,
) -> list[numpy_ref.Run]:
    """What each direction of a layer gives: outputs after every step, and the final states.

    `mask` (time, batch) is false where a step is padding, wherever that lies; `lengths` say the same of rows that are
    padded at their ends.
    """
    lengths = lengths if mask is None else None
    found: list[numpy_ref.Run] = []
    pairs = zip(layer.equations_of_directions, layer.directions, strict=True)
    for index, (equations, parameters) in enumerate(pairs):
        trace = trace_cell(equations.cell())
        inputs = {trace.inputs[0].name: np.asarray(value, dtype)}
        if mask is not None:
            trace, inputs[MASK] = masked_trace(trace), mask.astype(dtype)
        begin = {name: one.astype(dtype) for name, one in layer.initial[index].items()} if layer.initial else {}
        found.append(
            numpy_ref.run(
                trace,
                inputs,
                plain({name: one.astype(dtype) for name, one in parameters.items()}, equations),
                {name: np.broadcast_to(one, (value.shape[1], one.shape[-1])) for name, one in begin.items()},
                lengths=lengths,
                backwards=bool(index) or layer.backwards,
            )
        )
    return found


def _with_input(part: AddInput, value: Array, inputs: Array, dtype: Any) -> Array:
    same_steps = value.ndim == inputs.ndim == 3 and value.shape[:2] == inputs.shape[:2]
    if not same_steps or part.features not in (1, value.shape[-1]) or part.features > inputs.shape[-1]:
        raise ConversionError(
            "the input cannot be added to the output",
            expected=f"outputs at every step, of {part.features} features, and as many inputs",
            got=f"inputs {inputs.shape}, outputs {value.shape}",
        )
    return value + inputs[..., : part.features].astype(dtype)


def _apply(part: Part, value: Array, mask: Array | None, lengths: Sequence[int] | None, dtype: Any) -> Array:
    match part:
        case Embedding() | OneHot():
            return _vectors(part, value.astype(np.int64), dtype)
        case Scale() | LayerNorm() | BatchNorm():
            return _normalised(part, value.astype(dtype))
        case Masking():  # zeros there, for whatever does not heed a mask
            return value * (value != part.value).any(axis=-1, keepdims=True)
        case Activation() | Dense():
            return _dense(part, value.astype(dtype))
        case Reverse() | Reshape() | Step():
            return _moved(part, value)
        case Mean() | Max():
            return _pool(part, value, _present(value, mask, lengths))
        case Recurrent():
            return _recur(part, value, mask, lengths, dtype)
        case AddInput():
            raise ConversionError("what is read is added where the network runs, and not by a part of it")


def _dense(part: Activation | Dense, value: Array) -> Array:
    if isinstance(part, Activation):
        return function(part.function)(value)
    product = value @ part.weight.astype(value.dtype).T
    return function(part.activation)(product if part.bias is None else product + part.bias.astype(value.dtype))


def _moved(part: Reverse | Reshape | Step, value: Array) -> Array:
    if isinstance(part, Reverse):
        return value[::-1]
    if isinstance(part, Step):
        return _step(part, value)
    rows = value.swapaxes(0, 1) if value.ndim == 3 else value
    shaped = rows.reshape(len(rows), *part.shape)
    return shaped.swapaxes(0, 1) if shaped.ndim == 3 else shaped


def _step(part: Step, value: Array) -> Array:
    if value.ndim != 3 or not -len(value) <= part.index < len(value):
        raise ConversionError(
            f"there is no step {part.index} to take",
            expected="a sequence of enough steps",
            got=f"{len(value)} steps" if value.ndim == 3 else "one row of features",
        )
    return value[part.index]


def _normalised(part: Scale | LayerNorm | BatchNorm, value: Array) -> Array:
    dtype = value.dtype
    if isinstance(part, Scale):
        return (value - part.mean.astype(dtype)) / part.deviation.astype(dtype)
    if isinstance(part, BatchNorm):
        mean, variance = part.mean.astype(dtype), part.variance.astype(dtype)
    else:
        mean, variance = value.mean(axis=-1, keepdims=True), value.var(axis=-1, keepdims=True)
    value = (value - mean) / np.sqrt(variance + dtype.type(part.epsilon))
    value = value if part.gain is None else value * part.gain.astype(dtype)
    return value if part.bias is None else value + part.bias.astype(dtype)


def _vectors(part: Embedding | OneHot, symbols: Array, dtype: Any) -> Array:
    if isinstance(part, Embedding):
        return part.weight.astype(dtype)[symbols]
    vectors = np.zeros((*symbols.shape, part.symbols), dtype)  # an identity matrix may be far larger
    np.put_along_axis(vectors, symbols[..., None], 1, axis=-1)
    return vectors


def _recur(layer: Recurrent, value: Array, mask: Array | None, lengths: Sequence[int] | None, dtype: Any) -> Array:
    found = run_layer(layer, value, dtype=dtype, lengths=lengths, mask=mask)
    first = trace_cell(layer.equations.cell()).states[0].name
    outputs = [one.finals[first] if layer.returns == "last" else one.output for one in found]
    output = _merged(outputs, layer.merge)
    if mask is not None and layer.padding == "zeros" and layer.returns == "sequence":
        return output * mask[..., None]
    return output


def _merged(outputs: Sequence[Array], merge: Merge) -> Array:
    """What a layer gives of the outputs of its directions."""
    if merge == "concat":
        return np.concatenate(outputs, axis=-1)
    first, second = outputs
    match merge:
        case "sum":
            return first + second
        case "mul":
            return first * second
        case "ave":
            return (first + second) / 2


def _pool(part: Mean | Max, value: Array, present: Array) -> Array:
    if isinstance(part, Max):
        return value.max(axis=0, initial=-np.inf, where=present[..., None])
    return value.sum(axis=0, where=present[..., None]) / present.sum(axis=0)[:, None]


def _present(value: Array, mask: Array | None, lengths: Sequence[int] | None) -> Array:
    """Which steps are no padding, (time, batch)."""
    if mask is not None:
        return mask
    steps, batch = value.shape[:2]
    return np.arange(steps)[:, None] < (np.full(batch, steps) if lengths is None else np.asarray(lengths))


def _mask(part: Part, value: Array, mask: Array | None) -> Array | None:
    """Which steps are there, once this part has had its say."""
    if isinstance(part, Embedding) and part.masks_zero:
        return value != 0
    if isinstance(part, Masking):
        return (value != part.value).any(axis=-1)
    return mask
