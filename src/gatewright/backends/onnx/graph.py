"""A graph of ONNX operators that is being built, without the package onnx: values, nodes, bodies of loops.

A node is put where its operands are: what a body computes of parameters alone leaves the body, and what was computed
already is not computed again.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.model_file.narrow import exact_int8

AXES_ARE_OPERANDS = 18
"""First opset in which ReduceMean and ReduceMax take their axes as an operand; ReduceSum has since 13."""

Extent = int | str
"""The size of an axis, or the name of one that is known when the graph runs."""


class ElementKind(StrEnum):
    """The kind of a value's elements."""

    NUMBER = "number"  # of the graph's floating-point type
    TRUTH = "truth"
    COUNT = "count"  # int64
    SHORT_COUNT = "short count"  # int32, as the recurrent operators take lengths
    BYTE = "byte"  # int8, which stands for a number with a scale


_WHOLE_KINDS = {"int32": ElementKind.SHORT_COUNT, "int8": ElementKind.BYTE}


@dataclass(eq=False, slots=True)
class Tensor:
    """A value of a graph. It takes part in the fold over equations as an array does: by `ndim`, and by new axes."""

    graph: "Graph"
    scope: "Scope"
    ndim: int
    kind: ElementKind = ElementKind.NUMBER
    name: str = ""
    extents: tuple[Extent, ...] | None = None  # of inputs and outputs of the graph or of a body
    doc: str = ""

    def __getitem__(self, key: tuple[Any, ...]) -> "Tensor":
        """`value[..., None]`: the value with axes of one element after it."""
        return self.graph.unsqueeze(self, *range(self.ndim, self.ndim + key.count(None)))

    def __add__(self, other: "Operand") -> "Tensor":
        return self._with("Add", other)

    def __sub__(self, other: "Operand") -> "Tensor":
        return self._with("Sub", other)

    def __mul__(self, other: "Operand") -> "Tensor":
        return self._with("Mul", other)

    def __truediv__(self, other: "Operand") -> "Tensor":
        return self._with("Div", other)

    def _with(self, op: str, other: "Operand") -> "Tensor":
        """Beside a count, a number of Python is a count too."""
        if self.kind is ElementKind.COUNT and not isinstance(other, Tensor):
            other = self.graph.count(int(other))
        return self.graph.emit(op, self, other, kind=self.kind)


Operand = Tensor | float


@dataclass(eq=False, slots=True)
class Node:
    """One use of an operator. An operand that is left out is None; a Scope among the attributes is a body."""

    op: str
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor, ...]
    attributes: Mapping[str, Any]


@dataclass(eq=False, slots=True)
class Scope:
    """The nodes of the main graph, or of a body, in order."""

    name: str
    depth: int = 0
    inputs: list[Tensor] = field(default_factory=list[Tensor])
    outputs: list[Tensor] = field(default_factory=list[Tensor])
    nodes: list[Node] = field(default_factory=list[Node])


