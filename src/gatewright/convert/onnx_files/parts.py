"""The parts of a network as nodes of a graph add them, each reading all that the one before gives."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.convert.activations import spelled
from gatewright.convert.functions import FUNCTIONS
from gatewright.convert.network import Activation, Dense, Embedding, Lengths, Max, Mean, Part, Recurrent, Scale
from gatewright.convert.onnx_files import operators
from gatewright.convert.onnx_files.folding import axes_of
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
from gatewright.lang.functions import THEANO_SLOPE

Array = NDArray[Any]
Attributes = Mapping[str, Any]
Operands = Sequence[Value | None]

ACTIVATIONS: Mapping[str, str] = {
    "Elu": "elu",
    "HardSigmoid": "hard_sigmoid",
    "Relu": "relu",
    "Sigmoid": "sigmoid",
    "Softmax": "softmax",
    "Softplus": "softplus",
    "Tanh": "tanh",
}
"""Outside of recurrent layers: ONNX's operator, and ours."""
SOFTMAX_LAST = 13
"""The first version of the operators whose softmax is along the last axis unless it says otherwise."""
SEQUENCE = 3
"""Axes of what a layer reads: time, batch, features."""


class Parts:
    """The parts found so far, which axes are time and batch, and what to tell of it all."""

    def __init__(self, path: Path, opset: int) -> None:
        self.path, self.opset = path, opset
        self.found: list[Part] = []
        self.notes: dict[str, None] = {}
        self.given: dict[str, None] = {}
        self.roles: dict[str, str] = {}  # "time" and "batch" to labels
        self.source: str | None = None
        self.lengths: Lengths | None = None  # of the rows
        self.lengths_from = ""  # the graph's input that they are
        self.version = 1  # of the network: what a node gives stands for the network as it was then

    def take(self, value: Value | None) -> Stream:
        """What flows into a part: all that the part before gives."""
        if not isinstance(value, Stream):
            raise ConversionError("it does not read what flows through the network")
        if value.version not in (self.version, 0 if self.source is None else self.version):
            raise ConversionError("it reads what another part reads too: the network branches here")
        if value.half is not None:
            raise ConversionError("it reads one of two directions")
        self.keep_last(value)
        if self.source not in (None, value.source):
            raise ConversionError(f"it reads a second input, {value.source!r}")
        self.source = value.source
        return value

    def keep_last(self, stream: Stream) -> None:
        """Only what there is after the last step is read of a layer: that is what it gives from here on."""
        if not stream.last:
            return
        index = max(i for i, part in enumerate(self.found) if isinstance(part, Recurrent))
        layer = self.found[index]
        assert isinstance(layer, Recurrent)
        if STEP in stream.labels:
            raise ConversionError("it reads an axis of one step")
        if stream.last == "step" and (self.lengths or layer.backwards or len(layer.directions) > 1):
            raise ConversionError("it reads the last step of a layer whose last states are elsewhere")
        self.found[index] = replace(layer, returns="last")

    def _changed(self, stream: Stream) -> Stream:
        """What flows behind a change to the network: nothing made before it may be read any more."""
        self.version += 1
        return replace(stream, version=self.version)

    def embedding(self, attributes: Attributes, table: Known, value: Stream) -> Value:
        """Rows of a matrix, by symbols."""
        stream = self.take(value)
        if attributes.get("axis", 0) != 0 or table.array.ndim != 2 or self.found or len(stream.axes) != 2:
            raise ConversionError("it is no embedding: rows of a matrix, for symbols (time, batch)")
        self.found.append(Embedding(table.array))
        return self._changed(replace(stream, axes=(*stream.axes, Axis(FEATURES, table.array.shape[1]))))

    def _dense(self, value: Value | None, weight: Array, bias: Array | None = None) -> Value:
        stream = self.take(value)
        if weight.ndim != 2 or weight.dtype.kind != "f" or stream.labels[-1] in self.roles.values():
            raise ConversionError("it multiplies by what is no matrix", got=f"shape {weight.shape}")
        if stream.axes[-1].size not in (None, weight.shape[1]) or DIRECTIONS in stream.labels:
            raise ConversionError("its matrix does not fit what it reads", got=f"shape {weight.shape}")
        self.found.append(Dense(weight, bias))
        return self._changed(stream.with_features(weight.shape[0]))

    def matmul(self, attributes: Attributes, operands: Operands) -> Value:
        """A dense layer without a bias."""
        return self._dense(operands[0], self._array(operands[1], "matrix").T)

    def gemm(self, attributes: Attributes, operands: Operands) -> Value:
        """A dense layer."""
        if (attributes.get("alpha", 1.0), attributes.get("beta", 1.0), attributes.get("transA", 0)) != (1.0, 1.0, 0):
            raise ConversionError("it scales or transposes what it reads")
        weight = self._array(operands[1], "matrix")
        bias = self._array(operands[2], "bias") if operands[2:] and operands[2] is not None else None
        weight = weight if attributes.get("transB") else weight.T
        return self._dense(operands[0], weight, None if bias is None else _vector(bias, weight.shape[0]))

    def add(self, attributes: Attributes, operands: Operands) -> Value:
        """The bias of a dense layer."""
        stream, bias = operands if isinstance(operands[0], Stream) else (operands[1], operands[0])
        last = self.found[-1] if self.found else None
        if not isinstance(last, Dense) or last.bias is not None or last.activation != "identity":
            raise ConversionError("it adds what is no bias of a dense layer")
        value = self.take(stream)
        self.found[-1] = replace(last, bias=_vector(self._array(bias, "bias"), last.weight.shape[0]))
        return self._changed(value)

    def less(self, attributes: Attributes, operands: Operands) -> Value:
        """What each feature is lessened by before it is scaled."""
        value = self.take(operands[0])
        mean = self._of_features(operands[1], value)
        self.found.append(Scale(mean, np.ones_like(mean)))
        return self._changed(value.with_features(len(mean)))

    def divide(self, attributes: Attributes, operands: Operands) -> Value:
        """What each feature is divided by."""
        value, last = self.take(operands[0]), self.found[-1] if self.found else None
        deviation = self._of_features(operands[1], value)
        if not deviation.all():
            raise ConversionError("it divides by zero")
        if isinstance(last, Scale) and (last.deviation == 1).all() and last.mean.dtype == deviation.dtype:
            self.found[-1] = Scale(last.mean, deviation)
        else:
            self.found.append(Scale(np.zeros_like(deviation), deviation))
        return self._changed(value.with_features(len(deviation)))

    def pool(self, attributes: Attributes, operands: Operands, *, part: type[Mean | Max]) -> Value:
        """The mean or the maximum of all steps."""
        stream = self.take(operands[0])
        axes = axes_of(attributes, [one.array if isinstance(one, Known) else None for one in operands])
        along = [stream.labels[one] for one in axes or ()]
        if along != [self.roles.get("time")] or attributes.get("keepdims", 1):
            raise ConversionError(
                "it goes along another axis than time, or keeps it", expected="axes: [time], keepdims: 0", got=str(axes)
            )
        if self.lengths:
            raise ConversionError("it takes in the steps behind the end of a row, whose lengths are given to the graph")
        if DIRECTIONS in stream.labels:
            raise ConversionError("it reads two directions that are not side by side")
        self.found.append(part())
        return self._changed(stream.without(stream.labels.index(along[0])))

    def activation(self, attributes: Attributes, operands: Operands, *, op: str) -> Value:
        """The activation of a dense layer, or one by itself."""
        function = _function(op, attributes)
        stream, last = self.take(operands[0]), self.found[-1] if self.found else None
        axis = attributes.get("axis", -1 if self.opset >= SOFTMAX_LAST else 1)
        if op == "Softmax" and (axis not in (-1, len(stream.axes) - 1) or stream.labels[-1] in self.roles.values()):
            raise ConversionError("it is a softmax along another axis than the last", got=str(axis))
        if isinstance(last, Dense) and last.activation == "identity":
            self.found[-1] = replace(last, activation=function)
        else:
            self.found.append(Activation(function))
        return self._changed(stream)

    def recurrent(self, op: str, attributes: Attributes, operands: Operands) -> list[Value]:
        """A recurrent layer: every step, and the states after the last."""
        named: dict[str, Value | None] = dict(zip(operators.OPERANDS, operands, strict=False))
        arrays = {
            name: self._array(named[name], name)
            for name in operators.ARRAYS
            if named.get(name) not in (None, Filled(0.0))
        }
        if not {"W", "R"} <= arrays.keys():
            raise ConversionError("it has no W or no R")
        batch_first = bool(attributes.get("layout"))
        stream = self.take(named.get("X"))
        time, batch = self._roles(stream, batch_first)
        shape = (arrays["W"].shape[0], 1, arrays["R"].shape[-1])
        begin = {name[-1]: self._initial(named.get(name), shape, batch_first) for name in ("initial_h", "initial_c")}
        lengths = self._lengths(named.get("sequence_lens"), time, batch)
        if any(isinstance(part, Recurrent) for part in self.found) and lengths != self.lengths:
            raise ConversionError(
                "its rows end elsewhere than those of the layers below",
                expected="the same sequence_lens for all layers, or none",
                got="none" if lengths is None else str(lengths),
            )
        self.lengths = lengths
        given = {state: array for state, array in begin.items() if array is not None}
        layer, notes = operators.read(op, attributes, arrays, given)
        if stream.axes[-1].size not in (None, layer.inputs):
            raise ConversionError("its W does not fit what it reads", got=f"{layer.inputs} features")
        self.found.append(layer)
        self.notes |= dict.fromkeys(notes)
        return self._given_by(layer, self._changed(stream), time, batch, batch_first)[: attributes["outputs"]]

    def _given_by(self, layer: Recurrent, stream: Stream, time: Axis, batch: Axis, batch_first: bool) -> list[Value]:
        """Y, Y_h and Y_c."""
        directions, features = Axis(DIRECTIONS, len(layer.directions)), Axis(FEATURES, layer.hidden)
        every = (batch, time, directions, features) if batch_first else (time, directions, batch, features)
        final = (batch, directions, features) if batch_first else (directions, batch, features)
        memory = Unknown(ConversionError(f"{self.path}: what reads the last memory of an LSTM cannot be read"))
        return [replace(stream, axes=every, last=""), replace(stream, axes=final, last="final"), memory]

    def _roles(self, stream: Stream, batch_first: bool) -> tuple[Axis, Axis]:
        """Which axis is time, and which the batch: the same as for the layers below."""
        if len(stream.axes) != SEQUENCE or DIRECTIONS in stream.labels:
            raise ConversionError("it does not read (time, batch, features)", got=", ".join(stream.labels))
        if FEATURES in stream.labels[:-1]:
            raise ConversionError("it takes features for steps or rows", got=", ".join(stream.labels))
        time, batch = stream.axes[batch_first], stream.axes[1 - batch_first]
        roles = {"time": time.label, "batch": batch.label}
        if (self.roles or roles) != roles or STEP in roles.values():
            raise ConversionError("it takes another axis for time than the layers below")
        self.roles = roles
        return time, batch

    def _initial(self, value: Value | None, shape: tuple[int, ...], batch_first: bool) -> Array | None:
        match value:
            case None:
                return None
            case Filled(float(number)):
                return np.full(shape, number, np.float32) if number else None
            case Known():
                return value.array.swapaxes(0, 1) if batch_first and value.array.ndim == 3 else value.array
            case Given() | Stream(version=0):
                name = self._beside(value)
                self.notes[f"initial states are given to the graph as {name!r}: they are zero here"] = None
                return None
            case _:
                raise ConversionError("its initial state is none that is known")

    def _lengths(self, value: Value | None, time: Axis, batch: Axis) -> Lengths | None:
        """How many steps each row has; None where all have all."""
        match value:
            case None:
                return None
            case Filled(filled) if filled in (time.label, time.size):
                return None
            case Known():
                return _fixed(value.array, time, batch)
            case Stream(version=0) if len(value.axes) == 1:
                name = self._beside(value)
                if self.lengths_from not in ("", name):
                    raise ConversionError(
                        f"its lengths are {name!r}, and those of the layers below {self.lengths_from!r}"
                    )
                self.lengths_from = name
                self.notes[f"lengths are given to the graph as {name!r}, which OpenVINO 2026.4 does not heed"] = None
                return "given"
            case _:
                raise ConversionError(
                    "its sequence_lens are computed in the graph",
                    expected="an input of the graph (batch,), or numbers that stand in the file",
                    do="make sequence_lens an input of the graph",
                )

    def _beside(self, value: Given | Stream) -> str:
        """The name of an input besides the main one."""
        name = value.name if isinstance(value, Given) else value.source
        if name == self.source:
            raise ConversionError(f"its states or lengths come from {name!r}, which the layers read too")
        self.given[name] = None
        return name

    def _of_features(self, value: Value | None, stream: Stream) -> Array:
        """A number for each feature."""
        array, size = self._array(value, "operand"), stream.axes[-1].size
        if stream.labels[-1] in self.roles.values() or DIRECTIONS in stream.labels or len(stream.axes) < SEQUENCE - 1:
            raise ConversionError("it scales what are no features", got=", ".join(stream.labels))
        return _vector(array, array.size if size is None else size)

    def _array(self, value: Value | None, name: str) -> Array:
        if not isinstance(value, Known):
            raise ConversionError(
                f"its {name} is no constant of the file",
                expected="an initialiser",
                do="export the model with its weights inside",
            )
        return value.array


