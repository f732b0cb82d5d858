"""Reading an ONNX graph as a network: node by node, from what is known of the operands.

A node that cannot be read gives UnreadableValue with the reason, which is raised where the output depends on it.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gatewright.convert.onnx_files import operators, values
from gatewright.convert.onnx_files.constants import FOLDS, folded, of_sizes
from gatewright.convert.onnx_files.moves import MOVES, of_stacked
from gatewright.convert.onnx_files.network_builder import GraphNode, NetworkBuilder
from gatewright.convert.onnx_files.pointwise import ELEMENTWISE, composed, name_of
from gatewright.convert.onnx_files.scanned import scanned
from gatewright.convert.onnx_files.simple_parts import COMPUTING
from gatewright.convert.onnx_files.tensors import ExternalFiles, array_of, attributes_of, title
from gatewright.convert.onnx_files.values import ConstantValue, ExtraInput, FlowValue, PointwiseValue, Value
from gatewright.convert.refusals import located
from gatewright.errors import ConversionError
from gatewright.network import Network, RecurrentPart

SPARE = 2**20
FOLDED = 16
"""Nodes may put arrays together and apart to so many times the file's size, and some spare bytes."""
_PIECES = tuple(op for op in FOLDS if op != "Concat")
_READ = frozenset((*COMPUTING, *MOVES, *operators.FAMILIES))
_OWN_LOOP = "its layer is a loop over nodes, and none of ONNX's recurrent operators"
_ADVICE = "convert the file that the graph was made from: a .keras file, or a state dict"
_FROM_GRAPH = "a node that computes on constants"


@dataclass(frozen=True, slots=True)
class GraphNetwork:
    """A network, and where in the graph it begins and ends."""

    network: Network
    source: str  # the graph's input
    time: values.Axis  # of its axes
    batch: values.Axis
    result: str  # the graph's output
    axes: tuple[str, ...]  # of the output
    states: tuple[str, ...]  # further inputs
    builder: NetworkBuilder


