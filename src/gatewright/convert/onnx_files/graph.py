"""A graph of ONNX read as a network: one node after the other, each by what is known of its operands.

What cannot be read is kept with the reason, and refused where the graph's output depends on it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.convert.network import Dense, Embedding, Network, Part, Recurrent
from gatewright.convert.onnx_files import operators
from gatewright.convert.onnx_files.folding import FOLDS
from gatewright.convert.onnx_files.streams import MOVES, Moved, of_sizes
from gatewright.convert.onnx_files.tensors import array_of, attributes_of, title
from gatewright.convert.onnx_files.values import (
    DIRECTIONS,
    FEATURES,
    STEP,
    Axis,
    Filled,
    Given,
    Known,
    Stream,
    Unknown,
    Value,
)
from gatewright.errors import ConversionError

Array = NDArray[Any]
SPARE = 2**20
FOLDED = 16
"""Nodes may put arrays together and apart to so many times the file's size, and some spare bytes."""
_ACTIVATIONS = {"Elu": "elu", "Relu": "relu", "Sigmoid": "sigmoid", "Softmax": "softmax", "Tanh": "tanh"}
_FROM_GRAPH = "a node that computes on constants"


@dataclass(frozen=True, slots=True)
class Reading:
    """A network, and where in the graph it begins and ends."""

    network: Network
    source: str  # the graph's input
    time: str  # labels of its axes
    batch: str
    result: str  # the graph's output
    axes: tuple[str, ...]  # of the output
    given: tuple[str, ...]  # further inputs: states, lengths