def _function(op: str, attributes: Attributes) -> str:
    """What an activation computes, by our name."""
    function = ACTIVATIONS[op]
    if op == "HardSigmoid":
        slope, offset = attributes.get("alpha", THEANO_SLOPE), attributes.get("beta", 0.5)
        function = spelled(function, slope, offset)
    if function not in FUNCTIONS or (op == "Elu" and attributes.get("alpha", 1.0) != 1.0):
        constants = ", ".join(f"{name} {attributes[name]:g}" for name in ("alpha", "beta") if name in attributes)
        raise ConversionError("it is an activation that no layer here has", got=constants)
    return function


def _fixed(lengths: Array, time: Axis, batch: Axis) -> tuple[int, ...] | None:
    """Lengths that stand in the file, where they are not those of whole rows."""
    if lengths.ndim != 1 or lengths.dtype.kind not in "iu" or batch.size not in (None, len(lengths)):
        raise ConversionError(
            "its sequence_lens do not fit the batch", expected=f"({batch.size or 'batch'},)", got=str(lengths.shape)
        )
    if not lengths.size or lengths.min() < 1 or lengths.max() > (time.size or np.inf):
        raise ConversionError(
            "its sequence_lens are no numbers of steps",
            expected=f"from 1 to {time.size or 'all'}",
            got=str(lengths[:8]),
        )
    return None if (lengths == time.size).all() else tuple(int(each) for each in lengths)


def _vector(bias: Array, size: int) -> Array:
    if bias.size != size or bias.shape[-1:] != (size,) or bias.dtype.kind != "f":
        raise ConversionError("its bias does not fit", expected=f"({size},)", got=str(bias.shape))
    return bias.reshape(size)


COMPUTING: Mapping[str, Callable[[Parts, Attributes, Operands], Value]] = {
    "Add": Parts.add,
    "Div": Parts.divide,
    "Gemm": Parts.gemm,
    "MatMul": Parts.matmul,
    "ReduceMax": partial(Parts.pool, part=Max),
    "ReduceMean": partial(Parts.pool, part=Mean),
    "Sub": Parts.less,
    **{op: partial(Parts.activation, op=op) for op in ACTIVATIONS},
}
