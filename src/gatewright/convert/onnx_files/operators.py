"""The recurrent operators: attributes and arrays of a node, and the layer that they are."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.backends.onnx.native import OperatorNode
from gatewright.backends.onnx.operators import ACTIVATIONS, OPERATORS, activation_attributes
from gatewright.cell_config.activations import spelled
from gatewright.cell_config.config import ACTIVATION_FIELDS, CellConfig, Family
from gatewright.convert import apply
from gatewright.convert.layouts import Layout, layouts
from gatewright.convert.onnx_files.values import Attributes, ConstantValue, Operands, Value, arrays_of, shortest
from gatewright.errors import ConversionError
from gatewright.network import RecurrentPart

Array = NDArray[Any]

FAMILIES: Mapping[str, Family] = {operator.name: family for family, operator in OPERATORS.items()}
OPERANDS = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")
ARRAYS = ("W", "R", "B", "P")
_DIRECTIONS = ("forward", "reverse", "bidirectional")
QUANTISED = "com.microsoft", "DynamicQuantizeLSTM"
BEFORE_SCALES = 8
"""The operands that ONNX's LSTM has too; after them are scale and zero point of W, and those of R."""
_MEANT = {
    "activations", "activation_alpha", "activation_beta", "clip", "direction", "hidden_size", "input_forget", "layout",
    "linear_before_reset",
}  # fmt: skip


def read(
    op: str, attributes: Attributes, arrays: Mapping[str, Array], initial: Mapping[str, Array]
) -> tuple[RecurrentPart, tuple[str, ...]]:
    """A node as a layer, and notes for the user. `initial` are states (directions, batch, hidden)."""
    unknown = attributes.keys() - _MEANT - {"outputs"}
    if unknown:
        known = ", ".join(sorted(_MEANT))
        raise ConversionError(f"attribute {sorted(unknown)[0]!r} is none that is known", expected=known)
    direction = attributes.get("direction", "forward")
    if direction not in _DIRECTIONS:
        raise ConversionError(f"direction {direction!r} is none", expected=", ".join(_DIRECTIONS))
    count = 1 + (direction == "bidirectional")
    configs = _configs(FAMILIES[op], attributes, count, peepholes="P" in arrays)
    config, second = configs[0], configs[-1] if configs[-1] != configs[0] else None
    row = row_of(config)
    directions = tuple(
        apply.read(row, {name: array[index] for name, array in _checked(arrays, count).items()}, configs[index])
        for index in range(count)
    )
    hidden = directions[0]["U." + config.gates[0]].shape[0]
    if attributes.get("hidden_size", hidden) != hidden:
        raise ConversionError("hidden_size is not that of R", expected=str(hidden), got=str(attributes["hidden_size"]))
    notes = ()
    if config.clip and config.family == "lstm":
        notes = ("clip bounds what gates and candidate read, and not the memory, as in ONNX Runtime",)
    if config.coupled and any(np.any(array) for array in _unread(row, arrays)):
        notes += ("input_forget: f is 1 - i, and the forget gate's own weights are not read",)
    begin = _initial(initial, count, hidden)
    return RecurrentPart(config, directions, direction == "reverse", initial=begin, second=second), notes


def write(layer: RecurrentPart) -> OperatorNode:
    """The operator, attributes and arrays of a layer: W, R, and B and P where it has any."""
    config = layer.cell_config
    row = row_of(config)
    configs = layer.cell_configs
    written = apply.write_directions(row, layer.directions, configs)
    arrays = {name: np.stack([arrays_of_direction[name] for arrays_of_direction in written]) for name in written[0]}
    attributes: dict[str, Any] = {"hidden_size": layer.hidden}
    if layer.backwards or len(layer.directions) == 2:
        attributes["direction"] = _DIRECTIONS[1 if layer.backwards else 2]
    if config.reset == "after":
        attributes["linear_before_reset"] = 1
    if config.coupled:
        attributes["input_forget"] = 1
    if config.clip:
        attributes["clip"] = config.clip
    names = [name for config in configs for name in config.activations]
    if names != [*row.cell_config.activations] * len(configs):  # a file need not say the operator's own
        attributes |= activation_attributes(names)
    return OperatorNode(OPERATORS[config.family].name, attributes, arrays)


def dequantised(operands: Operands) -> list[Value | None]:
    """The operands of ONNX's LSTM. Both matrices lie the other way round, with a scale for each column, or for all."""
    padded = [*operands, *[None] * 12][:12]
    numbers = arrays_of(padded)
    dense: list[Value | None] = list(padded[:BEFORE_SCALES])
    for place, scales in ((1, numbers[8:10]), (2, numbers[10:12])):
        dense[place] = ConstantValue(_matrix("W" if place == 1 else "R", numbers[place], *scales))
    return dense