class GraphReader:
    """The values of a graph by name, and the parts found so far."""

    def __init__(self, path: Path, model: Any, *, dequantise: bool = True) -> None:
        self.dequantise = dequantise
        self.path, self.graph = path, model.graph
        self.opset = next(opset.version for opset in model.opset_import if opset.domain in ("", "ai.onnx"))
        self.budget = FOLDED * path.stat().st_size + SPARE
        self.parts = NetworkBuilder(path, self.opset)
        self.values: dict[str, Value] = {}
        self.loops = scanned(path, model)
        beside = ExternalFiles(path)
        for tensor in self.graph.initializer:
            self.values[tensor.name] = ConstantValue(array_of(path, tensor, files=beside))
        self.readers = Counter(name for node in self.graph.node if node.op_type != "Shape" for name in node.input)
        self.declared = {value.name: _declared(value) for value in self.graph.input if value.name not in self.values}
        self.values |= {name: FlowValue(name, axes, 0) for name, axes in self.declared.items()}

    def read(self) -> GraphNetwork:
        """Read all nodes, and tell what the first output is."""
        parts_of_loops = {place for loop in self.loops for place in loop.nodes}
        for place, node in enumerate(self.graph.node):
            if place in parts_of_loops:
                self._loop(place)
                continue
            for name, value in zip(node.output, self._results(node), strict=False):
                self.values[name] = value
        for output in self.graph.output[:1]:
            self._finish(output.name)
        result, stream = self._output()
        with located(f"{self.path}: output {result!r}"):
            if stream.half is not None:
                raise ConversionError("it is one of two directions")
            self.parts.keep_last(stream)
        parts, labels = self.parts, stream.labels
        assert parts.source is not None  # a recurrent layer was found, and reads it
        time, batch = parts.roles["time"], parts.roles["batch"]
        if not {time, batch, values.DIRECTIONS, values.FEATURES}.issuperset(labels) or labels[-1] != values.FEATURES:
            raise ConversionError(f"{self.path}: output {result!r}: its axes are {', '.join(labels)}")
        network = Network(tuple(parts.listed), "onnx", notes=tuple(parts.notes), lengths=parts.lengths)
        axes = {axis.label: axis for axis in self.declared[parts.source]}
        states = tuple(name for name in parts.extra_inputs if name != parts.lengths_from)
        return GraphNetwork(network, parts.source, axes[time], axes[batch], result, labels, states, parts)

    def _loop(self, place: int) -> None:
        """Read the layer that ends with this node, if there is one."""
        for loop in self.loops:
            if max(loop.nodes) == place:
                with located(f"{self.path}: {title(self.graph.node[place])}"):
                    lengths = self.values[loop.lengths] if loop.lengths else None
                    outputs = self.parts.scanned(loop, self.values[loop.source], lengths)
                self.values |= dict(zip(loop.results, outputs, strict=True))

    def _finish(self, name: str) -> None:
        """If the output is a function of several nodes, make it a part of the network."""
        value = self.values.get(name)
        try:
            if isinstance(value, PointwiseValue):
                self.values[name] = self.parts.activated(value.stream, name_of(value))
        except ConversionError as error:
            self.values[name] = self._unreadable(f"output {name!r}", error)

    def _output(self) -> tuple[str, FlowValue]:
        if not any(isinstance(part, RecurrentPart) for part in self.parts.listed):
            loop = next((node for node in self.graph.node if node.op_type in ("Loop", "Scan")), None)
            if loop is not None:
                with located(f"{self.path}: {title(loop)}"):
                    raise ConversionError(_OWN_LOOP, expected="GRU, LSTM or RNN", do=_ADVICE)
            unread = [value.reason for value in self.values.values() if isinstance(value, values.UnreadableValue)]
            if unread:
                raise unread[0]
            raise ConversionError(
                f"{self.path}: the graph has no recurrent operator",
                expected="GRU, LSTM or RNN",
                got=", ".join(sorted({node.op_type for node in self.graph.node})[:12]) or "no node",
            )
        names = [value.name for value in self.graph.output]
        outputs = [(name, self.parts.current(self.values.get(name))) for name in names]
        if outputs and isinstance(first := outputs[0][1], values.UnreadableValue):
            raise first.reason
        ends = [
            (name, value)
            for name, value in outputs
            if isinstance(value, FlowValue) and value.version == self.parts.version
        ]
        if not ends:
            raise ConversionError(
                f"{self.path}: no output of the graph is what its last layer gives",
                got=", ".join(names) or "no output",
            )
        self.parts.notes |= {f"output {name!r} is not read": None for name, _ in outputs if name != ends[0][0]}
        return ends[0]

    def _results(self, node: Any) -> list[Value]:
        """The results of a node; UnreadableValue with the reason for each where it cannot be read."""
        missing = next((name for name in node.input if name and name not in self.values), None)
        if missing is not None:
            unknown = ConversionError(f"it reads {missing!r}, which nothing before it gives")
            return [self._unreadable(title(node), unknown)] * len(node.output)
        self.values |= {name: self.parts.current(self.values[name]) for name in node.input if name}
        operands = [self.values[name] if name else None for name in node.input]
        for operand in operands:
            if isinstance(operand, values.UnreadableValue):
                return [operand] * len(node.output)
        try:
            result = self._composed(node, operands) or self._compute(node, self._settled(node))
        except ConversionError as error:
            return [self._unreadable(title(node), error)] * len(node.output)
        except (ValueError, KeyError, IndexError, TypeError, OverflowError) as error:
            wrong = ConversionError(f"its operands do not fit: {str(error)[:100]}")
            return [self._unreadable(title(node), wrong)] * len(node.output)
        return result if isinstance(result, list) else [result]

    def _unreadable(self, where: str, error: ConversionError) -> values.UnreadableValue:
        error.locate(f"{self.path}: {where}")
        return values.UnreadableValue(error)

    def _composed(self, node: Any, operands: list[Value | None]) -> PointwiseValue | None:
        """A node that is a part of one function of each number, which several nodes are together."""
        op = node.op_type
        shared = any(isinstance(self.values.get(name), FlowValue) and self.readers[name] > 1 for name in node.input)
        shared = shared or any(isinstance(operand, ConstantValue) and not operand.array.ndim for operand in operands)
        inside = any(isinstance(operand, PointwiseValue) for operand in operands)
        flows = any(isinstance(operand, FlowValue) for operand in operands)
        begins = op in ELEMENTWISE and flows and (shared or op not in COMPUTING)
        if node.domain not in ("", "ai.onnx") or not (begins or (inside and (op in ELEMENTWISE or op == "Cast"))):
            return None
        return composed(op, attributes_of(self.path, node), operands)

    def _settled(self, node: Any) -> list[Value | None]:
        """The operands of a node. Functions of several nodes become parts of the network, except those of symbols."""
        for name in node.input if node.op_type in _READ else ():
            value = self.values.get(name)
            if isinstance(value, PointwiseValue) and not (node.op_type == "Gather" and name == node.input[1]):
                self.values[name] = self.parts.activated(value.stream, name_of(value))
        return [self.values[name] if name else None for name in node.input]

    def _compute(self, node: Any, operands: list[Value | None]) -> Value | list[Value]:
        op, attributes = node.op_type, {"outputs": len(node.output), **attributes_of(self.path, node)}
        if (node.domain, op) == operators.QUANTISED:
            return self._quantised(attributes, operands)
        if node.domain not in ("", "ai.onnx"):
            raise ConversionError("its operator is none of ONNX's", got=f"{node.domain}.{op}")
        if op == "Constant":
            return self._constant(attributes)
        if op in operators.FAMILIES:
            return self.parts.recurrent(op, attributes, operands)
        if any(isinstance(operand, FlowValue | PointwiseValue) for operand in operands):
            return self._flowing(op, attributes, operands)
        if op == "Gather" and isinstance(operands[0], values.StackedStates):
            return of_stacked(operands[0], attributes, operands[1])
        return self._still(node, attributes, operands)

    def _quantised(self, attributes: Mapping[str, Any], operands: list[Value | None]) -> list[Value]:
        if not self.dequantise:
            raise ConversionError(
                "its weights are of eight bits, and the runtime rounds what it multiplies them with too",
                expected="an LSTM whose outputs can be computed exactly",
                do="convert the model that it was made from, or read their dequantised values: dequantise=True",
                shell="convert the model that it was made from, or read their dequantised values: --dequantise",
            )
        self.parts.quantised = True
        self.parts.notes["weights of eight bits are read as the numbers that they stand for"] = None
        return self.parts.recurrent("LSTM", attributes, operators.dequantised(operands))

    def _flowing(self, op: str, attributes: Mapping[str, Any], operands: list[Value | None]) -> Value | list[Value]:
        node = GraphNode(self.parts, attributes, operands)
        if op in COMPUTING:
            return COMPUTING[op](node)
        if op in MOVES and isinstance(operands[0], FlowValue):
            return MOVES[op](node)
        if op == "Gather" and isinstance(operands[0], ConstantValue):
            return self.parts.embedding(attributes, operands[0], operands[1])
        raise ConversionError("it is no part of a network that can be read")

    def _still(self, node: Any, attributes: Mapping[str, Any], operands: list[Value | None]) -> Value | list[Value]:
        """A node that reads constants, sizes, or further inputs of the graph."""
        op: str = node.op_type
        present = [operand for operand in operands if operand is not None]
        if op in FOLDS and operands[:1] == [None]:
            raise ConversionError("it reads nothing")
        if op in FOLDS and present and all(isinstance(item, ConstantValue) for item in present):
            arrays = values.arrays_of(operands)
            self.budget -= sum(item.nbytes for item in arrays if item is not None) * (2 if op == "Cast" else 1)
            if self.budget < 0:
                raise ConversionError("the graph makes more of its constants than it has", expected=_FROM_GRAPH)
            return [ConstantValue(item) for item in folded(node, arrays, self.opset)]
        if op == "Expand" and isinstance(operands[0], ConstantValue):
            array = operands[0].array  # an initial state: a number, or one row for the whole batch
            return operands[0] if array.size > 1 else values.FilledValue(array.reshape(()).item())
        if (
            op in _PIECES
            and isinstance(operands[0], ExtraInput)
            and not any(isinstance(operand, ExtraInput) for operand in operands[1:])
        ):
            return list[Value]([operands[0]] * attributes["outputs"])
        known = of_sizes(op, attributes, operands)
        if known is None:
            raise ConversionError("it is no part of a network that can be read")
        return known

    def _constant(self, attributes: Mapping[str, Any]) -> Value:
        for name in ("value", "value_float", "value_floats", "value_int", "value_ints"):
            if attributes.get(name) is not None:
                array = np.asarray(attributes[name])
                return ConstantValue(array.astype(np.float32) if name.startswith("value_float") else array)
        raise ConversionError("it holds no numbers")


def _declared(value: Any) -> tuple[values.Axis, ...]:
    dims = value.type.tensor_type.shape.dim
    return tuple(
        values.Axis(str(index), int(size.dim_value) if size.WhichOneof("value") == "dim_value" else None)
        for index, size in enumerate(dims)
    )
