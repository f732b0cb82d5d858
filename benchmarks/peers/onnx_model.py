"""An ONNX model of one GRU, LSTM or RNN operator, for the runtimes that read such models."""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from benchmarks.problem import Array, Problem

ORDER: Mapping[str, Sequence[int]] = {"GRU": (1, 0, 2), "LSTM": (0, 3, 1, 2), "RNN": (0,)}
"""Which of torch's gates stands at each place of ONNX's."""


def model(problem: Problem, *, carries_state: bool = False) -> bytes:
    """A model: x (time, batch, input) -> y (time, 1, batch, hidden) and the final state.

    With `carries_state` it takes the state before the first step as well, h_0, and gives the final one alone.
    """
    kind, shape = problem.cell.native, problem.shape
    assert kind
    weights = operator_weights(kind, problem.params)
    node = helper.make_node(
        kind,
        ["x", *weights, *(["", "h_0"] if carries_state else [])],
        ["" if carries_state else "y", "y_h"],
        hidden_size=shape.hidden,
        **({"linear_before_reset": 1} if kind == "GRU" else {}),
    )
    x = _value("x", shape.steps, shape.batch, shape.inputs)
    y = _value("y", shape.steps, 1, shape.batch, shape.hidden)
    before, after = (_value(name, 1, shape.batch, shape.hidden) for name in ("h_0", "y_h"))
    graph = helper.make_graph(
        [node],
        "layer",
        [x, before] if carries_state else [x],
        [after] if carries_state else [y, after],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return serialized(graph)


def serialized(graph: onnx.GraphProto) -> bytes:
    """A graph as a model of a version that runtimes of the last years can read."""
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(made)
    return made.SerializeToString()


def operator_weights(kind: str, params: Mapping[str, Array]) -> dict[str, Array]:
    """The operator's W, R and B out of torch's parameters."""

    def ordered(name: str) -> Array:
        gates = np.split(params[name], len(ORDER[kind]))
        return np.concatenate([gates[place] for place in ORDER[kind]])

    biases = np.concatenate([ordered("bias_ih_l0"), ordered("bias_hh_l0")])
    return {"W": ordered("weight_ih_l0")[None], "R": ordered("weight_hh_l0")[None], "B": biases[None]}


def _value(name: str, *extents: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, extents)
