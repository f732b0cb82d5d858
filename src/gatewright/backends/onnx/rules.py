"""The rules of ONNX: for each op of the language the operators that compute it."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from gatewright.backends.base import execute, prepare
from gatewright.backends.onnx.graph import ElementKind, Graph, Operand, Tensor
from gatewright.lang.ops import Op
from gatewright.trace.ir import Equation

Rule = Callable[..., Operand]
"""A function of the graph and the operands. Keywords are those that `backends.base` gives to rules of arrays."""


def _elementwise(op: str, kind: ElementKind = ElementKind.NUMBER) -> Rule:
    return lambda graph, *args: graph.emit(op, *map(graph.number, args), kind=kind)


def _where(graph: Graph, condition: Operand, a: Operand, b: Operand) -> Tensor:
    truth = condition if isinstance(condition, Tensor) else graph.number(condition)
    return graph.emit("Where", graph.cast(truth, ElementKind.TRUTH), graph.number(a), graph.number(b))


def _transpose(graph: Graph, a: Operand) -> Tensor:
    value = graph.number(a)
    order = [*range(value.ndim - 2), value.ndim - 1, value.ndim - 2]
    return graph.transpose(value, *order)


def _matmul(graph: Graph, a: Operand, b: Operand) -> Tensor:
    matrix, vector = graph.number(a), graph.number(b)
    if matrix.ndim == 2:
        # Rows of a batch come first here, so `W @ x` of each row is `x @ W.T` of all rows.
        return graph.emit("MatMul", vector, _transpose(graph, matrix), ndim=vector.ndim)
    column = graph.emit("MatMul", matrix, vector[..., None], ndim=max(matrix.ndim, vector.ndim + 1))
    return graph.squeeze(column, column.ndim - 1)


def _outer(graph: Graph, a: Operand, b: Operand) -> Tensor:
    left, right = graph.number(a), graph.number(b)
    return graph.emit("Mul", left[..., None], graph.unsqueeze(right, right.ndim - 1))


def _reduced(op: str, graph: Graph, a: Operand, rank: int) -> Tensor:
    value = graph.number(a)
    return graph.reduce(op, value, tuple(range(value.ndim - rank, value.ndim)))


def _expand(graph: Graph, a: Operand, sizes: tuple[int, ...]) -> Tensor:
    value = graph.number(a)
    wide = value[(..., *(None,) * len(sizes))]
    return graph.emit("Expand", wide, graph.counts(*sizes), ndim=wide.ndim)


RULES: Mapping[Op, Rule] = {
    Op.NEG: _elementwise("Neg"),
    Op.ABS: _elementwise("Abs"),
    Op.SIGN: _elementwise("Sign"),
    Op.EXP: _elementwise("Exp"),
    Op.LOG: _elementwise("Log"),
    Op.SQRT: _elementwise("Sqrt"),
    Op.SIGMOID: _elementwise("Sigmoid"),
    Op.TANH: _elementwise("Tanh"),
    Op.RELU: _elementwise("Relu"),
    Op.HARD_SIGMOID: lambda graph, a, slope: graph.emit("HardSigmoid", graph.number(a), alpha=slope, beta=0.5),
    Op.SOFTPLUS: _elementwise("Softplus"),
    Op.ADD: _elementwise("Add"),
    Op.SUB: _elementwise("Sub"),
    Op.MUL: _elementwise("Mul"),
    Op.DIV: _elementwise("Div"),
    Op.MAXIMUM: _elementwise("Max"),
    Op.MINIMUM: _elementwise("Min"),
    Op.LESS: _elementwise("Less", ElementKind.TRUTH),
    Op.WHERE: _where,
    Op.MATMUL: _matmul,
    Op.TRANSPOSE: _transpose,
    Op.OUTER: _outer,
    Op.SUM: partial(_reduced, "ReduceSum"),
    Op.MEAN: partial(_reduced, "ReduceMean"),
    Op.EXPAND: _expand,
    Op.SIZE: lambda graph, count: graph.number(float(count)),
    Op.RELABEL: lambda graph, a: a,
}

WITHOUT_DOUBLE = frozenset({Op.HARD_SIGMOID, Op.SOFTPLUS})
"""Ops that ONNX Runtime has in float32 only. In float64 they are decomposed into simpler ops."""


def ops_of(dtype: np.dtype[Any]) -> frozenset[Op]:
    """The ops whose operators ONNX Runtime can run with that type."""
    return frozenset(RULES) - (WITHOUT_DOUBLE if dtype == np.float64 else frozenset())


def compute(
    graph: Graph, equations: tuple[Equation, ...], values: dict[str, Any], sizes: Mapping[str, int], prefix: str
) -> None:
    """Add the operators of equations to the graph. `values` has the operands by name; the results are added to it.

    A value that the user named keeps its name, after the prefix.
    """
    rules = {op: partial(rule, graph) for op, rule in RULES.items()}
    for equation, call in zip(equations, prepare(equations, rules, sizes), strict=True):
        execute([call], values)
        result = values[call.target]
        if isinstance(result, Tensor) and not result.name:
            result.name = prefixed(prefix, equation.target.name)


def prefixed(prefix: str, name: str, other: str = "") -> str:
    """The name of a value in a graph: `other` where the user gave it no name."""
    spelled = other if "%" in name else name.replace("'", "_new").replace("?", "")
    return f"{prefix}{spelled}" if spelled else ""
