"""A graph as a model of the package onnx: the only place that needs it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, checker, helper, numpy_helper

from gatewright.backends.onnx.graph import ElementKind, Graph, Node, Scope, Tensor
from gatewright.errors import OptionError

NEWEST_OPSET = onnx.defs.onnx_opset_version()
LARGEST = 2**31 - 1
"""Bytes that one file of the format can hold."""


class _ValueNames:
    """Names of values, each used once in the whole model."""

    def __init__(self) -> None:
        self._names: dict[Tensor, str] = {}
        self._used: set[str] = set()

    def of(self, value: Tensor | None) -> str:
        """The name of a value; empty for an operand that is left out."""
        if value is None:
            return ""
        if value not in self._names:
            self._names[value] = self.another(value)
        return self._names[value]

    def another(self, value: Tensor) -> str:
        """A name for the same value in another place."""
        return self._free(value.name or "value")

    def of_node(self, node: Node) -> str:
        """The name of a node: that of its first result, then its operator."""
        return self._free(f"{self.of(node.outputs[0])}/{node.op}")

    def _free(self, name: str) -> str:
        number, candidate = 1, name
        while candidate in self._used:
            number += 1
            candidate = f"{name}_{number}"
        self._used.add(candidate)
        return candidate


def serialised(graph: Graph, *, producer_version: str, doc: str, metadata: Mapping[str, str]) -> bytes:
    """The file of a graph, held to onnx's checker with its strict inference of shapes.

    The version of the file's form is the lowest that goes with the graph's version of the operators. Raises OptionError
    where the numbers are more than one file can hold.
    """
    bytes_held = sum(array.nbytes for array in graph.initialisers.values())
    if bytes_held > LARGEST:
        raise OptionError(
            "the model is too large for an ONNX file",
            expected=f"{LARGEST:,} bytes at most",
            got=f"{bytes_held:,} bytes",
        )
    proto = _ProtoWriter(graph).graph(graph.main)
    opset = helper.make_opsetid("", graph.opset)
    model = helper.make_model(
        proto,
        producer_name="gatewright",
        producer_version=producer_version,
        doc_string=doc,
        opset_imports=[opset],
        ir_version=helper.find_min_ir_version_for([opset]),
    )
    helper.set_model_props(model, dict(metadata))
    checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


class _ProtoWriter:
    """The parts of the format. A body holds the numbers that it reads: OpenVINO loads no Scan that reads outer ones."""

    def __init__(self, graph: Graph) -> None:
        self.numbers = graph.initialisers
        self.types = {
            ElementKind.NUMBER: TensorProto.DOUBLE if graph.dtype == np.float64 else TensorProto.FLOAT,
            ElementKind.TRUTH: TensorProto.BOOL,
            ElementKind.COUNT: TensorProto.INT64,
            ElementKind.SHORT_COUNT: TensorProto.INT32,
            ElementKind.BYTE: TensorProto.INT8,
        }
        self.nodes, self.read = graph.live()
        self.names = _ValueNames()
        for value in (*graph.main.inputs, *graph.main.outputs):  # no other value may have their names
            self.names.of(value)

    def graph(self, scope: Scope) -> onnx.GraphProto:
        """A scope as a graph: its inputs, outputs, nodes, and the numbers that they read."""
        ins, outs = ([self._value(value) for value in values] for values in (scope.inputs, scope.outputs))
        own = self._numbers_of(scope)
        nodes = [self._node(item, own) for item in self.nodes[scope]]
        return helper.make_graph(
            nodes, scope.name, ins, outs, [_tensor(self.numbers[item], name, item.doc) for item, name in own.items()]
        )

    def _numbers_of(self, scope: Scope) -> dict[Tensor, str]:
        """The numbers of the file that the nodes of a scope itself read, by the names that they have there."""
        values = [*(operand for node in self.nodes[scope] for operand in node.inputs), *scope.outputs]
        read = {value for value in values if value in self.numbers}
        name = self.names.another if scope.depth else self.names.of
        return {number: name(number) for number in self.numbers if number in read}

    def _value(self, value: Tensor) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(
            self.names.of(value), self.types[value.kind], value.extents, doc_string=value.doc
        )

    def _node(self, node: Node, own: Mapping[Tensor, str]) -> onnx.NodeProto:
        attributes = {name: self._attribute(value) for name, value in node.attributes.items()}
        return helper.make_node(
            node.op,
            [own.get(operand) or self.names.of(operand) if operand else "" for operand in node.inputs],
            # Results that are not read have no name, except those of a Scan, which needs all.
            [self.names.of(out) if out in self.read or node.op == "Scan" else "" for out in node.outputs],
            name=self.names.of_node(node),
            **attributes,
        )

    def _attribute(self, value: Any) -> Any:
        if isinstance(value, Scope):
            return self.graph(value)
        return self.types[value] if isinstance(value, ElementKind) else value


def _tensor(array: Any, name: str, doc: str) -> onnx.TensorProto:
    tensor = numpy_helper.from_array(np.array(array, order="C"), name)
    tensor.doc_string = doc
    return tensor
