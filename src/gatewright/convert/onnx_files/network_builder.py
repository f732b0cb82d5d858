"""Building a network from a graph: the parts in order, and the recurrent layers. Other parts are in simple_parts.py."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.convert.onnx_files import constants, operators, values
from gatewright.convert.onnx_files.pointwise import symbols_of
from gatewright.convert.onnx_files.scanned import ScannedLayer
from gatewright.convert.onnx_files.values import FEATURES, Attributes, Axis, ConstantValue, FlowValue, Operands, Value
from gatewright.errors import ConversionError
from gatewright.network import Activation, Dense, Embedding, Lengths, Part, RecurrentPart, Reverse, TakeStep

Array = NDArray[Any]

_NOT_HEEDED = "which OpenVINO 2026.4 does not heed in layers of one direction"
SEQUENCE = 3
"""Number of axes that a layer reads: time, batch, features."""


class NetworkBuilder:
    """The parts found so far, the axes that are time and batch, and notes for the user."""

    def __init__(self, path: Path, opset: int) -> None:
        self.path, self.opset = path, opset
        self.listed: list[Part] = []
        self.notes: dict[str, None] = {}
        self.extra_inputs: dict[str, None] = {}
        self.roles: dict[str, str] = {}  # "time" and "batch" to labels
        self.source: str | None = None
        self.lengths: Lengths | None = None  # of the rows
        self.lengths_from = ""  # the graph's input that they are
        self.batch_first = False  # whether an operator is of the layout that ONNX Runtime does not run
        self.quantised = False  # whether weights are of eight bits
        self.last_read = self.last_made = -1  # versions of the last layer's input and output
        self.halves: dict[int, tuple[int, int]] = {}  # versions of layers that became one of two directions, and which
        self.version = 1  # of the network; the version of a value says which parts it has passed

    def take(self, value: Value | None) -> FlowValue:
        """The input of a new part, which must be the whole output of the last one."""
        if not isinstance(value, FlowValue):
            raise ConversionError("it does not read what flows through the network")
        if value.version not in (self.version, 0 if self.version == 1 else self.version):
            raise ConversionError("it reads what another part reads too: the network branches here")
        if value.half is not None:
            raise ConversionError("it reads one of two directions")
        self.keep_last(value)
        if self.source not in (None, value.source):
            raise ConversionError(f"it reads a second input, {value.source!r}")
        self.source = value.source
        return self.changed(value) if value.last else value

    def keep_last(self, stream: FlowValue) -> None:
        """Where only the last step of a layer is read, make the layer give that alone."""
        if not stream.last:
            return
        if values.STEP in stream.labels:
            raise ConversionError("it reads an axis of one step")
        index = max(i for i, part in enumerate(self.listed) if isinstance(part, RecurrentPart))
        layer = self.listed[index]
        assert isinstance(layer, RecurrentPart)
        in_order = not any(isinstance(part, Reverse) for part in self.listed[index:])
        ends = stream.last == "final" or (stream.last == "both ends" and not self.lengths and in_order)
        if stream.last == "step" and in_order and len(layer.directions) == 1:
            ends = stream.step == 0 if layer.backwards else stream.step == -1 and not self.lengths
        if ends:
            self.listed[index] = replace(layer, returns="last")
        elif stream.last == "step":
            self.listed.append(TakeStep(stream.step))
        else:
            raise ConversionError("it reads the last step of a layer whose last states are elsewhere")

    @property
    def last(self) -> Part | None:
        """The last part so far."""
        return self.listed[-1] if self.listed else None

    def added(self, part: Part, stream: FlowValue) -> FlowValue:
        """The value after one more part, which gives a value of the axes of `stream`."""
        self.listed.append(part)
        return self.changed(stream)

    def replaced(self, part: Part, stream: FlowValue) -> FlowValue:
        """The value after the last part has become another one."""
        self.listed[-1] = part
        return self.changed(stream)

    def changed(self, stream: FlowValue) -> FlowValue:
        """The value after a new part. No part may read an earlier value any more."""
        self.version += 1
        return replace(stream, version=self.version, last="", step=0)

    def embedding(self, attributes: Attributes, table: ConstantValue, value: Value | None) -> Value:
        """Rows of a matrix, by symbols or by a function of symbols."""
        stream = self.take(value.stream if isinstance(value, values.PointwiseValue) else value)
        if attributes.get("axis", 0) != 0 or table.array.ndim != 2 or self.listed or len(stream.axes) != 2:
            raise ConversionError("it is no embedding: rows of a matrix, for symbols (time, batch)")
        rows = table.array
        part = Embedding(rows[symbols_of(value, len(rows))] if isinstance(value, values.PointwiseValue) else rows)
        return self.added(part, replace(stream, axes=(*stream.axes, Axis(FEATURES, rows.shape[1]))))

    def activated(self, value: Value | None, function: str) -> FlowValue:
        """The activation of a dense layer, or one by itself."""
        stream, last = self.take(value), self.last
        if function == "identity":
            return stream
        if isinstance(last, Dense) and last.activation == "identity":
            return self.replaced(replace(last, activation=function), stream)
        return self.added(Activation(function), stream)

    def recurrent(self, op: str, attributes: Attributes, operands: Operands) -> list[Value]:
        """A recurrent layer: every step, and the states after the last."""
        named: dict[str, Value | None] = dict(zip(operators.OPERANDS, operands, strict=False))
        arrays = {
            name: constant(named[name], name)
            for name in operators.ARRAYS
            if named.get(name) not in (None, values.FilledValue(0.0))
        }
        if not {"W", "R"} <= arrays.keys():
            raise ConversionError("it has no W or no R")
        batch_first = bool(attributes.get("layout"))
        self.batch_first |= batch_first
        value = named.get("X")
        beside = self._beside_last(value, attributes)
        stream = replace(value, version=self.version) if beside and isinstance(value, FlowValue) else self.take(value)
        time, batch = self._roles(stream, batch_first)
        shape = (arrays["W"].shape[0], 1, arrays["R"].shape[-1])
        begin = {name[-1]: self._initial(named.get(name), shape, batch_first) for name in ("initial_h", "initial_c")}
        self._set_lengths(named.get("sequence_lens"), time, batch)
        initial = {state: array for state, array in begin.items() if array is not None}
        layer, notes = operators.read(op, attributes, arrays, initial)
        _check_width(layer, stream)
        self.notes |= dict.fromkeys(notes)
        half = self._pair(beside, layer) if beside else None
        if half is None:
            self.listed.append(layer)
            self.last_read = stream.version
        output = replace(self.changed(stream), half=half)
        if half is not None:
            self.halves[self.last_made] = (output.version, 1 - half)
        self.last_made = output.version
        return self._given_by(layer, output, time, batch, batch_first)[: attributes["outputs"]]

    def _beside_last(self, value: Value | None, attributes: Attributes) -> RecurrentPart | None:
        """The layer just before, if this node has the same input and the other direction: the two are one layer."""
        last = self.last
        if (
            not isinstance(value, FlowValue)
            or not isinstance(last, RecurrentPart)
            or len(last.directions) > 1
            or value.last
        ):
            return None
        directions = {attributes.get("direction", "forward"), "reverse" if last.backwards else "forward"}
        same = (value.version, self.version) == (self.last_read, self.last_made) and value.half is None
        return last if same and directions == {"forward", "reverse"} and value.source == self.source else None

    def _pair(self, last: RecurrentPart, layer: RecurrentPart) -> int:
        """Make a layer of two directions of two; which of them the second one is."""
        first, second = (layer, last) if last.backwards else (last, layer)
        if operators.row_of(first.cell_config) != operators.row_of(second.cell_config) or first.hidden != second.hidden:
            raise ConversionError("it reads what a layer of another kind or size reads: the network branches here")
        kept = [direction.initial[0] if direction.initial else {} for direction in (first, second)]
        self.listed[-1] = replace(
            first,
            directions=(*first.directions, *second.directions),
            initial=tuple(kept) if any(kept) else (),
            second=None if second.cell_config == first.cell_config else second.cell_config,
        )
        return 0 if last.backwards else 1

    def current(self, value: Value | None) -> Value | None:
        """A value as it is now: the output of a layer may have become one of two directions since."""
        if isinstance(value, FlowValue) and value.version in self.halves:
            version, half = self.halves[value.version]
            return replace(value, version=version, half=half)
        return value

    def scanned(self, loop: ScannedLayer, value: Value, lengths: Value | None) -> list[Value]:
        """A layer that is a loop: the outputs of its directions."""
        stream, layer = self.take(value), loop.layer
        time, batch = self._roles(stream, batch_first=False)
        self._set_lengths(lengths, time, batch)
        _check_width(layer, stream)
        last = layer.returns == "last"
        axes = (batch, Axis(FEATURES, layer.outputs // len(layer.directions)))
        output = replace(self.added(layer, stream), axes=axes if last else (time, *axes), last="final" if last else "")
        if len(layer.directions) == 1:
            return [output]
        return [replace(output, half=place) for place in range(len(layer.directions))]

    def _set_lengths(self, value: Value | None, time: Axis, batch: Axis) -> None:
        lengths = self._lengths(value, time, batch)
        if any(isinstance(part, RecurrentPart) for part in self.listed) and lengths != self.lengths:
            raise ConversionError(
                "its rows end elsewhere than those of the layers below",
                expected="the same sequence_lens for all layers, or none",
                got="none" if lengths is None else str(lengths),
            )
        self.lengths = lengths

    def _given_by(
        self, layer: RecurrentPart, stream: FlowValue, time: Axis, batch: Axis, batch_first: bool
    ) -> list[Value]:
        """Y, Y_h and Y_c."""
        directions, features = Axis(values.DIRECTIONS, len(layer.directions)), Axis(FEATURES, layer.hidden)
        every = (batch, time, directions, features) if batch_first else (time, directions, batch, features)
        final = (batch, directions, features) if batch_first else (directions, batch, features)
        unread = ConversionError(f"{self.path}: what reads the last memory of an LSTM cannot be read")
        outputs = replace(stream, axes=every, last=""), replace(stream, axes=final, last="final")
        return [*outputs, values.UnreadableValue(unread)]

    def _roles(self, stream: FlowValue, batch_first: bool) -> tuple[Axis, Axis]:
        """Which axis is time, and which the batch: the same as for the layers below."""
        if len(stream.axes) != SEQUENCE or values.DIRECTIONS in stream.labels:
            raise ConversionError("it does not read (time, batch, features)", got=", ".join(stream.labels))
        if FEATURES in stream.labels[:-1]:
            raise ConversionError("it takes features for steps or rows", got=", ".join(stream.labels))
        time, batch = stream.axes[batch_first], stream.axes[1 - batch_first]
        self.set_roles(time, batch)
        return time, batch

    def set_roles(self, time: Axis, batch: Axis) -> None:
        """Say which axis is time, and which the batch. Raises ConversionError where the parts below say otherwise."""
        roles = {"time": time.label, "batch": batch.label}
        if (self.roles or roles) != roles or values.STEP in roles.values():
            raise ConversionError("it takes another axis for time than the layers below")
        self.roles = roles

    def _initial(self, value: Value | None, shape: tuple[int, ...], batch_first: bool) -> Array | None:
        match value:
            case None:
                return None
            case values.FilledValue(float(number)):
                return np.full(shape, number, np.float32) if number else None
            case ConstantValue():
                return value.array.swapaxes(0, 1) if batch_first and value.array.ndim == 3 else value.array
            case values.ExtraInput() | FlowValue(version=0):
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
            case values.FilledValue(filled) if filled in (time.label, time.size):
                return None
            case ConstantValue():
                return _fixed(value.array, time, batch)
            case FlowValue(version=0) if len(value.axes) == 1:
                name = self._beside(value)
                if self.lengths_from not in ("", name):
                    raise ConversionError(
                        f"its lengths are {name!r}, and those of the layers below {self.lengths_from!r}"
                    )
                self.lengths_from = name
                self.notes[f"lengths are given to the graph as {name!r}, {_NOT_HEEDED}"] = None
                return "given"
            case _:
                raise ConversionError(
                    "its sequence_lens are computed in the graph",
                    expected="an input of the graph (batch,), or numbers that stand in the file",
                    do="make sequence_lens an input of the graph",
                )

    def _beside(self, value: values.ExtraInput | FlowValue) -> str:
        name = value.name if isinstance(value, values.ExtraInput) else value.source
        if name == self.source:
            raise ConversionError(f"its states or lengths come from {name!r}, which the layers read too")
        self.extra_inputs[name] = None
        return name


def _check_width(layer: RecurrentPart, stream: FlowValue) -> None:
    if stream.axes[-1].size not in (None, layer.inputs):
        raise ConversionError("its W does not fit what it reads", got=f"{layer.inputs} features")


def constant(value: Value | None, name: str) -> Array:
    """The numbers of an operand that stands in the file. Raises ConversionError where it does not."""
    if not isinstance(value, ConstantValue):
        raise ConversionError(
            f"its {name} is no constant of the file",
            expected="an initialiser",
            do="export the model with its weights inside",
        )
    return value.array


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
    return None if (lengths == time.size).all() else tuple(int(length) for length in lengths)


def vector(bias: Array, size: int | None) -> Array:
    """The numbers of a bias or the like as one row, of that size where it is known."""
    size = bias.size if size is None else size
    if bias.size != size or bias.shape[-1:] != (size,) or bias.dtype.kind != "f":
        raise ConversionError("its bias does not fit", expected=f"({size},)", got=str(bias.shape))
    return bias.reshape(size)


@dataclass(frozen=True, slots=True)
class GraphNode:
    """One use of an operator on values of the network that is being built."""

    parts: NetworkBuilder
    attributes: Attributes
    operands: Operands

    @property
    def stream(self) -> FlowValue:
        """The first operand."""
        first = self.operands[0]
        if not isinstance(first, FlowValue):
            raise ConversionError("it does not read what flows through the network")
        return first

    @property
    def time(self) -> str | None:
        """Which axis of the input is time, where that is known already."""
        return self.parts.roles.get("time")

    def take(self) -> FlowValue:
        """The first operand as the input of a new part."""
        return self.parts.take(self.operands[0])

    def axes(self) -> tuple[int, ...] | None:
        """Axes that are an attribute or an operand."""
        return constants.axes_of(self.attributes, values.arrays_of(self.operands))

    def bounds(self) -> dict[int, slice]:
        """The bounds of a Slice, by axis."""
        return constants.bounds(self.attributes, values.arrays_of(self.operands), len(self.stream.axes))
