"""Any cell over a sequence: what depends on no state is computed for all steps at once, the rest by a Scan.

Scan and not Loop: it slices the inputs and stacks the outputs of the steps by itself, and the length of the sequence
is its number of steps.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gatewright.axes import bind
from gatewright.backends.onnx.graph import ElementKind, Extent, Graph, Operand, Scope, Tensor
from gatewright.backends.onnx.regroup import regrouped
from gatewright.backends.onnx.rules import compute, ops_of, prefixed
from gatewright.trace.analysis import reads, shared, split
from gatewright.trace.ir import Atom, Literal, Trace, Var
from gatewright.trace.mask import MASK, masked_trace

BATCH, TIME = "batch", "time"


@dataclass(frozen=True, slots=True)
class Ends:
    """Where the rows of a batch end."""

    lengths: Tensor  # (batch,)
    active: Tensor  # (time, batch): true where a row takes the step


@dataclass(frozen=True, slots=True)
class LayerInputs:
    """The inputs of a layer, or of one direction of it."""

    x: Tensor  # (time, batch, features)
    states: Mapping[str, Tensor]  # (batch, features), by their names; zeros where they are left out
    ends: Ends | None


@dataclass(frozen=True, slots=True)
class LayerOutputs:
    """The outputs of a layer, or of one direction of it."""

    output: Tensor  # (time, batch, features)
    finals: Mapping[str, Tensor]  # (batch, features), by the names of the states


@dataclass(frozen=True, slots=True)
class LevelOutputs:
    """The outputs of a layer. Final states are (directions, batch, features)."""

    output: Tensor  # (time, batch, directions * features)
    finals: Mapping[str, Tensor]
    operator: str  # "GRU", "LSTM", "RNN", "Scan", or "" where the cell needs no loop
    halves: tuple[Tensor, ...] = ()  # (time, batch, features) of each direction
    loops: tuple[LayerOutputs, ...] = ()  # of each direction, where no operator computes it


def steps_of(graph: Graph, x: Tensor) -> Tensor:
    """The numbers of all steps, from 0 up."""
    count = graph.squeeze(graph.slice(graph.shape(x), 0, 1), 0)
    return graph.emit("Range", graph.count(0), count, graph.count(1), ndim=1, kind=ElementKind.COUNT)


class Direction:
    """One direction of one layer, from its first step to its last.

    `trace` is an evaluated one. Rows that have ended keep their states and give out zeros.
    """

    def __init__(
        self,
        graph: Graph,
        trace: Trace,
        sizes: Mapping[str, int],
        params: Mapping[str, Tensor],
        inputs: LayerInputs,
        prefix: str,
    ) -> None:
        self.graph, self.sizes, self.prefix = graph, sizes, prefix
        self.x, self.states, self.ends = inputs.x, dict(inputs.states), inputs.ends
        self.trace = trace = regrouped(masked_trace(trace) if inputs.ends else trace, ops_of(graph.dtype))
        self.parts = split(trace)
        read = reads(trace)
        self.carried = {state: new for state, new in trace.updates() if state.name in read}
        self.values: dict[str, Any] = {**params, trace.inputs[0].name: inputs.x}
        if inputs.ends:
            self.values[MASK] = inputs.ends.active
        self.sequences: dict[str, Tensor] = {}  # computed by the loop, for every step
        self.finals: dict[str, Tensor] = {}

    def add(self) -> LayerOutputs:
        """Add everything to the graph: the operators before the loop, the loop, and those after it."""
        graph, trace = self.graph, self.trace
        compute(graph, self.parts.before, self.values, self.sizes, self.prefix)
        if self.carried:
            self._loop()
        later = {**self.values, **self.sequences}
        compute(graph, self.parts.after, later, self.sizes, self.prefix)
        for state, new in trace.updates():
            if state.name not in self.finals:
                self.finals[state.name] = self._last(state, self._whole(new, later, state))
        output = self._whole(trace.next_states[0], later, trace.states[0])
        if self.ends:
            output = graph.emit("Where", self.ends.active[(..., None)], output, 0.0)
        return LayerOutputs(output, self.finals)

    def _loop(self) -> None:
        graph, sizes = self.graph, self.sizes
        body = Scope(f"{self.prefix}step", depth=1)
        once = shared(self.trace)
        inner = {equation.target.name for equation in self.parts.loop}
        read = {v.name: v for v in self._read_by_loop() if v.name not in inner and v.name not in once}
        elements = {name: v for name, v in read.items() if v not in self.carried}
        values: dict[str, Any] = {name: self.values[name] for name in self.values if name in once}
        for state in self.carried:
            values[state.name] = graph.input(f"{self.prefix}{state.name}", self._row(state), scope=body)
        for place, (name, value) in enumerate(elements.items()):
            called = prefixed(self.prefix, name, f"known_{place}")
            kind: ElementKind = self.values[name].kind
            values[name] = graph.input(f"{called}_now", self._row(value), kind=kind, scope=body)
        whole = [self.values[name] for name in elements]
        if not whole:  # a Scan takes its number of steps from an input
            graph.input(f"{self.prefix}input_now", (BATCH, sizes[self.trace.inputs[0].shape[0]]), scope=body)
            whole = [self.x]
        compute(graph, self.parts.loop, values, sizes, self.prefix)
        self._close(body, values, whole)

    def _close(self, body: Scope, values: Mapping[str, Any], whole: list[Tensor]) -> None:
        """The outputs of a step, and the Scan around it."""
        graph = self.graph
        for state, new in self.carried.items():
            value = self._spread(_operand(new, values), values[state.name])
            graph.output(value, f"{self.prefix}{state.name}_next", self._row(state), scope=body)
        kept = self._read_after()
        for place, (name, var) in enumerate(kept.items()):
            called = prefixed(self.prefix, name, f"kept_{place}")
            graph.output(graph.number(values[name]), f"{called}_each", self._row(var), scope=body)
        operands = [*(self._initial(state) for state in self.carried), *whole]
        ranks = [2] * len(self.carried) + [2 + len(var.shape) for var in kept.values()]
        attributes = {"body": body, "num_scan_inputs": len(whole)}
        results = graph.emit_many("Scan", operands, ranks, attributes=attributes)
        self.finals = {state.name: result for state, result in zip(self.carried, results, strict=False)}
        self.sequences = dict(zip(kept, results[len(self.carried) :], strict=True))

    def _read_by_loop(self) -> list[Var]:
        atoms: list[Atom] = [arg for equation in self.parts.loop for arg in equation.args]
        return [atom for atom in (*atoms, *self.carried.values()) if isinstance(atom, Var)]

    def _read_after(self) -> dict[str, Var]:
        """Values of the loop that are read after it, and so must be kept for every step."""
        known = {equation.target.name for equation in self.parts.loop} | {state.name for state in self.carried}
        atoms: list[Atom] = [arg for equation in self.parts.after for arg in equation.args]
        atoms.append(self.trace.next_states[0])
        atoms += [new for state, new in self.trace.updates() if state not in self.carried]
        return {atom.name: atom for atom in atoms if isinstance(atom, Var) and atom.name in known}

    def _initial(self, state: Var) -> Tensor:
        """A state before the first step: zeros unless it is an input."""
        if state.name not in self.states:
            self.states[state.name] = self.graph.expand(0.0, self._extents(1, state), ndim=2)
        return self.states[state.name]

    def _last(self, state: Var, sequence: Tensor) -> Tensor:
        """A state after the last step. A sequence of no steps leaves the initial state."""
        graph = self.graph
        first = graph.unsqueeze(self._initial(state), 0)
        joined = graph.emit("Concat", first, sequence, ndim=3, axis=0)
        return graph.emit("Gather", joined, graph.count(-1), ndim=2, axis=0)

    def _whole(self, value: Atom, values: Mapping[str, Any], state: Var) -> Tensor:
        """The new value of a state at every step, (time, batch, features)."""
        operand = _operand(value, values)
        if isinstance(operand, Tensor) and operand.ndim == 3:
            return self.graph.number(operand)
        return self.graph.expand(operand, self._extents(2, state), ndim=3)

    def _extents(self, leading: int, state: Var) -> Tensor:
        """The shape of a state of every row, or of every step and row, as a vector."""
        graph = self.graph
        rows = graph.slice(graph.shape(self.x), 2 - leading, 2)
        return graph.join_counts(rows, graph.counts(*bind(state.shape, self.sizes)))

    def _spread(self, value: Operand, like: Tensor) -> Tensor:
        """A value of each row, expanded where it is one for all of them."""
        if isinstance(value, Tensor) and value.ndim == like.ndim:
            return self.graph.number(value)
        return self.graph.expand(value, self.graph.shape(like), ndim=like.ndim)

    def _row(self, value: Var) -> tuple[Extent, ...]:
        return (BATCH, *bind(value.shape, self.sizes))


def _operand(value: Atom, values: Mapping[str, Any]) -> Operand:
    return value.value if isinstance(value, Literal) else values[value.name]