class Reader:
    """The values of a graph by name, and the parts found so far."""

    def __init__(self, path: Path, model: Any) -> None:
        self.path, self.graph = path, model.graph
        self.opset = next(one.version for one in model.opset_import if one.domain in ("", "ai.onnx"))
        self.budget = FOLDED * path.stat().st_size + SPARE
        self.parts: list[Part] = []
        self.notes: dict[str, None] = {}
        self.given: dict[str, None] = {}
        self.roles: dict[str, str] = {}  # "time" and "batch" to labels
        self.source: str | None = None
        self.values: dict[str, Value] = {}
        for tensor in self.graph.initializer:
            self.values[tensor.name] = Known(array_of(path, tensor))
        for one in self.graph.input:
            if one.name not in self.values:
                self.values[one.name] = Stream(one.name, _declared(one), 0)

    def read(self) -> Reading:
        """All nodes, and what the first output is."""
        for node in self.graph.node:
            for name, value in zip(node.output, self._results(node), strict=False):
                self.values[name] = value
        result, stream = self._output()
        self._end(stream)
        labels = tuple(axis.label for axis in stream.axes)
        known = {self.roles["time"], self.roles["batch"], DIRECTIONS, FEATURES, STEP}
        if not known.issuperset(labels) or self.source is None:
            raise self._refusal(f"output {result!r}", ConversionError(f"its axes are {', '.join(labels)}"))
        network = Network(tuple(self.parts), "onnx", notes=tuple(self.notes))
        given = tuple(name for name in self.given if name != self.source)
        return Reading(network, self.source, self.roles["time"], self.roles["batch"], result, labels, given)

    def _output(self) -> tuple[str, Stream]:
        """The output that everything leads to."""
        if not any(isinstance(part, Recurrent) for part in self.parts):
            unread = [one.reason for one in self.values.values() if isinstance(one, Unknown)]
            raise (
                unread[0]
                if unread
                else ConversionError(
                    f"{self.path}: the graph has no recurrent operator",
                    expected="GRU, LSTM or RNN",
                    got=", ".join(sorted({node.op_type for node in self.graph.node})[:12]) or "no node",
                )
            )
        names = [one.name for one in self.graph.output]
        found = [(name, self.values.get(name)) for name in names]
        if found and isinstance(first := found[0][1], Unknown):
            raise first.reason
        ends = [(name, one) for name, one in found if isinstance(one, Stream) and one.parts == len(self.parts)]
        if not ends:
            raise ConversionError(
                f"{self.path}: no output of the graph is what its last layer gives",
                got=", ".join(names) or "no output",
            )
        self.notes |= {f"output {name!r} is not read": None for name, _ in found if name != ends[0][0]}
        return ends[0]

    def _end(self, stream: Stream) -> None:
        if stream.half is not None:
            raise self._refusal("the output", ConversionError("it is one of two directions"))
        self._keep_last(stream)

    def _results(self, node: Any) -> list[Value]:
        """What a node gives; a value that cannot be read, with the reason, for each output."""
        operands = [self.values.get(name) if name else None for name in node.input]
        for one in operands:
            if isinstance(one, Unknown):
                return [one] * len(node.output)
        try:
            found = self._compute(node, operands)
        except ConversionError as error:
            return [Unknown(self._refusal(title(node), error))] * len(node.output)
        except (ValueError, KeyError, IndexError, TypeError, OverflowError) as error:
            wrong = ConversionError(f"its operands do not fit: {str(error)[:100]}")
            return [Unknown(self._refusal(title(node), wrong))] * len(node.output)
        return found if isinstance(found, list) else [found]

    def _refusal(self, where: str, error: ConversionError) -> ConversionError:
        return ConversionError(
            f"{self.path}: {where}: {error.problem}", expected=error.expected, got=error.got, do=error.do
        )

    def _compute(self, node: Any, operands: list[Value | None]) -> Value | list[Value]:
        op, attributes = node.op_type, attributes_of(self.path, node)
        if node.domain not in ("", "ai.onnx"):
            raise ConversionError("its operator is none of ONNX's", got=f"{node.domain}.{op}")
        if op == "Constant":
            return self._constant(attributes)
        if op in operators.FAMILIES:
            return self._recurrent(op, attributes, operands, len(node.output))
        given = [one for one in operands if one is not None]
        if op in FOLDS and given and all(isinstance(one, Known) for one in given):
            arrays = [one.array if isinstance(one, Known) else None for one in operands]
            return self._folded(op, arrays, {"outputs": len(node.output), **attributes})
        if op in _COMPUTING and any(isinstance(one, Stream) for one in operands):
            return _COMPUTING[op](self, attributes, operands)
        if op == "Gather" and isinstance(operands[0], Known) and isinstance(operands[1], Stream):
            return self._embedding(attributes, operands[0], operands[1])
        if op in MOVES and isinstance(operands[0], Stream):
            return MOVES[op](Moved(operands, attributes, self.roles.get("time")))
        if op == "Expand" and isinstance(operands[0], Known):
            return operands[0]  # an initial state, with one row for the whole batch
        if isinstance(operands[0] if operands else None, Given) and op in FOLDS:
            return [operands[0]] * len(node.output)  # pyright: ignore[reportReturnType]
        found = of_sizes(op, attributes, operands)
        if found is None:
            raise ConversionError("it is no part of a network that can be read")
        return found

    def _constant(self, attributes: Mapping[str, Any]) -> Value:
        for name in ("value", "value_float", "value_floats", "value_int", "value_ints"):
            if attributes.get(name) is not None:
                array = np.asarray(attributes[name])
                return Known(array.astype(np.float32) if name.startswith("value_float") else array)
        raise ConversionError("it holds no numbers")

    def _folded(self, op: str, arrays: list[Array | None], attributes: Mapping[str, Any]) -> list[Value]:
        self._spend(sum(one.nbytes for one in arrays if one is not None) * (2 if op == "Cast" else 1))
        return [Known(one) for one in FOLDS[op](arrays, attributes)]  # pyright: ignore[reportArgumentType]

    def _spend(self, size: int) -> None:
        self.budget -= size
        if self.budget < 0:
            raise ConversionError("the graph makes more of its constants than it has", expected=_FROM_GRAPH)

    def _take(self, value: Value | None) -> Stream:
        """What flows into a part: all that the part before gives."""
        if not isinstance(value, Stream):
            raise ConversionError("it does not read what flows through the network")
        if value.parts != len(self.parts):
            raise ConversionError("it reads what another part reads too: the network branches here")
        if value.half is not None:
            raise ConversionError("it reads one of two directions")
        self._keep_last(value)
        if self.source not in (None, value.source):
            raise ConversionError(f"it reads a second input, {value.source!r}")
        self.source = value.source
        return value

    def _keep_last(self, stream: Stream) -> None:
        """Only what there is after the last step is read of a layer: that is what it gives from here on."""
        if not stream.last:
            return
        index = max(i for i, part in enumerate(self.parts) if isinstance(part, Recurrent))
        layer = self.parts[index]
        assert isinstance(layer, Recurrent)
        if STEP in stream.labels or (DIRECTIONS not in stream.labels and self.roles["time"] in stream.labels):
            raise ConversionError("it reads an axis of one step")
        self.parts[index] = replace(layer, returns="last")

    def _array(self, value: Value | None, name: str) -> Array:
        if not isinstance(value, Known):
            raise ConversionError(
                f"its {name} is no constant of the file",
                expected="an initialiser",
                do="export the model with its weights inside",
            )
        return value.array

    def _embedding(self, attributes: Mapping[str, Any], table: Known, value: Stream) -> Value:
        stream = self._take(value)
        if attributes.get("axis", 0) != 0 or table.array.ndim != 2 or self.parts or len(stream.axes) != 2:
            raise ConversionError("it is no embedding: rows of a matrix, for symbols (time, batch)")
        self.parts.append(Embedding(table.array))
        return replace(stream, axes=(*stream.axes, Axis(FEATURES, table.array.shape[1])), parts=1)

    def _dense(self, value: Value | None, weight: Array, bias: Array | None = None) -> Value:
        stream = self._take(value)
        if weight.ndim != 2 or weight.dtype.kind != "f" or stream.labels[-1] in self.roles.values():
            raise ConversionError("it multiplies by what is no matrix", got=f"shape {weight.shape}")
        if stream.axes[-1].size not in (None, weight.shape[1]) or DIRECTIONS in stream.labels:
            raise ConversionError("its matrix does not fit what it reads", got=f"shape {weight.shape}")
        self.parts.append(Dense(weight, bias))
        return stream.with_last(weight.shape[0], len(self.parts))

    def _matmul(self, attributes: Mapping[str, Any], operands: list[Value | None]) -> Value:
        return self._dense(operands[0], self._array(operands[1], "matrix").T)

    def _gemm(self, attributes: Mapping[str, Any], operands: list[Value | None]) -> Value:
        if (attributes.get("alpha", 1.0), attributes.get("beta", 1.0), attributes.get("transA", 0)) != (1.0, 1.0, 0):
            raise ConversionError("it scales or transposes what it reads")
        weight = self._array(operands[1], "matrix")
        bias = self._array(operands[2], "bias") if len(operands) > 2 and operands[2] is not None else None
        weight = weight if attributes.get("transB") else weight.T
        return self._dense(operands[0], weight, None if bias is None else _vector(bias, weight.shape[0]))

    def _add(self, attributes: Mapping[str, Any], operands: list[Value | None]) -> Value:
        stream, bias = operands if isinstance(operands[0], Stream) else reversed(operands)
        last = self.parts[-1] if self.parts else None
        if not isinstance(last, Dense) or last.bias is not None or last.activation != "identity":
            raise ConversionError("it adds what is no bias of a dense layer")
        value = self._take(stream)
        self.parts[-1] = replace(last, bias=_vector(self._array(bias, "bias"), last.weight.shape[0]))
        return value

    def _activation(self, op: str, attributes: Mapping[str, Any], operands: list[Value | None]) -> Value:
        stream, last = self._take(operands[0]), self.parts[-1] if self.parts else None
        if not isinstance(last, Dense) or last.activation != "identity":
            raise ConversionError("it is an activation behind what is no dense layer")
        rank = len(stream.axes)
        axis = attributes.get("axis", -1 if self.opset >= 13 else 1)
        if op == "Softmax" and axis not in (-1, rank - 1):
            raise ConversionError("it is a softmax along another axis than the last", got=str(axis))
        if op == "Elu" and attributes.get("alpha", 1.0) != 1.0:
            raise ConversionError("its alpha is not 1", got=str(attributes["alpha"]))
        self.parts[-1] = replace(last, activation=_ACTIVATIONS[op])
        return stream

    def _recurrent(
        self, op: str, attributes: Mapping[str, Any], operands: list[Value | None], outputs: int
    ) -> list[Value]:
        names = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")
        named = dict(zip(names, operands, strict=False))
        batch_first = bool(attributes.get("layout"))
        arrays = {
            name: self._array(named[name], name)
            for name in ("W", "R", "B", "P")
            if named.get(name) is not None and not (isinstance(named[name], Filled) and named[name] == Filled(0.0))
        }
        if not {"W", "R"} <= arrays.keys():
            raise ConversionError("it has no W or no R")
        stream = self._take(named.get("X"))
        time, batch = self._roles(stream, batch_first)
        hidden = int(arrays["R"].shape[-1]) if arrays["R"].ndim else 0
        initial = {
            state: found
            for state in ("h", "c")
            if (found := self._initial(named.get(f"initial_{state}"), len(arrays["W"]), hidden, batch_first))
            is not None
        }
        self._lengths(named.get("sequence_lens"), time)
        layer, notes = operators.read(op, attributes, arrays, initial)
        if stream.axes[-1].size not in (None, layer.inputs):
            raise ConversionError("its W does not fit what it reads", got=f"{layer.inputs} features")
        self.parts.append(layer)
        self.notes |= dict.fromkeys(notes)
        ends = Axis(DIRECTIONS, len(layer.directions)), Axis(FEATURES, layer.hidden)
        every = (batch, time, *ends) if batch_first else (time, ends[0], batch, ends[1])
        final = (batch, *ends) if batch_first else (ends[0], batch, ends[1])
        made = replace(stream, parts=len(self.parts))
        memory = Unknown(ConversionError(f"{self.path}: the last memory of an LSTM is read by what cannot be read"))
        return [replace(made, axes=every, last=False), replace(made, axes=final, last=True), memory][:outputs]

    def _roles(self, stream: Stream, batch_first: bool) -> tuple[Axis, Axis]:
        """Which axis is time, and which the batch: the same as for the layers below."""
        if len(stream.axes) != 3 or DIRECTIONS in stream.labels:
            raise ConversionError("it does not read (time, batch, features)", got=", ".join(stream.labels))
        time, batch = stream.axes[batch_first], stream.axes[1 - batch_first]
        roles = {"time": time.label, "batch": batch.label}
        if (self.roles or roles) != roles or STEP in roles.values():
            raise ConversionError("it takes another axis for time than the layers below")
        self.roles = roles
        return time, batch

    def _initial(self, value: Value | None, count: int, hidden: int, batch_first: bool) -> Array | None:
        match value:
            case None:
                return None
            case Filled():
                return np.full((count, 1, hidden), value.value, np.float32) if value.value else None
            case Known():
                return value.array.swapaxes(0, 1) if batch_first and value.array.ndim == 3 else value.array
            case Given() | Stream(parts=0):
                name = value.name if isinstance(value, Given) else value.source
                self.given[name] = None
                self.notes[f"initial states are given to the graph as {name!r}: they are zero here"] = None
                return None
            case _:
                raise ConversionError("its initial state is none that is known")

    def _lengths(self, value: Value | None, time: Axis) -> None:
        match value:
            case None:
                pass
            case Known() if time.size is not None and (value.array == time.size).all():
                pass  # every row has all steps
            case Given() | Stream(parts=0):
                name = value.name if isinstance(value, Given) else value.source
                self.given[name] = None
                self.notes[f"lengths are given to the graph as {name!r}"] = None
            case _:
                raise ConversionError(
                    "its sequence_lens are fixed in the file",
                    expected="an input of the graph, or as many as there are steps",
                    do="make sequence_lens an input of the graph",
                )


def _vector(bias: Array, size: int) -> Array:
    if bias.size != size or bias.shape[-1:] != (size,) or bias.dtype.kind != "f":
        raise ConversionError("its bias does not fit", expected=f"({size},)", got=str(bias.shape))
    return bias.reshape(size)


def _declared(value: Any) -> tuple[Axis, ...]:
    """The axes of an input of the graph, with the sizes that the file gives them."""
    dims = value.type.tensor_type.shape.dim
    return tuple(
        Axis(str(index), int(one.dim_value) if one.WhichOneof("value") == "dim_value" else None)
        for index, one in enumerate(dims)
    )


def _activating(op: str) -> Callable[[Reader, Mapping[str, Any], list[Value | None]], Value]:
    return lambda reader, attributes, operands: reader._activation(op, attributes, operands)  # pyright: ignore


_COMPUTING: Mapping[str, Callable[[Reader, Mapping[str, Any], list[Value | None]], Value]] = {
    "Add": Reader._add,
    "Gemm": Reader._gemm,
    "MatMul": Reader._matmul,
    **{op: _activating(op) for op in _ACTIVATIONS},
}
