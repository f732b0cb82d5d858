"""A network as a small graph of ONNX's own operators, for any batch and any number of steps."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.convert.network import (
    Activation,
    Dense,
    Embedding,
    Masking,
    Max,
    Mean,
    Network,
    OneHot,
    Recurrent,
    Scale,
)
from gatewright.convert.onnx_files import operators
from gatewright.errors import ConversionError
from gatewright.lang.functions import KERAS3_SLOPE, THEANO_SLOPE

Array = NDArray[Any]
OPSET, IR_VERSION = 17, 8
_ACTIVATIONS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "elu": ("Elu", {}),
    "hard_sigmoid_theano": ("HardSigmoid", {"alpha": THEANO_SLOPE, "beta": 0.5}),
    "hard_sigmoid_keras3": ("HardSigmoid", {"alpha": KERAS3_SLOPE, "beta": 0.5}),
    "relu": ("Relu", {}),
    "sigmoid": ("Sigmoid", {}),
    "softmax": ("Softmax", {"axis": -1}),
    "softplus": ("Softplus", {}),
    "tanh": ("Tanh", {}),
}
"""Outside of recurrent layers: ONNX's operator and its attributes, by our name."""


class Writer:
    """Nodes and arrays of a graph that reads (time, batch, features), or symbols (time, batch)."""

    def __init__(self, network: Network) -> None:
        from onnx import TensorProto

        self.network = network
        self.dtype = np.result_type(np.float32, *(one.dtype for one in _arrays(network)))
        self.kind = TensorProto.DOUBLE if self.dtype == np.float64 else TensorProto.FLOAT
        self.nodes: list[Any] = []
        self.arrays: dict[str, Array] = {}
        self.last = False

    def model(self) -> Any:
        """The model, held to onnx's checker."""
        from onnx import TensorProto, checker, helper, numpy_helper

        first = self.network.parts[0]
        symbols = isinstance(first, Embedding | OneHot)
        given = (
            helper.make_tensor_value_info("symbols", TensorProto.INT64, ["time", "batch"])
            if symbols
            else helper.make_tensor_value_info("input", self.kind, ["time", "batch", _inputs(self.network)])
        )
        inputs = [given, *self._lengths()]
        value = "symbols" if symbols else "input"
        for index, part in enumerate(self.network.parts):
            value = self._part(part, value, f"{type(part).__name__.lower()}{index}")
        self.node("Identity", [value], ["output"], "output")
        leading = ["batch"] if self.last else ["time", "batch"]
        output = helper.make_tensor_value_info("output", self.kind, [*leading, _outputs(self.network)])
        weights = [numpy_helper.from_array(array, name) for name, array in self.arrays.items()]
        graph = helper.make_graph(self.nodes, "network", inputs, [output], weights)
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, producer_name="gatewright", opset_imports=opsets, ir_version=IR_VERSION)
        checker.check_model(model, full_check=True)
        return model

    def _lengths(self) -> list[Any]:
        """The graph's input of lengths, where it has one; they are what every layer reads."""
        from onnx import TensorProto, helper

        self.lengths = "lengths" if self.network.lengths else ""
        if isinstance(self.network.lengths, tuple):
            self.array("lengths", np.array(self.network.lengths, np.int32))
            return []
        return [helper.make_tensor_value_info("lengths", TensorProto.INT32, ["batch"])] if self.lengths else []

    def node(self, op: str, inputs: Sequence[str], outputs: Sequence[str], name: str, **attributes: Any) -> str:
        """One node; the name of its first result."""
        from onnx import helper

        self.nodes.append(helper.make_node(op, list(inputs), list(outputs), name=name, **attributes))
        return next(one for one in outputs if one)

    def array(self, name: str, array: Any) -> str:
        """An array of the file, by name."""
        self.arrays[name] = np.ascontiguousarray(array)
        return name

    def _part(self, part: Any, value: str, name: str) -> str:
        match part:
            case Embedding(masks_zero=False):
                table = self.array(f"{name}.weight", part.weight.astype(self.dtype))
                return self.node("Gather", [table, value], [name], name)
            case OneHot():
                rows = self.array(f"{name}.rows", np.eye(part.symbols, dtype=self.dtype))
                return self.node("Gather", [rows, value], [name], name)
            case Dense():
                return self._dense(part, value, name)
            case Recurrent():
                return self._recurrent(part, value, name)
            case Activation():
                return self._activation(part.function, value, name)
            case Scale():
                mean, deviation = (
                    self.array(f"{name}.{one}", getattr(part, one).astype(self.dtype)) for one in ("mean", "deviation")
                )
                return self.node(
                    "Div", [self.node("Sub", [value, mean], [f"{name}.less"], name), deviation], [name], f"{name}.div"
                )
            case Mean() | Max():
                return self._pool(part, value, name)
            case Masking() | Embedding():
                raise ConversionError(
                    "ONNX's operators know no mask",
                    got=type(part).__name__,
                    do="leave it out, and give the lengths of the rows instead",
                )
            case _:
                raise ConversionError(f"a part of the network cannot be written as ONNX: {type(part).__name__}")

    def _pool(self, part: Mean | Max, value: str, name: str) -> str:
        if self.lengths:
            raise ConversionError(f"a {type(part).__name__} of rows of several lengths has no operator in ONNX")
        if self.last:
            raise ConversionError(f"there are no steps left that a {type(part).__name__} could be of")
        self.last = True
        return self.node(
            "ReduceMax" if isinstance(part, Max) else "ReduceMean", [value], [name], name, axes=[0], keepdims=0
        )

    def _dense(self, part: Dense, value: str, name: str) -> str:
        weight = self.array(f"{name}.weight", part.weight.T.astype(self.dtype))
        value = self.node("MatMul", [value, weight], [f"{name}.product"], f"{name}.product")
        if part.bias is not None:
            bias = self.array(f"{name}.bias", part.bias.astype(self.dtype))
            value = self.node("Add", [value, bias], [f"{name}.sum"], f"{name}.sum")
        return self._activation(part.activation, value, name)

    def _activation(self, function: str, value: str, name: str) -> str:
        if function == "identity":
            return value
        if function not in _ACTIVATIONS:
            raise ConversionError(f"ONNX has no activation {function!r}", expected=", ".join(_ACTIVATIONS))
        op, attributes = _ACTIVATIONS[function]
        return self.node(op, [value], [name], name, **attributes)

    def _recurrent(self, part: Recurrent, value: str, name: str) -> str:
        if self.last:
            raise ConversionError("a layer reads a sequence, and the one below gives its last step only")
        if part.merge != "concat":
            raise ConversionError(
                "an operator of ONNX gives both directions side by side",
                expected="merge 'concat'",
                got=f"merge {part.merge!r}",
                do="write .keras, or a model file of Gatewright's own",
            )
        op, attributes, arrays = operators.write(part)
        inputs = [value, *(self.array(f"{name}.{one}", arrays[one].astype(self.dtype)) for one in ("W", "R"))]
        inputs.append(self.array(f"{name}.B", arrays["B"].astype(self.dtype)) if "B" in arrays else "")
        inputs += [self.lengths, self._state(part, "h", value, name)]
        if op == "LSTM":
            inputs.append(self._state(part, "c", value, name))
            inputs.append(self.array(f"{name}.P", arrays["P"].astype(self.dtype)) if "P" in arrays else "")
        while not inputs[-1]:
            inputs.pop()
        self.last = part.returns == "last"
        outputs = ["", f"{name}.final"] if self.last else [f"{name}.steps"]
        return self._joined(part, self.node(op, inputs, outputs, name, **attributes), name)

    def _state(self, part: Recurrent, state: str, value: str, name: str) -> str:
        """What a layer begins with, for every row of the batch; nothing where that is zero."""
        if not any(state in one for one in part.initial):
            return ""
        rows = [one.get(state, np.zeros((1, part.hidden))) for one in part.initial]
        most = max(len(one) for one in rows)
        stacked = np.stack([np.broadcast_to(one, (most, part.hidden)) for one in rows]).astype(self.dtype)
        constant = self.array(f"{name}.initial_{state}", stacked)
        if most > 1:
            return constant
        where = f"{name}.initial_{state}"
        sizes = self.node("Shape", [value], [f"{where}.sizes"], f"{where}.sizes", start=1, end=2)
        ends = [self.array(f"{where}.{i}", np.array([one])) for i, one in ((0, len(rows)), (2, part.hidden))]
        shape = self.node("Concat", [ends[0], sizes, ends[1]], [f"{where}.shape"], f"{where}.shape", axis=0)
        return self.node("Expand", [constant, shape], [f"{where}.rows"], f"{where}.rows")

    def _joined(self, part: Recurrent, value: str, name: str) -> str:
        """(time, directions, batch, hidden) to (time, batch, features), and the same without time."""
        both = len(part.directions) == 2
        if not both:
            axis = self.array(f"{name}.axis", np.array([0 if self.last else 1]))
            return self.node("Squeeze", [value, axis], [name], f"{name}.squeeze")
        order = (1, 0, 2) if self.last else (0, 2, 1, 3)
        value = self.node("Transpose", [value], [f"{name}.rows"], f"{name}.transpose", perm=order)
        shape = [0, 2 * part.hidden] if self.last else [0, 0, 2 * part.hidden]
        target = self.array(f"{name}.shape", np.array(shape))
        return self.node("Reshape", [value, target], [name], f"{name}.reshape")


def _arrays(network: Network) -> list[Array]:
    found: list[Array] = []
    for part in network.parts:
        match part:
            case Recurrent():
                found += [array for one in part.directions for array in one.values()]
            case Embedding():
                found.append(part.weight)
            case Dense():
                found += [part.weight, *([] if part.bias is None else [part.bias])]
            case Scale():
                found += [part.mean, part.deviation]
            case _:
                pass
    return found


def _inputs(network: Network) -> int:
    first = next(part for part in network.parts if isinstance(part, Dense | Recurrent))
    return first.weight.shape[1] if isinstance(first, Dense) else first.inputs


def _outputs(network: Network) -> int:
    last = next(part for part in reversed(network.parts) if isinstance(part, Dense | Recurrent))
    return len(last.weight) if isinstance(last, Dense) else last.outputs