class Graph:
    """A main graph with its initialisers. All nodes are made by `emit`."""

    def __init__(self, name: str, dtype: np.dtype[Any], opset: int, *, int8: bool = False) -> None:
        self.main = Scope(name)
        self.dtype, self.opset, self.int8 = dtype, opset, int8
        self.initialisers: dict[Tensor, NDArray[Any]] = {}
        self._made: dict[object, tuple[Tensor, ...]] = {}
        self._numbers: dict[object, Tensor] = {}
        self._bytes: dict[Tensor, tuple[Tensor, Tensor]] = {}  # whole numbers and scales of matrices in int8

    def input(
        self,
        name: str,
        extents: Sequence[Extent],
        doc: str = "",
        *,
        kind: ElementKind = ElementKind.NUMBER,
        scope: Scope | None = None,
    ) -> Tensor:
        """A value that comes from outside of the main graph, or of a body."""
        scope = scope or self.main
        scope.inputs.append(Tensor(self, scope, len(extents), kind, name, tuple(extents), doc))
        return scope.inputs[-1]

    def output(
        self, value: Tensor, name: str, extents: Sequence[Extent], doc: str = "", *, scope: Scope | None = None
    ) -> None:
        """Give a value out. One that is given out already, or comes from outside, is given out as a copy."""
        scope = scope or self.main
        existing = [*scope.outputs, *scope.inputs, *self.initialisers]
        if value.scope is not scope or any(value is other for other in existing):
            (value,) = self._node("Identity", (value,), {}, (value.ndim,), value.kind, scope)
        value.name, value.extents, value.doc = name, tuple(extents), doc
        scope.outputs.append(value)

    def initialiser(self, name: str, array: NDArray[Any], doc: str = "") -> Tensor:
        """Numbers that the file holds; floating-point ones become the graph's type.

        With `int8`, the file holds a matrix as whole numbers and scales where these give exactly the same numbers.
        """
        kinds = {"b": ElementKind.TRUTH, "i": _WHOLE_KINDS.get(array.dtype.name, ElementKind.COUNT)}
        kind = kinds.get(array.dtype.kind, ElementKind.NUMBER)
        if self.int8 and kind is ElementKind.NUMBER and (value := self._from_bytes(name, array, doc)) is not None:
            return value
        value = Tensor(self, self.main, array.ndim, kind, name, doc=doc)
        self.initialisers[value] = array.astype(self.dtype) if kind is ElementKind.NUMBER else array
        return value

    def _from_bytes(self, name: str, array: NDArray[Any], doc: str) -> Tensor | None:
        """A matrix, or several, as whole numbers times a scale for each row or for each column; None if it is neither.

        A matrix that a MatMul reads is transposed: the rows of a layer are its columns. Runtimes compute a Cast and a
        Mul of numbers of the file once, when they load it. ONNX Runtime 1.32 computes a DequantizeLinear in each run,
        or makes it a MatMulNBits, which also rounds what the matrix multiplies.
        """
        if array.ndim < 2:
            return None
        flat = array.reshape(-1, array.shape[-1])
        row_scales, column_scales = (*array.shape[:-1], 1), (*[1] * (array.ndim - 1), array.shape[-1])
        for matrix, shape in ((flat, row_scales), (flat.T, column_scales)):
            if (parts := exact_int8(matrix)) is not None:
                numbers = parts[0] if matrix is flat else parts[0].T
                values = self.initialiser(f"{name}.int8", numbers.reshape(array.shape), doc)
                scales = self.initialiser(f"{name}.scales", parts[1].reshape(shape))
                value = self.cast(values, ElementKind.NUMBER) * scales
                value.name = name
                self._bytes |= {value: (values, scales)} if matrix is flat and array.ndim == 2 else {}
                return value
        return None

    def rows(self, matrix: Tensor, places: Tensor) -> Tensor:
        """The rows of a matrix at these places. Those of whole numbers are multiplied by their scales afterwards."""
        values, *scales = self._bytes.get(matrix, (matrix,))
        rows, *factors = (
            self.emit("Gather", operand, places, ndim=places.ndim + 1, kind=operand.kind, axis=0)
            for operand in (values, *scales)
        )
        return self.cast(rows, ElementKind.NUMBER) * factors[0] if factors else rows

    def number(self, value: Operand) -> Tensor:
        """A plain number as a value; a value as it is, a truth as 1 or 0."""
        if isinstance(value, Tensor):
            return self.cast(value, ElementKind.NUMBER)
        key = ("number", repr(float(value)))
        return self._once(key, f"number_{float(value):g}", np.asarray(value, self.dtype))

    def counts(self, *values: int) -> Tensor:
        """Whole numbers as a vector: axes, extents."""
        return self._once(values, f"counts_{'_'.join(map(str, values))}", np.asarray(values, np.int64))

    def count(self, value: int) -> Tensor:
        """One whole number."""
        return self._once(("count", value), f"count_{value}", np.asarray(value, np.int64))

    def _once(self, key: object, name: str, array: NDArray[Any], doc: str = "") -> Tensor:
        """Numbers that the file holds once, however often they are asked for."""
        if key not in self._numbers:
            self._numbers[key] = self.initialiser(name, array, doc)
        return self._numbers[key]

    def emit(
        self,
        op: str,
        *inputs: Operand | None,
        ndim: int | None = None,
        kind: ElementKind = ElementKind.NUMBER,
        **attributes: Any,
    ) -> Tensor:
        """The result of an operator. Without `ndim` it has the largest rank of the operands."""
        return self.emit_many(op, inputs, [ndim], kind, attributes)[0]

    def emit_many(
        self,
        op: str,
        inputs: Sequence[Operand | None],
        ranks: Sequence[int | None],
        kind: ElementKind = ElementKind.NUMBER,
        attributes: Mapping[str, Any] | None = None,
    ) -> tuple[Tensor, ...]:
        """All results of an operator."""
        values = tuple(
            operand if operand is None or isinstance(operand, Tensor) else self.number(operand) for operand in inputs
        )
        attributes = attributes or {}
        # The same operator on the same operands is one node. Operands live as long as the graph, so an id is unique.
        key = (op, tuple(map(id, values)), repr(sorted(attributes.items(), key=lambda item: item[0])))
        if key not in self._made or any(isinstance(attribute, Scope) for attribute in attributes.values()):
            present = [value for value in values if value is not None]
            widest = max((operand.ndim for operand in present), default=0)
            # The innermost scope among the operands: what depends on parameters alone is outside of the loop.
            scope = max((operand.scope for operand in present), key=lambda operand: operand.depth, default=self.main)
            wanted = tuple(widest if rank is None else rank for rank in ranks)
            self._made[key] = self._node(op, values, attributes, wanted, kind, scope)
        return self._made[key]

    def _node(
        self,
        op: str,
        inputs: tuple[Tensor | None, ...],
        attributes: Mapping[str, Any],
        ranks: tuple[int, ...],
        kind: ElementKind,
        scope: Scope,
    ) -> tuple[Tensor, ...]:
        outputs = tuple(Tensor(self, scope, rank, kind) for rank in ranks)
        scope.nodes.append(Node(op, inputs, outputs, attributes))
        return outputs

    def cast(self, value: Tensor, kind: ElementKind) -> Tensor:
        """The value cast to another kind. A number is true where it is not 0."""
        if value.kind is kind:
            return value
        if kind is ElementKind.TRUTH:
            return self.emit("Not", self.emit("Equal", value, 0.0, kind=ElementKind.TRUTH), kind=ElementKind.TRUTH)
        return self.emit("Cast", value, kind=kind, to=kind)

    def unsqueeze(self, value: Tensor, *axes: int) -> Tensor:
        """A value with axes of one element, at these places of the result."""
        return self.emit("Unsqueeze", value, self.counts(*axes), ndim=value.ndim + len(axes), kind=value.kind)

    def squeeze(self, value: Tensor, axis: int) -> Tensor:
        """A value without an axis of one element."""
        return self.emit("Squeeze", value, self.counts(axis), ndim=value.ndim - 1, kind=value.kind)

    def transpose(self, value: Tensor, *order: int) -> Tensor:
        """A value with its axes in another order; numbers of the file are stored so."""
        if value in self.initialisers:
            array = self.initialisers[value].transpose(order)
            return self._once(("transposed", value, order), f"{value.name}.transposed", array, value.doc)
        return self.emit("Transpose", value, kind=value.kind, perm=order)

    def slice(self, value: Tensor, start: int, end: int, step: int = 1, *, axis: int = 0) -> Tensor:
        """Some of a value along its first axis, or another."""
        bounds = (self.counts(start), self.counts(end), self.counts(axis), self.counts(step))
        return self.emit("Slice", value, *bounds, ndim=value.ndim, kind=value.kind)

    def reduce(self, op: str, value: Tensor, axes: tuple[int, ...]) -> Tensor:
        """A value reduced along some axes, by "ReduceSum" for example."""
        if not axes:
            return value
        ndim = value.ndim - len(axes)
        if op == "ReduceSum" or self.opset >= AXES_ARE_OPERANDS:
            return self.emit(op, value, self.counts(*axes), ndim=ndim, keepdims=0)
        return self.emit(op, value, ndim=ndim, axes=axes, keepdims=0)

    def shape(self, value: Tensor) -> Tensor:
        """The sizes of all axes, as a vector."""
        return self.emit("Shape", value, ndim=1, kind=ElementKind.COUNT)

    def join_counts(self, *parts: Tensor) -> Tensor:
        """Vectors of whole numbers one after the other: a shape, or what to pad."""
        return self.emit("Concat", *parts, ndim=1, kind=ElementKind.COUNT, axis=0)

    def expand(self, value: Operand, shape: Tensor, *, ndim: int) -> Tensor:
        """A number repeated until it has a shape."""
        return self.emit("Expand", self.number(value), shape, ndim=ndim)

    def live(self) -> tuple[dict[Scope, list[Node]], set[Tensor]]:
        """The nodes that something depends on, by their scope, and all values that these read."""
        read: set[Tensor] = set(self.main.outputs)
        nodes: dict[Scope, list[Node]] = {}
        _visit(self.main, read, nodes)
        return nodes, read


def _visit(scope: Scope, read: set[Tensor], nodes: dict[Scope, list[Node]]) -> None:
    kept: list[Node] = []
    for node in reversed(scope.nodes):
        if read.isdisjoint(node.outputs):
            continue
        kept.append(node)
        read.update(operand for operand in node.inputs if operand is not None)
        for body in bodies(node):
            read.update(body.outputs)
            _visit(body, read, nodes)
    nodes[scope] = kept[::-1]


def bodies(node: Node) -> Iterator[Scope]:
    """The bodies of a node."""
    return (attribute for attribute in node.attributes.values() if isinstance(attribute, Scope))
