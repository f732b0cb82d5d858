"""Small ONNX models for tests: one operator with its weights inside, and what ONNX Runtime makes of a model."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Array = NDArray[Any]

NAMES = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
ACTIVATIONS = {"RNN": 1, "GRU": 2, "LSTM": 3}
INPUTS, HIDDEN = 3, 4


def arrays_of(
    op: str, count: int, *, bias: bool = True, peepholes: bool = False, initial: bool = False, seed: int = 0
) -> dict[str, Array]:
    """Random weights of an operator, of float32."""
    generator = np.random.default_rng(seed)
    rows = GATES[op] * HIDDEN
    shapes: dict[str, tuple[int, ...]] = {"W": (count, rows, INPUTS), "R": (count, rows, HIDDEN)}
    shapes |= {"B": (count, 2 * rows)} if bias else {}
    shapes |= {"initial_h": (count, 1, HIDDEN)} if initial else {}
    shapes |= {"initial_c": (count, 1, HIDDEN)} if initial and op == "LSTM" else {}
    shapes |= {"P": (count, 3 * HIDDEN)} if peepholes else {}
    return {name: generator.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def model_of(
    op: str,
    arrays: Mapping[str, Array],
    *,
    given: Sequence[str] = ("X",),
    outputs: Sequence[str] = ("Y", "Y_h"),
    batch: int | str = "batch",
    **attributes: Any,
) -> onnx.ModelProto:
    """One operator whose other operands are constants of the file."""
    names = [name if name in arrays or name in given else "" for name in NAMES]
    while not names[-1]:
        names.pop()
    hidden = arrays["R"].shape[-1]
    node = helper.make_node(op, names, list(outputs), name="layer", hidden_size=hidden, **attributes)
    kinds = {
        "X": (TensorProto.FLOAT, ["time", batch, arrays["W"].shape[-1]]),
        "sequence_lens": (TensorProto.INT32, [batch]),
    }
    infos = [helper.make_tensor_value_info(name, *kinds[name]) for name in given]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs if name]
    weights = [numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in arrays.items()]
    graph = helper.make_graph([node], "one", infos, ends, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def saved(path: Path, model: onnx.ModelProto) -> Path:
    """The model in a file."""
    onnx.save(model, path)
    return path


def with_constants(model: onnx.ModelProto, arrays: Mapping[str, Array]) -> onnx.ModelProto:
    """A model whose inputs of these names are constants of the file instead."""
    again = onnx.ModelProto()
    again.CopyFrom(model)
    kept = [one for one in again.graph.input if one.name not in arrays]
    del again.graph.input[:]
    again.graph.input.extend(kept)
    again.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in arrays.items())
    return again
