"""A layer as one of ONNX's recurrent operators: its numbers in their order, and the node."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.backends.onnx.graph import ElementKind, Graph, Tensor
from gatewright.backends.onnx.operators import OPERATORS, attributes_of, operator_cell
from gatewright.backends.onnx.steps import Ends, LayerInputs, LevelOutputs, steps_of
from gatewright.cell_config.normal_form import Constants
from gatewright.cell_config.recognise import RecognisedCell
from gatewright.trace.ir import Literal, Trace

Array = NDArray[Any]
Arrays = Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class OperatorLayer:
    """A layer that an operator computes."""

    trace: Trace  # of its first direction
    cells: tuple[RecognisedCell, ...]  # of each direction; they differ in their activations at most
    directions: tuple[Arrays, ...]  # the numbers of each, by their names in the equations
    backwards: bool = False  # its only direction reads from the end

    @property
    def units(self) -> int:
        """The states of each direction."""
        (units,) = {array.shape[0] for array in self.directions[0].values() if array.ndim == 2}
        return units

    @property
    def attributes(self) -> dict[str, Any]:
        """The direction, where it is not forwards."""
        if len(self.directions) > 1:
            return {"direction": "bidirectional"}
        return {"direction": "reverse"} if self.backwards else {}

    def operands(self) -> dict[str, Array]:
        """W, R, B and P of all directions; B and P where any direction has them."""
        arrays = [packed(cell, params, self.units) for cell, params in zip(self.cells, self.directions, strict=True)]
        likes = {name: array for direction in arrays for name, array in direction.items()}
        names = [name for name in ("W", "R", "B", "P") if name in likes]
        return {name: np.stack([entry.get(name, np.zeros_like(likes[name])) for entry in arrays]) for name in names}


@dataclass(frozen=True, slots=True)
class OperatorNode:
    """A recurrent operator with its attributes, and its arrays W, R, B and P for all directions."""

    op: str
    attributes: Mapping[str, Any]
    arrays: Arrays


def cells_of(traces: Sequence[Trace]) -> tuple[RecognisedCell, ...] | None:
    """The cell of each direction where one operator computes all of them; None where none does."""
    cells = tuple(cell for trace in traces if (cell := operator_cell(trace)))
    kinds = {(replace(cell.config, gate="", activation="", output=""), cell.inverted) for cell in cells}
    return cells if len(cells) == len(traces) and len(kinds) == 1 else None


def packed(cell: RecognisedCell, params: Arrays, units: int) -> dict[str, Array]:
    """The operator's W, R, B and P of one direction; B and P where the cell has any."""
    operator = OPERATORS[cell.config.family]
    nothing = np.zeros(units, np.result_type(*params.values()))
    arrays = {ours: _joined(cell.of_gates(space, operator.gates), params) for ours, space in (("W", "W"), ("R", "U"))}
    if cell.has_biases:
        both = [*cell.of_gates("b", operator.gates), *cell.of_gates("bh", operator.gates)]
        arrays["B"] = _joined(both, params, nothing)
    if cell.config.peepholes:
        arrays["P"] = _joined(cell.of_gates("p", operator.peepholes), params, nothing)
    return arrays


def run(graph: Graph, layer: OperatorLayer, inputs: LayerInputs, prefix: str) -> LevelOutputs:
    """All directions of a layer as one node, and what each gives. Its states are (directions, batch, hidden)."""
    trace, config, units, count = layer.trace, layer.cells[0].config, layer.units, len(layer.directions)
    operator = OPERATORS[config.family]
    doc = f"gates {', '.join(operator.gates)} of {trace.name}"
    weights = {name: graph.initialiser(f"{prefix}{name}", array, doc) for name, array in layer.operands().items()}
    states = [inputs.states.get(state.name) for state in trace.states]

    def results(lengths: Tensor | None, times: int = 1) -> tuple[Tensor, ...]:
        """The results of the operator, with all of its directions repeated `times` times."""
        attributes = {
            "hidden_size": units,
            **({"direction": "bidirectional"} if times > 1 else layer.attributes),
            **attributes_of([cell.config for cell in layer.cells] * times),
        }
        constants = [weights["W"], weights["R"], weights.get("B"), *states, weights.get("P")]
        if times > 1:
            constants = [
                constant and graph.emit("Concat", *(constant,) * times, ndim=constant.ndim, axis=0)
                for constant in constants
            ]
        operands = [inputs.x, *constants[:3], lengths, *constants[3:]]
        return _called(graph, operator.name, operands, len(states), attributes)

    output, *finals = results(_lengths(graph, inputs))
    steps = _side_by_side(graph, output, count, units)
    if inputs.ends and count == 1:
        memory = len(trace.states) > 1 and bool(inputs.states)
        steps, finals = _doubled(graph, results, inputs) if memory else _cut(graph, results, inputs.ends, inputs)
    kept = zip(trace.states, finals, strict=True)
    named = {state.name: _kept(graph, final, state.name, inputs) for state, final in kept}
    return LevelOutputs(steps, named, operator.name, _halves(graph, output, count) if count > 1 else (steps,))


def _doubled(
    graph: Graph, results: Callable[[Tensor | None, int], tuple[Tensor, ...]], inputs: LayerInputs
) -> tuple[Tensor, list[Tensor]]:
    """The steps and final states of one direction, computed as the first direction of a bidirectional operator.

    OpenVINO ignores the lengths of an operator of one direction, but not those of a bidirectional one. The second
    direction reads the same weights, so the file is no larger, and its results are not read.
    """
    output, *finals = results(_lengths(graph, inputs), 2)
    steps = graph.emit("Gather", output, graph.count(0), ndim=3, axis=1)
    return steps, [graph.slice(final, 0, 1) for final in finals]