def _matrix(name: str, weight: Array | None, scale: Array | None, zero: Array | None) -> Array:
    if weight is None or scale is None or zero is None or weight.ndim != 3 or weight.dtype.kind not in "iu":
        raise ConversionError(f"its {name}, or the scale or zero point of that, is no constant of the file")
    for array in (scale, zero):
        if array.shape not in (weight.shape[:1], (weight.shape[0], 1), (weight.shape[0], weight.shape[2])):
            raise ConversionError(
                f"a scale or zero point does not fit its {name}",
                expected=f"{weight.shape[:1]} or {(weight.shape[0], weight.shape[2])}",
                got=str(array.shape),
            )
    factor, offset = (array.reshape(len(weight), 1, -1) for array in (scale, zero))
    exact = (weight.astype(np.float32) - offset.astype(np.float32)) * factor.astype(np.float32)
    return np.ascontiguousarray(exact.swapaxes(1, 2))


def row_of(config: CellConfig) -> Layout:
    """The operator's row in the table."""
    for row in layouts("onnx", config.family):
        if row.reset == config.reset and row.coupled == config.coupled:
            return row
    raise ConversionError(f"ONNX has no operator for {config}", expected="RNN, GRU or LSTM")


def _configs(family: Family, attributes: Attributes, count: int, *, peepholes: bool) -> list[CellConfig]:
    """The equations of each direction, which may have activations of their own and nothing else."""
    reset = ("after" if attributes.get("linear_before_reset") else "before") if family == "gru" else None
    coupled = family == "lstm" and bool(attributes.get("input_forget"))
    clip = float(attributes.get("clip") or 0.0)
    if not np.isfinite(clip) or clip < 0:
        raise ConversionError("clip is no bound", expected="a number above 0", got=str(clip))
    config = CellConfig(family, reset=reset, coupled=coupled, peepholes=peepholes, clip=shortest(clip))
    names = _names(family, attributes, count)
    chosen: list[dict[str, Any]] = [dict(zip(ACTIVATION_FIELDS[family], name, strict=True)) for name in names]
    return [replace(config, **functions) for functions in chosen] or [config] * count


def _names(family: Family, attributes: Attributes, count: int) -> list[tuple[str, ...]]:
    """Our names of the activations of each direction; none where they are the operator's own."""
    names = attributes.get("activations")
    if not names:
        return []
    per = len(ACTIVATION_FIELDS[family])
    if len(names) != per * count:
        raise ConversionError(
            "there are more or fewer activations than the operator has", expected=str(per * count), got=str(len(names))
        )
    alphas, betas = (list(attributes.get(f"activation_{function}", ())) for function in ("alpha", "beta"))
    known = {name.lower(): function for name, function in ACTIVATIONS.items()}
    ours: list[str] = []
    for name in names:
        if name.lower() not in known:
            raise ConversionError(f"activation {name!r} is none of ONNX's", expected=", ".join(ACTIVATIONS))
        function = known[name.lower()]
        numbers = [
            shortest(queue.pop(0)) if queue else default
            for queue, default in ((alphas, function.alpha), (betas, function.beta))
            if default is not None
        ]
        ours.append(spelled(function.ours, *numbers) if numbers else function.ours)
    if alphas or betas:
        raise ConversionError(
            "activation_alpha or activation_beta has numbers that no activation reads", got=f"{alphas} and {betas}"
        )
    return [tuple(ours[per * index : per * (index + 1)]) for index in range(count)]


def _checked(arrays: Mapping[str, Array], count: int) -> Mapping[str, Array]:
    for name, array in arrays.items():
        if array.ndim != (2 if name in ("B", "P") else 3) or array.shape[0] != count or array.dtype.kind != "f":
            raise ConversionError(
                f"array {name!r} does not fit the operator",
                expected=f"{2 if name in ('B', 'P') else 3} axes of floating-point numbers, the first of {count}",
                got=f"shape {array.shape} of {array.dtype}",
            )
    return arrays


def _unread(row: Layout, arrays: Mapping[str, Array]) -> list[Array]:
    """The arrays of the forget gate of coupled gates, which nothing reads."""
    gates = row.gates.split()
    place = gates.index("f")
    return [np.split(arrays[name], len(gates), axis=1)[place] for name in ("W", "R")]


def _initial(initial: Mapping[str, Array], count: int, hidden: int) -> tuple[Mapping[str, Array], ...]:
    for name, array in initial.items():
        if array.ndim != 3 or (array.shape[0], array.shape[2]) != (count, hidden) or not array.shape[1]:
            raise ConversionError(
                f"the initial state {name} does not fit the operator",
                expected=f"({count}, batch, {hidden})",
                got=str(array.shape),
            )
    kept = {name: array for name, array in initial.items() if array.any()}
    if not kept:
        return ()
    return tuple({name: _rows(array[index]) for name, array in kept.items()} for index in range(count))


def _rows(state: Array) -> Array:
    """One row where all are the same."""
    return state[:1] if (state == state[:1]).all() else state
