"""The parts around recurrent layers as nodes of a graph add them: dense layers, scaling, activations, pools, moves."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright import network as net
from gatewright.cell_config.activations import spelled
from gatewright.convert.onnx_files import values
from gatewright.convert.onnx_files.moves import items_of, reshape
from gatewright.convert.onnx_files.network_builder import SEQUENCE, GraphNode, NetworkBuilder, constant, vector
from gatewright.convert.onnx_files.pointwise import clip_bounds
from gatewright.convert.onnx_files.values import (
    DIRECTIONS,
    FEATURES,
    Attributes,
    Axis,
    ConstantValue,
    FlowValue,
    Operands,
    Value,
)
from gatewright.errors import ConversionError
from gatewright.network.onnx.functions import CONSTANTS, OF_ROWS, PLAIN

Array = NDArray[Any]

SOFTMAX_LAST = 13
"""First opset whose Softmax is along the last axis by default; before it the default was axis 1."""


def matmul(node: GraphNode) -> Value:
    """A dense layer without a bias."""
    return _dense(node.parts, node.operands[0], constant(node.operands[1], "matrix").T)


def gemm(node: GraphNode) -> Value:
    """A dense layer."""
    plain = (("alpha", 1.0), ("beta", 1.0), ("transA", 0))
    if any(node.attributes.get(name, number) != number for name, number in plain):
        raise ConversionError("it scales or transposes what it reads")
    weight = constant(node.operands[1], "matrix")
    bias = constant(node.operands[2], "bias") if node.operands[2:] and node.operands[2] is not None else None
    weight = weight if node.attributes.get("transB") else weight.T
    return _dense(node.parts, node.operands[0], weight, None if bias is None else vector(bias, weight.shape[0]))


def _dense(parts: NetworkBuilder, value: Value | None, weight: Array, bias: Array | None = None) -> Value:
    stream = parts.take(value)
    if weight.ndim != 2 or weight.dtype.kind != "f" or stream.labels[-1] in parts.roles.values():
        raise ConversionError("it multiplies by what is no matrix", got=f"shape {weight.shape}")
    if stream.axes[-1].size not in (None, weight.shape[1]) or DIRECTIONS in stream.labels:
        raise ConversionError("its matrix does not fit what it reads", got=f"shape {weight.shape}")
    return parts.added(net.Dense(weight, bias), stream.with_features(weight.shape[0]))


def add(node: GraphNode) -> Value:
    """The bias of a dense layer, a shift of each feature, or the sum of both directions."""
    if all(isinstance(operand, FlowValue) for operand in node.operands):
        return _merged(node.parts, node.operands, "sum")
    stream, bias = node.operands if isinstance(node.operands[0], FlowValue) else (node.operands[1], node.operands[0])
    value, last = node.parts.take(stream), node.parts.last
    plain = not isinstance(last, net.Dense) or last.activation == "identity"
    if isinstance(last, net.Dense | net.BatchNorm | net.LayerNorm) and last.bias is None and plain:
        return node.parts.replaced(replace(last, bias=_of_features(node.parts, bias, value)), value)
    moved = _of_features(node.parts, bias, value)
    return node.parts.added(net.BatchNorm(np.zeros_like(moved), np.ones_like(moved), 0.0, bias=moved), value)


def multiply(node: GraphNode) -> Value:
    """A factor of each feature, or the product of both directions."""
    if all(isinstance(operand, FlowValue) for operand in node.operands):
        return _merged(node.parts, node.operands, "mul")
    stream, factor = node.operands if isinstance(node.operands[0], FlowValue) else (node.operands[1], node.operands[0])
    value, last = node.parts.take(stream), node.parts.last
    gain = _of_features(node.parts, factor, value)
    if (gain == 1).all():
        return value
    if isinstance(last, net.RecurrentPart) and last.merge == "sum" and (gain == 0.5).all():
        return node.parts.replaced(replace(last, merge="ave"), value)
    return node.parts.added(net.BatchNorm(np.zeros_like(gain), np.ones_like(gain), 0.0, gain=gain), value)


def _merged(parts: NetworkBuilder, operands: Operands, merge: net.Merge) -> Value:
    halves = [operand for operand in operands if isinstance(operand, FlowValue)]
    if sorted(str(half.half) for half in halves) != ["0", "1"] or not isinstance(parts.last, net.RecurrentPart):
        raise ConversionError("it joins what are not the two directions of one layer", expected="a constant, or those")
    first, second = sorted(halves, key=lambda half: half.half or 0)
    place = len(parts.listed) - 1
    stream = parts.take(first.joined_with(second))
    layer = parts.listed[place]
    assert isinstance(layer, net.RecurrentPart)
    parts.listed[place] = replace(layer, merge=merge)
    return parts.changed(stream)


def less(node: GraphNode) -> Value:
    """The mean that is subtracted from each feature."""
    value = node.take()
    mean = _of_features(node.parts, node.operands[1], value)
    return node.parts.added(net.Scale(mean, np.ones_like(mean)), value.with_features(len(mean)))


def divide(node: GraphNode) -> Value:
    """The deviation that each feature is divided by."""
    value, last = node.take(), node.parts.last
    deviation = _of_features(node.parts, node.operands[1], value)
    if not deviation.all():
        raise ConversionError("it divides by zero")
    value = value.with_features(len(deviation))
    if isinstance(last, net.Scale) and (last.deviation == 1).all() and last.mean.dtype == deviation.dtype:
        return node.parts.replaced(net.Scale(last.mean, deviation), value)
    return node.parts.added(net.Scale(np.zeros_like(deviation), deviation), value)


def batch_norm(node: GraphNode) -> Value:
    """Features scaled by the statistics of training; they are the second axis."""
    stream = node.take()
    if node.attributes.get("training_mode") or node.attributes["outputs"] > 1:
        raise ConversionError(
            "it takes its statistics from the batch", do="export the model in evaluation: model.eval()"
        )
    if len(stream.axes) < 2 or stream.labels[1] != FEATURES:
        raise ConversionError("its second axis is not that of features", got=", ".join(stream.labels))
    size = stream.axes[1].size
    statistics = [constant(operand, "statistics") for operand in node.operands[1:5]]
    gain, bias, mean, variance = (vector(array, size) for array in statistics)
    epsilon = float(node.attributes.get("epsilon", 1e-5))
    return node.parts.added(net.BatchNorm(mean, variance, epsilon, gain, bias), stream)


def layer_norm(node: GraphNode) -> Value:
    """Each row of features scaled by its own mean and variance."""
    stream = node.take()
    _check_features(node.parts, stream)
    if node.attributes.get("axis", -1) not in (-1, len(stream.axes) - 1) or node.attributes["outputs"] > 1:
        raise ConversionError("it is along more than the last axis, or gives its statistics too")
    size = stream.axes[-1].size
    gain, bias = (
        None if operand is None else vector(constant(operand, "gain and bias"), size)
        for operand in (*node.operands[1:], None, None)[:2]
    )
    return node.parts.added(net.LayerNorm(float(node.attributes.get("epsilon", 1e-5)), gain, bias), stream)


def pool(node: GraphNode, *, part: type[net.Mean | net.Max]) -> Value:
    """The mean or the maximum of all steps."""
    stream = node.take()
    axes = node.axes()
    along = [stream.labels[axis] for axis in axes or ()]
    if along != [node.parts.roles.get("time")] or node.attributes.get("keepdims", 1):
        raise ConversionError(
            "it goes along another axis than time, or keeps it", expected="axes: [time], keepdims: 0", got=str(axes)
        )
    if node.parts.lengths:
        raise ConversionError("it takes in the steps after the end of a row, whose lengths are given to the graph")
    if DIRECTIONS in stream.labels:
        raise ConversionError("it reads two directions that are not side by side")
    return node.parts.added(part(), stream.without(stream.labels.index(along[0])))


def activation(node: GraphNode, *, op: str) -> Value:
    """The activation of a dense layer, or one by itself."""
    function = _function(op, node.attributes, node.operands)
    stream = node.take()
    if op in OF_ROWS:
        axis = node.attributes.get("axis", -1 if node.parts.opset >= SOFTMAX_LAST else 1)
        if axis not in (-1, len(stream.axes) - 1) or stream.labels[-1] in node.parts.roles.values():
            raise ConversionError("it is a softmax along another axis than the last", got=str(axis))
        if DIRECTIONS in stream.labels:
            raise ConversionError("it reads two directions that are not side by side")
    return node.parts.activated(stream, function)


def _function(op: str, attributes: Attributes, operands: Operands) -> str:
    if op in PLAIN:
        return PLAIN[op]
    if op == "Clip":
        low, high = clip_bounds(attributes, operands)
        plain = {(0.0, np.inf): "relu", (-np.inf, np.inf): "identity"}
        return plain.get((low, high), spelled("clip", low, high))
    if op == "Gelu":
        return "gelu_tanh" if attributes.get("approximate", "none") == "tanh" else "gelu"
    kind, numbers = CONSTANTS[op]
    spelled_numbers = [values.shortest(float(attributes.get(name, default))) for name, default in numbers.items()]
    return "elu" if (kind, *spelled_numbers) == ("elu", 1.0) else spelled(kind, *spelled_numbers)


def reverse_sequence(node: GraphNode) -> Value:
    """All steps from the last to the first."""
    stream = node.take()
    if len(stream.axes) < SEQUENCE - 1 or DIRECTIONS in stream.labels:
        raise ConversionError("it does not read (time, batch, features)", got=", ".join(stream.labels))
    time, batch = (
        stream.axes[node.attributes.get(name, default)] for name, default in (("time_axis", 0), ("batch_axis", 1))
    )
    lengths = node.operands[1]
    whole = isinstance(lengths, values.FilledValue) and lengths.value in (time.label, time.size)
    if not whole and not (isinstance(lengths, ConstantValue) and time.size and (lengths.array == time.size).all()):
        raise ConversionError(
            "it reverses a part of each row", expected="as many steps as there are", do="leave the lengths out"
        )
    node.parts.set_roles(time, batch)
    return node.parts.added(net.Reverse(), stream)


def flatten(node: GraphNode) -> Value:
    """All steps of a row side by side."""
    stream = node.operands[0]
    if isinstance(stream, FlowValue) and node.attributes.get("axis", 1) % max(len(stream.axes), 1) == 1:
        return stream if len(stream.axes) == 2 else _flat(node.parts, stream.side_by_side())
    raise ConversionError("it joins other axes than those after the first")


def _flat(parts: NetworkBuilder, stream: FlowValue) -> Value:
    batch, *others = parts.take(stream).axes
    if [batch.label, *(axis.label for axis in others)] != [parts.roles.get("batch"), parts.roles.get("time"), FEATURES]:
        raise ConversionError(
            "it mixes rows of the batch", got=", ".join(stream.labels), expected="batch, time, features"
        )
    sizes = [axis.size for axis in others]
    features = None if None in sizes else int(np.prod([size or 0 for size in sizes]))
    part = net.Reshape((-1 if features is None else features,))
    return parts.added(part, replace(stream, axes=(batch, Axis(FEATURES, features)), last=""))


def reshaped(node: GraphNode) -> Value:
    """Steps side by side, or axes joined and taken apart without moving a number."""
    stream, items = node.stream.side_by_side(), items_of(node)
    in_order = [node.parts.roles.get("batch"), node.parts.roles.get("time"), FEATURES]
    if len(items) == 2 and list(stream.labels) == in_order and not stream.apart:
        batch, steps, features = stream.axes
        wide = values.product_of([axis.size or axis.label for axis in (steps, features)])
        by_name = items[0] in (0, batch.label) or (batch.size is not None and items[0] == batch.size)
        if (by_name and items[1] in (-1, wide)) or (items[0] == -1 and items[1] == wide and steps.size != 1):
            return _flat(node.parts, stream)
    try:
        return reshape(node)
    except ConversionError as error:
        called = {label: role for role, label in node.parts.roles.items()}
        axes = ", ".join(called.get(label, label) for label in node.stream.labels)
        raise ConversionError(error.problem, expected=error.expected, got=f"axes {axes} to {items}") from error


def _check_features(parts: NetworkBuilder, stream: FlowValue) -> None:
    if stream.labels[-1] in parts.roles.values() or DIRECTIONS in stream.labels or len(stream.axes) < SEQUENCE - 1:
        raise ConversionError("it scales what are no features", got=", ".join(stream.labels))


def _of_features(parts: NetworkBuilder, value: Value | None, stream: FlowValue) -> Array:
    """A number for each feature; one number stands for all, where their count is known."""
    size = stream.axes[-1].size
    if isinstance(value, values.FilledValue) and isinstance(value.value, float):
        value = ConstantValue(np.asarray(value.value, np.float32))
    array = constant(value, "operand")
    _check_features(parts, stream)
    if array.size == 1 and array.dtype.kind == "f" and size is not None:
        return np.full(size, array.reshape(()))
    return vector(array, size)


COMPUTING: Mapping[str, Callable[[GraphNode], Value]] = {
    "Add": add,
    "BatchNormalization": batch_norm,
    "Div": divide,
    "Flatten": flatten,
    "Gemm": gemm,
    "LayerNormalization": layer_norm,
    "MatMul": matmul,
    "Mul": multiply,
    "ReduceMax": partial(pool, part=net.Max),
    "ReduceMean": partial(pool, part=net.Mean),
    "Reshape": reshaped,
    "ReverseSequence": reverse_sequence,
    "Sub": less,
    **{op: partial(activation, op=op) for op in (*PLAIN, *CONSTANTS, "Clip", "Gelu")},
}
"""The parts that nodes add to the network, by operator."""
