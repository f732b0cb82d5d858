"""A network as a graph of ONNX's own operators, for any batch and any number of steps.

Where ONNX Runtime has no operator for a layer, in float64 and for projections, a Scan of its equations is written, and
the file's metadata describes it, so that it can be read again.
"""

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright import __version__
from gatewright.backends.onnx import layers
from gatewright.backends.onnx.graph import Graph, Kind, Tensor
from gatewright.backends.onnx.regroup import evaluated
from gatewright.backends.onnx.steps import LayerInputs
from gatewright.convert.onnx_files import operators, writing_parts
from gatewright.convert.onnx_files.scanned import SCANNED
from gatewright.errors import ConversionError
from gatewright.network import (
    Activation,
    AddInput,
    BatchNorm,
    Dense,
    Embedding,
    LayerNorm,
    Masking,
    Max,
    Mean,
    Network,
    OneHot,
    Part,
    RecurrentPart,
    Reshape,
    Reverse,
    Scale,
    TakeStep,
)

Array = NDArray[Any]
OPSET, WITH_GELU = 17, 20
_FIRST = np.iinfo(np.int64).min  # where a slice ends that goes backwards and takes the first element too


@dataclass(frozen=True, slots=True)
class _Loop:
    """A layer that is written as a Scan, and the values around it, which have their names when all is written."""

    layer: RecurrentPart
    source: Tensor
    results: tuple[Tensor, ...]
    lengths: Tensor | None
    initial: tuple[str, ...]

    def described(self) -> dict[str, Any]:
        """What the metadata say of it, as scanned.py reads it."""
        return {
            "input": self.source.name,
            "results": [one.name for one in self.results],
            "lengths": self.lengths.name if self.lengths else "",
            "initial": list(self.initial),
            "equations": [asdict(one) for one in self.layer.equations_of_directions],
            "backwards": self.layer.backwards,
            "returns": self.layer.returns,
        }


