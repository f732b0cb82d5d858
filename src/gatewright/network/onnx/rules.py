"""The rules of ONNX: for each part of a network the operators that compute it."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gatewright.backends.onnx import layers
from gatewright.backends.onnx.graph import ElementKind, Tensor
from gatewright.backends.onnx.steps import LayerInputs, LevelOutputs, steps_of
from gatewright.errors import ConversionError
from gatewright.network import beside, forecast, steps
from gatewright.network import parts as simple
from gatewright.network.onnx.builder import LayerLoop, NetworkGraph
from gatewright.network.onnx.functions import activation
from gatewright.network.onnx.linear_models import linear_outputs, ngram_scores
from gatewright.network.onnx.window import Window
from gatewright.network.part import Part
from gatewright.network.recurrent import RecurrentPart

END, FIRST = np.iinfo(np.int64).max, np.iinfo(np.int64).min
"""Where a slice ends that takes the last element, or the first one going backwards."""


def _embedding(builder: NetworkGraph, part: simple.Embedding, value: Tensor) -> Tensor:
    if part.masks_zero:
        return _refuse_mask(builder, part, value)
    return builder.graph.rows(builder.hold("weight", part.weight), value)


def _sum_embedding(builder: NetworkGraph, part: simple.SumEmbedding, value: Tensor) -> Tensor:
    vectors = builder.graph.rows(builder.hold("weight", part.weight), value)
    return builder.graph.reduce("ReduceSum", vectors, (2,))


def _one_hot(builder: NetworkGraph, part: simple.OneHot, value: Tensor) -> Tensor:
    """Whole numbers first: runtimes have OneHot for few types. A Gather where the file is to be read again."""
    graph = builder.graph
    if builder.readable:
        return graph.emit(
            "Gather", graph.initialiser(f"{builder.name}.rows", np.eye(part.symbols)), value, ndim=3, axis=0
        )
    values = graph.initialiser("zero_and_one", np.array([0, 1], np.int64))
    places = graph.emit("OneHot", value, graph.count(part.symbols), values, ndim=3, kind=ElementKind.COUNT, axis=-1)
    return graph.cast(places, ElementKind.NUMBER)


def _scale(builder: NetworkGraph, part: simple.Scale, value: Tensor) -> Tensor:
    return (value - builder.hold("mean", part.mean)) / builder.hold("deviation", part.deviation)


def _batch_norm(builder: NetworkGraph, part: simple.BatchNorm, value: Tensor) -> Tensor:
    """The statistics of training are taken together with what follows them."""
    gain = 1.0 if part.gain is None else part.gain.astype(np.float64)
    gain = np.asarray(gain / np.sqrt(part.variance.astype(np.float64) + part.epsilon))
    shift = np.asarray((0.0 if part.bias is None else part.bias) - part.mean * gain)
    scaled = value * builder.graph.initialiser(f"{builder.name}.gain", gain)
    return scaled + builder.graph.initialiser(f"{builder.name}.shift", shift)


def _layer_norm(builder: NetworkGraph, part: simple.LayerNorm, value: Tensor) -> Tensor:
    graph, width = builder.graph, builder.features if part.width is None else part.width
    if width is None:
        raise ConversionError(
            "ONNX's LayerNormalization needs the number of features, which is not known here",
            got="a LayerNorm without gain and bias behind a Reshape that has a size of -1",
        )
    gain = graph.initialiser(f"{builder.name}.gain", np.ones(width) if part.gain is None else part.gain)
    # ONNX Runtime 1.32 ends the process where this input is left out and a MatMul follows.
    bias = builder.hold("bias", np.zeros(width) if part.bias is None else part.bias)
    return graph.emit("LayerNormalization", value, gain, bias, ndim=value.ndim, epsilon=part.epsilon)


def _dense(builder: NetworkGraph, part: simple.Dense, value: Tensor) -> Tensor:
    graph = builder.graph
    # An embedding and the head may be one matrix, which the file then holds once.
    shared = None if builder.readable else builder.held_already(part.weight)
    if shared is None:
        matrix = graph.initialiser(f"{builder.name}.weight", part.weight.T)
    else:
        matrix = graph.emit("Transpose", shared, perm=(1, 0))
    value = graph.emit("MatMul", value, matrix, ndim=value.ndim)
    if part.bias is not None:
        value = value + builder.hold("bias", part.bias)
    return activation(graph, part.activation, value)


def _reshape(builder: NetworkGraph, part: steps.Reshape, value: Tensor) -> Tensor:
    if len(part.shape) != 1:
        raise ConversionError(
            "ONNX's form of a Reshape here puts the steps of a row side by side, and nothing else",
            expected="a shape (features,)",
            got=str(part.shape),
        )
    rows = builder.graph.transpose(value, 1, 0, 2) if value.ndim == 3 else value
    return builder.graph.emit("Reshape", rows, builder.graph.counts(0, *part.shape), ndim=2)


def _mean(builder: NetworkGraph, part: steps.Mean, value: Tensor) -> Tensor:
    graph, values = builder.graph, _sequence(part, value)
    if not builder.ends and (builder.readable or not part.zeros_if_empty):
        return graph.reduce("ReduceMean", values, (0,))
    if builder.ends:
        values = graph.emit("Where", builder.ends.active[(..., None)], values, 0.0)
    total, steps = graph.reduce("ReduceSum", values, (0,)), builder.count_steps(value)
    present = graph.emit("Max", steps, graph.count(1), kind=ElementKind.COUNT) if part.zeros_if_empty else steps
    return total / graph.cast(present, ElementKind.NUMBER)


def _max(builder: NetworkGraph, part: steps.Max, value: Tensor) -> Tensor:
    graph, values = builder.graph, _sequence(part, value)
    if builder.ends:
        values = graph.emit("Where", builder.ends.active[(..., None)], values, -np.inf)
    greatest = graph.reduce("ReduceMax", values, (0,))
    if builder.readable or not part.zeros_if_empty:
        return greatest
    some = graph.emit("Less", graph.count(0), builder.count_steps(value), kind=ElementKind.TRUTH)
    return graph.emit("Where", some, greatest, 0.0)


def _last(builder: NetworkGraph, part: steps.Last, value: Tensor) -> Tensor:
    """Of each direction its own end: the backward one, the last of the features, ends at the first step."""
    graph, values = builder.graph, _sequence(part, value)
    if not part.backward:
        return _last_steps(builder, values)
    forward = _last_steps(builder, graph.slice(values, 0, -part.backward, axis=2))
    first = graph.slice(graph.slice(values, -part.backward, END, axis=2), 0, 1)
    return graph.emit("Concat", forward, graph.reduce("ReduceSum", first, (0,)), axis=1)


def _last_steps(builder: NetworkGraph, values: Tensor) -> Tensor:
    """The last step of each row; zeros for a row of no step."""
    graph, ends = builder.graph, builder.ends
    if not ends:
        return graph.reduce("ReduceSum", graph.slice(values, -1, END), (0,))
    before = graph.emit("Sub", ends.lengths, graph.count(1), kind=ElementKind.COUNT)
    step = graph.unsqueeze(steps_of(graph, values), 1)
    is_last = graph.emit("Equal", step, graph.unsqueeze(before, 0), kind=ElementKind.TRUTH)
    return graph.reduce("ReduceSum", graph.emit("Where", is_last[(..., None)], values, 0.0), (0,))


def _patches(builder: NetworkGraph, part: steps.PatchPart, value: Tensor) -> Tensor:
    """Zeros fill up the last patch of a row."""
    graph, size, features, ends = builder.graph, part.size, part.width, builder.ends
    x = graph.emit("Where", ends.active[(..., None)], value, 0.0) if ends else value
    steps, shape, none = builder.steps(x), graph.shape(x), graph.counts(0)
    count = _in_patches(steps, size)
    pads = graph.join_counts(none, none, none, count * size - steps, none, none)
    batch = graph.slice(shape, 1, 2)
    divided = graph.join_counts(count, graph.counts(size), batch, graph.counts(features))
    joined = graph.join_counts(count, batch, graph.counts(size * features))
    parts = graph.emit("Reshape", graph.emit("Pad", x, pads, ndim=3), divided, ndim=4)
    flat = graph.emit("Reshape", graph.transpose(parts, 0, 2, 1, 3), joined, ndim=3)
    weight = graph.transpose(builder.hold("weight", part.weight), 1, 0)
    read = graph.emit("MatMul", flat, weight) + builder.hold("bias", part.bias)
    builder.ends = layers.ends_of(graph, read, _in_patches(ends.lengths, size)) if ends else None
    return read


def _in_patches(steps: Tensor, size: int) -> Tensor:
    """How many patches those steps are, of which the last may not be full."""
    return (steps + (size - 1)) / size


def _mean_of(value: Tensor, scores: Tensor) -> Tensor:
    return (value + scores) * 0.5


def _forecast_window(builder: NetworkGraph, part: forecast.ForecastWindow, value: Tensor) -> Tensor:
    builder.window = Window(builder.graph, part.forecast, value, builder.known)
    return builder.window.read()


def _window(builder: NetworkGraph) -> Window:
    assert builder.window is not None, "a ForecastWindow stands before the layers"
    return builder.window


def _recurrent(builder: NetworkGraph, part: RecurrentPart, value: Tensor) -> Tensor:
    if value.ndim != 3:
        raise ConversionError("a layer reads a sequence, and the one below gives its last step only")
    graph, name = builder.graph, builder.name
    inputs = LayerInputs(value, builder.begin(part, value), builder.ends)
    # ONNX Runtime has the recurrent operators in float32 only.
    node_of = builder.options.node_of if graph.dtype == np.float32 else None
    level = layers.Level(part.traces, part.sizes, part.cell_parameters(), part.backwards, node_of and node_of(part))
    outcome = layers.add(graph, level, inputs, name, operators=builder.options.operators)
    builder.operator = builder.operator or outcome.operator
    for state, final in outcome.finals.items():
        builder.finals.setdefault(state, []).append(final)
    halves = _halves(builder, part, outcome)
    if builder.readable and outcome.loops:
        value.name = value.name or f"{name}.input"
        for place, half in enumerate(halves):
            half.name = f"{name}_reverse.result" if place else f"{name}.result"
        builder.loops[name] = LayerLoop(part, value, tuple(halves))
    return _merged(builder, part, halves, outcome.output)


def _halves(builder: NetworkGraph, part: RecurrentPart, outcome: LevelOutputs) -> list[Tensor]:
    """What each direction gives."""
    graph, is_last = builder.graph, part.returns == "last"
    if outcome.loops:
        state = part.traces[0].states[0].name
        return [loop.finals[state] if is_last else loop.output for loop in outcome.loops]
    if is_last:
        final = outcome.finals[part.traces[0].states[0].name]
        if len(part.directions) == 1:
            return [graph.squeeze(final, 0)]
        return [graph.emit("Gather", final, graph.count(place), ndim=2, axis=0) for place in (0, 1)]
    return list(outcome.halves)


def _merged(builder: NetworkGraph, part: RecurrentPart, halves: list[Tensor], joined: Tensor) -> Tensor:
    """What a layer gives of the outputs of its directions."""
    graph = builder.graph
    if part.merge == "concat" and part.returns == "sequence":
        return joined
    if len(halves) == 1:
        return halves[0]
    if part.merge == "concat":
        return graph.emit("Concat", *halves, axis=halves[0].ndim - 1)
    merged = halves[0] * halves[1] if part.merge == "mul" else halves[0] + halves[1]
    if part.merge != "ave":
        return merged
    return merged * graph.initialiser(f"{builder.name}.half", np.full(part.widths[0], 0.5))


def _refuse_mask(builder: NetworkGraph, part: Part, value: Tensor) -> Tensor:
    """Refuse a part that says which steps are padding."""
    raise ConversionError(
        "ONNX's operators know no mask",
        got=part.kind,
        do="leave it out, and give the lengths of the rows instead",
    )


def _sequence(part: Part, value: Tensor) -> Tensor:
    if value.ndim != 3:
        raise ConversionError(f"there are no steps left that a {part.kind} could be of")
    return value


RULES: Mapping[type[Part], Callable[[NetworkGraph, Any, Tensor], Tensor]] = {
    simple.Activation: lambda builder, part, value: activation(builder.graph, part.function, value),
    simple.AddInput: lambda builder, part, value: builder.graph.emit(
        "Add", value, builder.graph.slice(builder.inputs, 0, part.features, axis=2)
    ),
    simple.BatchNorm: _batch_norm,
    simple.Dense: _dense,
    simple.Embedding: _embedding,
    forecast.ForecastOutput: lambda builder, part, value: _window(builder).forecast(value),
    forecast.ForecastSteps: lambda builder, part, value: _window(builder).to_come(value),
    forecast.ForecastWindow: _forecast_window,
    steps.Last: _last,
    simple.LayerNorm: _layer_norm,
    beside.LinearSeriesPart: lambda builder, part, value: _mean_of(
        value, linear_outputs(builder, part, _scale(builder, part.scale, builder.inputs))
    ),
    simple.Masking: _refuse_mask,
    steps.Max: _max,
    steps.Mean: _mean,
    beside.Ngrams: lambda builder, part, value: _mean_of(value, ngram_scores(builder, part)),
    simple.OneHot: _one_hot,
    steps.PatchPart: _patches,
    RecurrentPart: _recurrent,
    steps.Reshape: _reshape,
    steps.Reverse: lambda builder, part, value: builder.graph.slice(_sequence(part, value), -1, FIRST, -1),
    simple.Scale: _scale,
    simple.SumEmbedding: _sum_embedding,
    steps.TakeStep: lambda builder, part, value: builder.graph.emit(
        "Gather", _sequence(part, value), builder.graph.count(part.index), ndim=2, axis=0
    ),
}