def _cut(
    graph: Graph, results: Callable[[Tensor | None, int], tuple[Tensor, ...]], ends: Ends, inputs: LayerInputs
) -> tuple[Tensor, list[Tensor]]:
    """The steps and final states of one direction whose rows end early.

    OpenVINO ignores the lengths of an operator of one direction. So the operator runs to the end of the padding, and
    its outputs after the end of a row are set to zero. Y has no memory of each step: the final memory comes from a
    bidirectional operator (`_doubled`).
    """
    steps = graph.squeeze(results(_whole(graph, inputs), 1)[0], 1)
    before = graph.emit("Sub", ends.lengths, graph.count(1), kind=ElementKind.COUNT)
    places = graph.unsqueeze(steps_of(graph, inputs.x), 1)
    is_last = graph.emit("Equal", places, graph.unsqueeze(before, 0), kind=ElementKind.TRUTH)
    final = graph.reduce("ReduceSum", graph.emit("Where", is_last[(..., None)], steps, 0.0), (0,))
    _, others = _doubled(graph, results, inputs)
    cut = graph.emit("Where", ends.active[(..., None)], steps, 0.0)
    return cut, [graph.unsqueeze(final, 0), *others[1:]]


def _lengths(graph: Graph, inputs: LayerInputs) -> Tensor | None:
    """The operator's lengths.

    A stream always gives them: a chunk may have no steps, and ONNX Runtime's GRU without lengths then aborts the
    process.
    """
    if inputs.ends:
        return graph.cast(inputs.ends.lengths, ElementKind.SHORT_COUNT)
    return _whole(graph, inputs) if inputs.states else None


def _whole(graph: Graph, inputs: LayerInputs) -> Tensor:
    """Lengths of rows that have all steps."""
    shape = graph.shape(inputs.x)
    steps, rows = graph.slice(shape, 0, 1), graph.slice(shape, 1, 2)
    return graph.cast(graph.emit("Expand", steps, rows, ndim=1, kind=ElementKind.COUNT), ElementKind.SHORT_COUNT)


def _side_by_side(graph: Graph, output: Tensor, directions: int, units: int) -> Tensor:
    """(time, directions, batch, hidden) -> (time, batch, directions * hidden)."""
    if directions == 1:
        return graph.squeeze(output, 1)
    rows = graph.transpose(output, 0, 2, 1, 3)
    return graph.emit("Reshape", rows, graph.counts(0, 0, directions * units), ndim=3)


def _kept(graph: Graph, final: Tensor, state: str, inputs: LayerInputs) -> Tensor:
    """A final state. A row of no steps keeps its initial state, which ONNX Runtime would replace by zero."""
    initial = inputs.states.get(state)
    if initial is None:
        return final
    steps = graph.unsqueeze(inputs.ends.lengths, 1) if inputs.ends else graph.slice(graph.shape(inputs.x), 0, 1)
    empty = graph.emit("Equal", steps, graph.count(0), kind=ElementKind.TRUTH)
    return graph.emit("Where", empty, initial, final)


def node(graph: Graph, written: OperatorNode, inputs: LayerInputs, prefix: str) -> LevelOutputs:
    """A layer whose operator, attributes and arrays are known. It gets lengths and states as they are."""
    weights = {name: graph.initialiser(f"{prefix}{name}", array) for name, array in written.arrays.items()}
    lengths = graph.cast(inputs.ends.lengths, ElementKind.SHORT_COUNT) if inputs.ends else None
    states = ["h", "c"] if written.op == "LSTM" else ["h"]
    operands = [inputs.x, weights["W"], weights["R"], weights.get("B"), lengths]
    operands += [*map(inputs.states.get, states), weights.get("P")]
    output, *finals = _called(graph, written.op, operands, len(states), written.attributes)
    directions, _, units = written.arrays["R"].shape
    steps = _side_by_side(graph, output, directions, units)
    halves = _halves(graph, output, directions) if directions > 1 else (steps,)
    return LevelOutputs(steps, dict(zip(states, finals, strict=True)), written.op, halves)


def _called(
    graph: Graph, op: str, operands: list[Tensor | None], states: int, attributes: Mapping[str, Any]
) -> tuple[Tensor, ...]:
    """The results of an operator: Y and its final states. Operands that are left out at the end are not named."""
    while operands[-1] is None:
        operands.pop()
    return graph.emit_many(op, operands, [4, *[3] * states], attributes=attributes)


def _halves(graph: Graph, output: Tensor, count: int) -> tuple[Tensor, ...]:
    """(time, directions, batch, hidden) -> what each direction gives, (time, batch, hidden)."""
    return tuple(graph.emit("Gather", output, graph.count(place), ndim=3, axis=1) for place in range(count))


def _joined(gates: Sequence[Constants], params: Arrays, nothing: Array | float = 0.0) -> Array:
    """The gates one below the other, each the sum of its parameters and numbers."""
    sums: list[Any] = []
    for constants in gates:
        values = (sign * (atom.value if isinstance(atom, Literal) else params[atom.name]) for sign, atom in constants)
        sums.append(sum(values, start=nothing))
    return np.concatenate(sums).astype(np.result_type(*params.values()))
