"""Recurrent layers in a graph: every level, both directions, with lengths and states."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gatewright.backends.onnx import native
from gatewright.backends.onnx.graph import ElementKind, Graph, Tensor
from gatewright.backends.onnx.operators import OPERATORS, operator_cell
from gatewright.backends.onnx.regroup import evaluated
from gatewright.backends.onnx.steps import Direction, Ends, LayerInputs, LayerOutputs, steps_of
from gatewright.cell_config.recognise import RecognisedCell
from gatewright.trace.ir import Trace

Params = Mapping[str, NDArray[Any]]
LAST = np.iinfo(np.int64).min
"""Where a slice ends that goes backwards and takes the first element too."""


class Level(Protocol):
    """One level of a stack: the numbers of its directions, by their names in the equations."""

    @property
    def sizes(self) -> Mapping[str, int]:
        """Of every axis."""
        ...

    @property
    def directions(self) -> tuple[Params, ...]:
        """Forwards, and backwards where it reads both ways."""
        ...


@dataclass(frozen=True, slots=True)
class StackOutputs:
    """The outputs of all levels. Final states are (levels * directions, batch, features)."""

    output: Tensor  # (time, batch, directions * features)
    finals: Mapping[str, Tensor]
    operator: str  # "GRU", "LSTM", "RNN", "Scan", or "" where the cell needs no loop


def ends_of(graph: Graph, x: Tensor, lengths: Tensor) -> Ends:
    """Which steps each row takes, where lengths (batch,) are given."""
    step = graph.unsqueeze(steps_of(graph, x), 1)
    return Ends(lengths, graph.emit("Less", step, graph.unsqueeze(lengths, 0), kind=ElementKind.TRUTH))


def stack(
    graph: Graph,
    trace: Trace,
    levels: Sequence[Level],
    x: Tensor,
    states: Mapping[str, Tensor],
    ends: Ends | None,
    prefix: str,
    *,
    operators: bool = True,
) -> StackOutputs:
    """All levels of a layer, one above the other, over x (time, batch, input).

    A cell that ONNX has an operator for becomes that operator, unless `operators` is False. Every other cell becomes a
    Scan. ONNX Runtime has the recurrent operators in float32 only, so a float64 graph uses Scan too.
    """
    trace = evaluated(trace)
    # recognised once for all levels, which have one cell
    cell = operator_cell(trace) if operators and graph.dtype == np.float32 else None
    finals: dict[str, list[Tensor]] = {state.name: [] for state in trace.states}
    for place, level in enumerate(levels):
        count = len(level.directions)
        starts = {name: _some(graph, whole, place * count, count, len(levels)) for name, whole in states.items()}
        inputs, at = LayerInputs(x, starts, ends), f"{prefix}l{place}"
        if cell:
            outcome = native.run(graph, trace, cell, level.directions, inputs, f"{at}.")
        else:
            outcome = _scanned(graph, trace, level, inputs, at)
        x = outcome.output
        for name, final in outcome.finals.items():
            finals[name].append(final)
    return StackOutputs(x, {name: _joined(graph, parts, 0) for name, parts in finals.items()}, _named(graph, cell))


def _named(graph: Graph, cell: RecognisedCell | None) -> str:
    if cell:
        return OPERATORS[cell.config.family].name
    return "Scan" if any(node.op == "Scan" for node in graph.main.nodes) else ""


def _scanned(graph: Graph, trace: Trace, level: Level, inputs: LayerInputs, at: str) -> LayerOutputs:
    """One level without an operator: each direction by itself."""
    outcomes: list[LayerOutputs] = []
    for place, params in enumerate(level.directions):
        prefix = f"{at}_reverse." if place else f"{at}."
        named = {name: graph.initialiser(f"{prefix}{name}", array) for name, array in params.items()}
        single = {
            name: graph.emit("Gather", whole, graph.count(place), ndim=2, axis=0)
            for name, whole in inputs.states.items()
        }
        of_one = LayerInputs(inputs.x, single, inputs.ends)
        outcomes.append(directed(graph, trace, level.sizes, named, of_one, prefix, backwards=bool(place)))
    finals = {
        state.name: _joined(graph, [graph.unsqueeze(outcome.finals[state.name], 0) for outcome in outcomes], 0)
        for state in trace.states
    }
    return LayerOutputs(_joined(graph, [outcome.output for outcome in outcomes], 2), finals)


def directed(
    graph: Graph,
    trace: Trace,
    sizes: Mapping[str, int],
    params: Mapping[str, Tensor],
    inputs: LayerInputs,
    prefix: str,
    *,
    backwards: bool,
) -> LayerOutputs:
    """One direction of one level as a Scan of the evaluated equations; backwards, from each row's last step."""
    x = _reversed(graph, inputs.x, inputs.ends) if backwards else inputs.x
    outcome = Direction(graph, trace, sizes, params, LayerInputs(x, inputs.states, inputs.ends), prefix).add()
    output = _reversed(graph, outcome.output, inputs.ends) if backwards else outcome.output
    return LayerOutputs(output, outcome.finals)


def _reversed(graph: Graph, values: Tensor, ends: Ends | None) -> Tensor:
    """Each row's steps in reverse; padding stays where it is."""
    if ends:
        return graph.emit("ReverseSequence", values, ends.lengths, ndim=values.ndim, time_axis=0, batch_axis=1)
    return graph.slice(values, -1, LAST, -1)


def _some(graph: Graph, whole: Tensor, start: int, count: int, levels: int) -> Tensor:
    """The states of one level."""
    return whole if levels == 1 else graph.slice(whole, start, start + count)


def _joined(graph: Graph, parts: Sequence[Tensor], axis: int) -> Tensor:
    return parts[0] if len(parts) == 1 else graph.emit("Concat", *parts, ndim=parts[0].ndim, axis=axis)