class Writer:
    """A graph that reads (time, batch, features), or symbols (time, batch), part by part."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.dtype = np.result_type(
            np.float32, *(array.dtype for part in network.parts for array in part.arrays().values())
        )
        functions = {getattr(part, name, "") for part in network.parts for name in ("function", "activation")}
        self.graph = Graph("network", self.dtype, WITH_GELU if functions & {"gelu", "gelu_tanh"} else OPSET)
        self.lengths: Tensor | None = None
        self.scanned: dict[str, _Loop] = {}

    def content(self) -> bytes:
        """The file, held to onnx's checker. Raises ModuleNotFoundError without the package onnx."""
        from gatewright.backends.onnx.serialise import serialised  # the package onnx is an extra

        graph, first = self.graph, self.network.parts[0]
        axes = (self.network.reads[0] or "time", "batch")  # as many steps as there must be
        if isinstance(first, Embedding | OneHot):
            value = graph.input("symbols", axes, kind=Kind.COUNT)
        else:
            value = graph.input("input", (*axes, _inputs(self.network)))
        if self.network.lengths == "given":
            self.lengths = graph.input("lengths", ("batch",), kind=Kind.SHORT_COUNT)
        elif self.network.lengths:
            self.lengths = graph.initialiser("lengths", np.array(self.network.lengths, np.int32))
        for index, part in enumerate(self.network.parts):
            name = f"{part.kind.lower()}{index}"
            value = self._part(part, value, name)
            value.name = value.name or name
        leading = axes if value.ndim == 3 else ("batch",)
        graph.output(value, "output", (*leading, _outputs(self.network)))
        loops = {name: loop.described() for name, loop in self.scanned.items()}
        metadata = {SCANNED: json.dumps(loops)} if loops else {}
        return serialised(graph, producer_version=__version__, doc="", metadata=metadata)

    def _part(self, part: Part, value: Tensor, name: str) -> Tensor:
        graph = self.graph
        match part:
            case Embedding() | OneHot():
                return self._rows(part, value, name)
            case Dense():
                return writing_parts.dense(graph, part, value, name)
            case RecurrentPart():
                return self._recurrent(part, value, name)
            case Activation():
                return writing_parts.activation(graph, part.function, value)
            case Scale() | BatchNorm() | LayerNorm():
                return writing_parts.normalised(graph, part, value, name)
            case Mean() | Max() | TakeStep() | Reverse() | Reshape():
                return self._moved(part, value)
            case Masking():
                raise _no_mask(part)
            case AddInput():
                raise ConversionError(
                    "the input is added to the output, and the ONNX graphs that are written here are chains of layers",
                    do="write Gatewright's own file: --to gatewright",
                )

    def _rows(self, part: Embedding | OneHot, symbols: Tensor, name: str) -> Tensor:
        if isinstance(part, Embedding) and part.masks_zero:
            raise _no_mask(part)
        rows = np.eye(part.symbols) if isinstance(part, OneHot) else part.weight
        held = self.graph.initialiser(f"{name}.{'rows' if isinstance(part, OneHot) else 'weight'}", rows)
        return self.graph.emit("Gather", held, symbols, ndim=3, axis=0)

    def _moved(self, part: Mean | Max | TakeStep | Reverse | Reshape, value: Tensor) -> Tensor:
        match part:
            case Reshape():
                return self._flat(part, value)
            case Reverse():
                return self.graph.slice(self._steps(part, value), -1, _FIRST, -1)
            case _:
                return self._pool(part, value)

    def _steps(self, part: Any, value: Tensor) -> Tensor:
        if value.ndim != 3:
            raise ConversionError(f"there are no steps left that a {part.kind} could be of")
        return value

    def _pool(self, part: Mean | Max | TakeStep, value: Tensor) -> Tensor:
        steps = self._steps(part, value)
        if isinstance(part, TakeStep):
            return self.graph.emit("Gather", steps, self.graph.count(part.index), ndim=2, axis=0)
        if self.lengths:
            raise ConversionError(f"a {part.kind} of rows of several lengths has no operator in ONNX")
        return self.graph.reduce("ReduceMax" if isinstance(part, Max) else "ReduceMean", steps, (0,))

    def _flat(self, part: Reshape, value: Tensor) -> Tensor:
        if len(part.shape) != 1:
            raise ConversionError(
                "ONNX's form of a Reshape here puts the steps of a row side by side, and nothing else",
                expected="a shape (features,)",
                got=str(part.shape),
            )
        rows = self.graph.transpose(value, 1, 0, 2) if value.ndim == 3 else value
        return self.graph.emit("Reshape", rows, self.graph.counts(0, *part.shape), ndim=2)

    def _recurrent(self, part: RecurrentPart, value: Tensor, name: str) -> Tensor:
        if value.ndim != 3:
            raise ConversionError("a layer reads a sequence, and the one below gives its last step only")
        states = {state: self._state(part, state, value, name) for state in ("h", "c")}
        given = {state: one for state, one in states.items() if one}
        if self.dtype == np.float32 and not part.equations.projection:
            halves = self._operator(part, value, given, name)
        else:
            halves = self._scan(part, value, given, name)
        match part.merge if len(halves) == 2 else "concat":
            case "concat":
                return (
                    halves[0]
                    if len(halves) == 1
                    else self.graph.emit("Concat", *halves, axis=value.ndim - 1 - (part.returns == "last"))
                )
            case "mul":
                return self.graph.emit("Mul", *halves)
            case "sum":
                return self.graph.emit("Add", *halves)
            case "ave":
                half = self.graph.initialiser(f"{name}.half", np.full(part.hidden, 0.5))
                return self.graph.emit("Mul", self.graph.emit("Add", *halves), half)

    def _operator(self, part: RecurrentPart, value: Tensor, states: dict[str, Tensor], name: str) -> list[Tensor]:
        """The directions of a layer that is one of ONNX's operators, each (time, batch, hidden) or (batch, hidden)."""
        graph = self.graph
        op, attributes, arrays = operators.write(part)
        held = {key: graph.initialiser(f"{name}.{key}", array) for key, array in arrays.items()}
        operands = [value, held["W"], held["R"], held.get("B"), self.lengths, states.get("h")]
        operands += [states.get("c"), held.get("P")] if op == "LSTM" else []
        while operands[-1] is None:
            operands.pop()
        every, final = graph.emit_many(op, operands, [4, 3], attributes=attributes)
        taken, axis = (final, 0) if part.returns == "last" else (every, 1)
        if len(part.directions) == 1:
            return [graph.squeeze(taken, axis)]
        return [graph.emit("Gather", taken, graph.count(place), ndim=taken.ndim - 1, axis=axis) for place in (0, 1)]

    def _scan(self, part: RecurrentPart, value: Tensor, states: dict[str, Tensor], name: str) -> list[Tensor]:
        """The directions of a layer as loops over its equations."""
        graph = self.graph
        value.name = value.name or f"{name}.input"
        ends = layers.ends_of(graph, value, graph.cast(self.lengths, Kind.COUNT)) if self.lengths else None
        results: list[Tensor] = []
        for place, (equations, parameters) in enumerate(
            zip(part.equations_of_directions, part.directions, strict=True)
        ):
            at = f"{name}_reverse." if place else f"{name}."
            params = {
                key: graph.initialiser(f"{at}{key}", one) for key, one in equations.parameters(parameters).items()
            }
            single = {
                state: graph.emit("Gather", whole, graph.count(place), ndim=2, axis=0)
                for state, whole in states.items()
            }
            outcome = layers.directed(
                graph,
                evaluated(equations.trace),
                part.sizes,
                params,
                LayerInputs(value, single, ends),
                at,
                backwards=bool(place) or part.backwards,
            )
            results.append(outcome.finals["h"] if part.returns == "last" else outcome.output)
            results[-1].name = f"{at}result"
        self.scanned[name] = _Loop(part, value, tuple(results), self.lengths, tuple(sorted(states)))
        return results

    def _state(self, part: RecurrentPart, state: str, value: Tensor, name: str) -> Tensor | None:
        """What a layer begins with, (directions, batch, hidden), for every row; None where that is zero."""
        graph = self.graph
        if not any(state in one for one in part.initial):
            return None
        rows = [one.get(state, np.zeros((1, part.hidden))) for one in part.initial]
        most = max(len(one) for one in rows)
        stacked = np.stack([np.broadcast_to(one, (most, one.shape[-1])) for one in rows])
        constant = graph.initialiser(f"{name}.initial_{state}", stacked)
        if most > 1:
            return constant
        batch = graph.slice(graph.shape(value), 1, 2)
        ends = graph.counts(len(rows)), graph.counts(stacked.shape[-1])
        shape = graph.emit("Concat", ends[0], batch, ends[1], ndim=1, kind=Kind.COUNT, axis=0)
        return graph.emit("Expand", constant, shape, ndim=3)


def _no_mask(part: Masking | Embedding) -> ConversionError:
    return ConversionError(
        "ONNX's operators know no mask",
        got=part.kind,
        do="leave it out, and give the lengths of the rows instead",
    )


def _inputs(network: Network) -> int:
    for part in network.parts:
        match part:
            case Dense():
                return part.weight.shape[1]
            case RecurrentPart():
                return part.inputs
            case Scale() | BatchNorm():
                return len(part.mean)
            case _:
                pass
    raise ConversionError("there is no part that says how many features it reads")


def _outputs(network: Network) -> int | str:
    width: int | str = "features"
    for part in network.parts:
        match part:
            case Dense():
                width = len(part.weight)
            case RecurrentPart():
                width = part.outputs
            case Reshape():
                width = part.shape[-1] if part.shape[-1] > 0 else "features"
            case _:
                pass
    return width
