"""A recurrent layer in a graph: both directions, with lengths and states."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.backends.onnx import native
from gatewright.backends.onnx.graph import ElementKind, Graph, Tensor
from gatewright.backends.onnx.regroup import evaluated
from gatewright.backends.onnx.steps import Direction, Ends, LayerInputs, LayerOutputs, LevelOutputs, steps_of
from gatewright.trace.ir import Trace

Params = Mapping[str, NDArray[Any]]
LAST = np.iinfo(np.int64).min
"""Where a slice ends that goes backwards and takes the first element too."""


@dataclass(frozen=True, slots=True)
class Level:
    """One recurrent layer: equations and numbers of each direction, by their names in the equations."""

    traces: tuple[Trace, ...]
    sizes: Mapping[str, int]  # of every axis
    directions: tuple[Params, ...]  # forwards, and backwards where it reads both ways
    backwards: bool = False  # its only direction reads from the end
    written: native.OperatorNode | None = None  # the operator, where it is known


def ends_of(graph: Graph, x: Tensor, lengths: Tensor) -> Ends:
    """Which steps each row takes, where lengths (batch,) are given."""
    step = graph.unsqueeze(steps_of(graph, x), 1)
    return Ends(lengths, graph.emit("Less", step, graph.unsqueeze(lengths, 0), kind=ElementKind.TRUTH))


def add(graph: Graph, level: Level, inputs: LayerInputs, name: str, *, operators: bool = True) -> LevelOutputs:
    """A layer over x (time, batch, input), whose arrays are called by a name.

    A cell that ONNX has an operator for becomes that operator, unless `operators` is False. Every other cell becomes a
    Scan. ONNX Runtime has the recurrent operators in float32 only, so a float64 graph uses Scan too.
    """
    if level.written:
        return native.node(graph, level.written, inputs, f"{name}.")
    traces = tuple(evaluated(trace) for trace in level.traces)
    cells = native.cells_of(traces) if operators and graph.dtype == np.float32 else None
    if cells is None:
        return _scanned(graph, traces, level, inputs, name)
    layer = native.OperatorLayer(traces[0], cells, level.directions, level.backwards)
    return native.run(graph, layer, inputs, f"{name}.")


def _scanned(graph: Graph, traces: tuple[Trace, ...], level: Level, inputs: LayerInputs, name: str) -> LevelOutputs:
    """A layer without an operator: each direction by itself."""
    loops: list[LayerOutputs] = []
    for place, (trace, params) in enumerate(zip(traces, level.directions, strict=True)):
        prefix = f"{name}_reverse." if place else f"{name}."
        named = {key: graph.initialiser(f"{prefix}{key}", array) for key, array in params.items()}
        single = {
            state: graph.emit("Gather", whole, graph.count(place), ndim=2, axis=0)
            for state, whole in inputs.states.items()
        }
        backwards = bool(place) or level.backwards  # from each row's last step
        x = _reversed(graph, inputs.x, inputs.ends) if backwards else inputs.x
        loop = Direction(graph, trace, level.sizes, named, LayerInputs(x, single, inputs.ends), prefix).add()
        output = _reversed(graph, loop.output, inputs.ends) if backwards else loop.output
        loops.append(LayerOutputs(output, loop.finals))
    finals = {
        state.name: _joined(graph, [graph.unsqueeze(loop.finals[state.name], 0) for loop in loops], 0)
        for state in traces[0].states
    }
    halves = tuple(loop.output for loop in loops)
    operator = "Scan" if any(node.op == "Scan" for node in graph.main.nodes) else ""
    return LevelOutputs(_joined(graph, halves, 2), finals, operator, halves, tuple(loops))


def _reversed(graph: Graph, values: Tensor, ends: Ends | None) -> Tensor:
    """Each row's steps in reverse; padding stays where it is."""
    if ends:
        return graph.emit("ReverseSequence", values, ends.lengths, ndim=values.ndim, time_axis=0, batch_axis=1)
    return graph.slice(values, -1, LAST, -1)


def _joined(graph: Graph, parts: Sequence[Tensor], axis: int) -> Tensor:
    return parts[0] if len(parts) == 1 else graph.emit("Concat", *parts, ndim=parts[0].ndim, axis=axis)
