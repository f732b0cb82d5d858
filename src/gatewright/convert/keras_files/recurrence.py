"""The recurrent layers of Keras, of one direction and of two, by their settings or by their arrays alone."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, get_args

from numpy.typing import NDArray

from gatewright.cell_config.config import CellConfig
from gatewright.convert import apply
from gatewright.convert.keras_files.architecture import Config, KerasLayer, KerasVersion, layer_of
from gatewright.convert.keras_files.chain_state import CELLS, FAMILIES, ChainState, function, unlike
from gatewright.convert.layouts import BY_KEY, Layout, layouts
from gatewright.convert.overrides import Assumed, assumed
from gatewright.convert.refusals import located
from gatewright.errors import ConversionError
from gatewright.network import Merge, Part, RecurrentPart, Reverse

Arrays = Mapping[str, NDArray[Any]]
DIRECTIONS = ("forward/", "backward/")
_OTHER_WEIGHTS = "look whether these are the weights of this model, and each layer reads what the one before gives"
_AROUND_CELLS = ("time_major", "stateful", "return_sequences")  # settings of how a layer runs its cell


def recurrent(layer: KerasLayer, chain: ChainState) -> list[Part]:
    """A layer of one direction: of one cell, or of several, one above the other."""
    config = layer.config
    cells = _cells(layer, chain)
    state = layer.call.output > 0
    if state and (layer.call.output > 1 or len(cells) > 1 or not config.get("return_state")):
        raise _no_state(layer, chain, "1, the state that is its output")
    backwards, sequence = bool(config.get("go_backwards")), bool(config.get("return_sequences")) and not state
    stack = [
        replace(_one_direction(cell, cell.arrays, chain), returns="sequence", backwards=backwards) for cell in cells
    ]
    padding = "held" if state else _padding(config)
    if padding == "zeros" and chain.masked and not sequence:
        raise unlike(layer, chain, "zero_output_for_mask", "false, where the last output alone is read", True)
    stack[-1] = replace(stack[-1], returns="sequence" if sequence else "last", padding=padding)
    if backwards and sequence and chain.masked:
        raise unlike(layer, chain, "mask", "none, since the outputs are reversed and their mask is not", "a mask")
    parts = [part for stacked in stack for part in _after(stacked, chain)]
    return [*parts, *([Reverse()] if backwards and sequence else [])]


def bidirectional(layer: KerasLayer, chain: ChainState) -> list[Part]:
    """A layer of two directions; one direction of it, where its final state alone is read."""
    inner = layer.inner()
    if inner is None or inner.kind not in (*FAMILIES, "RNN"):
        raise unlike(layer, chain, "Bidirectional layer", ", ".join(FAMILIES), inner and inner.kind)
    merge = layer.config.get("merge_mode", "concat")
    if merge not in get_args(Merge):
        expected = ", ".join(get_args(Merge)) + "; without it the layer has two outputs"
        raise unlike(layer, chain, "merge_mode", expected, merge)
    if inner.config.get("go_backwards"):
        raise unlike(layer, chain, "first direction", "one that goes forwards", "go_backwards")
    other = layer.inner("backward_layer")
    if other is not None and not other.config.get("go_backwards"):
        raise unlike(layer, chain, "backward_layer", "one that goes backwards", "one that does not")
    if other is not None and _essence(other) != _essence(inner):
        raise unlike(layer, chain, "backward_layer", "the class, units and sequences of the forward one", "others")
    cells = _cells(inner, chain)
    if len(cells) > 1:
        raise unlike(layer, chain, "cell", "one: the directions of several do not meet between them", len(cells))
    both = directions_of(layer.arrays)
    if len(both) != 2:
        raise unlike(layer, chain, "arrays", "those of two directions", ", ".join(layer.arrays) or "none")
    ahead, back = cells[0], _cells(other or inner, chain)[0]
    forwards, backwards = (
        _one_direction(replace(cell, name=layer.name), arrays, chain)
        for cell, arrays in zip((ahead, back), both, strict=True)
    )
    if layer.call.output:
        return _after(_state_of_two(layer, inner, (forwards, backwards), chain), chain)
    padding = "zeros" if chain.version.zeroes_both else _padding(inner.config)
    part = replace(forwards, directions=(*forwards.directions, *backwards.directions), padding=padding, merge=merge)
    if backwards.cell_config != forwards.cell_config:
        part = replace(part, second=backwards.cell_config)
    return _after(part, chain)


def _state_of_two(
    layer: KerasLayer, inner: KerasLayer, both: tuple[RecurrentPart, RecurrentPart], chain: ChainState
) -> RecurrentPart:
    """One direction of a layer of two, where only its final state is read, which is one of the layer's outputs."""
    states = 2 if both[0].cell_config.family == "lstm" else 1
    if not inner.config.get("return_state") or layer.call.output not in (1, 1 + states):
        raise _no_state(layer, chain, f"1 or {1 + states}, the state of a direction that is its output")
    backwards = layer.call.output > 1
    return replace(both[backwards], returns="last", backwards=backwards)


def _no_state(layer: KerasLayer, chain: ChainState, expected: str) -> ConversionError:
    return ConversionError(
        f"tensor {layer.call.output} of layer {layer.name!r} ({layer.kind}) is read, and no part here gives it",
        expected=f"tensor 0, the output, or {expected}",
        got="a state that the layer keeps to itself, such as the memory of an LSTM",
        do="save a model that ends with another output of the layer, or choose the layer with prefix",
    )


def _cells(layer: KerasLayer, chain: ChainState) -> list[KerasLayer]:
    """The cells that run at each step, as layers of one cell each, from the bottom to the top."""
    if layer.kind in FAMILIES:
        return [layer]
    cell = layer.inner("cell")
    listed = cell.config.get("cells") if cell and cell.kind == "StackedRNNCells" else None
    cells = [layer_of(entry) for entry in listed] if isinstance(listed, Sequence) else [cell] if cell else []
    if not cells or any(inner.kind not in CELLS for inner in cells):
        kinds = ", ".join(inner.kind for inner in cells) or "none"
        raise unlike(layer, chain, "cell", f"{', '.join(CELLS)}, or StackedRNNCells of these", kinds)
    around = {name: inner for name, inner in layer.config.items() if name in _AROUND_CELLS}
    return [
        KerasLayer(
            CELLS[inner.kind],
            layer.name,
            {**inner.config, **around},
            _below(f"cell{index}/", layer.arrays) if len(cells) > 1 else layer.arrays,
        )
        for index, inner in enumerate(cells)
    ]


def _below(prefix: str, arrays: Arrays) -> Arrays:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _one_direction(layer: KerasLayer, arrays: Arrays, chain: ChainState) -> RecurrentPart:
    config = layer.config
    if config.get("time_major"):
        raise unlike(layer, chain, "time_major", "false", True)
    if config.get("stateful"):
        chain.notes.append(f"layer {layer.name!r} is stateful: here its state begins at zero at each call")
    row = BY_KEY[_row(layer, arrays, chain.version)]
    equations = _equations(layer, row, chain)
    with located(f"layer {layer.name!r}", _OTHER_WEIGHTS):
        parameters = apply.read(row, arrays, equations)
    more = arrays.keys() - {name for name, *_ in row.stored()}
    units = config.get("units", config.get("output_dim"))
    part = RecurrentPart(equations, (parameters,), returns="sequence" if config.get("return_sequences") else "last")
    if more or units not in (None, part.hidden):
        got = f"{part.hidden} units" + (f", and {', '.join(sorted(more))}" if more else "")
        raise unlike(layer, chain, "arrays", f"those of {units} units in {row.title}", got)
    return part


def _row(layer: KerasLayer, arrays: Arrays, version: KerasVersion) -> str:
    family = FAMILIES[layer.kind]
    framework = "keras1" if version.major == 1 else "keras"
    variant = ""
    if layer.kind.startswith("CuDNN"):
        variant = "-cudnn"
    elif version.major == 1:
        variant = "-fused" if family != "rnn" and "W" in arrays else ""
    elif family == "gru" and not layer.config.get("reset_after", version.major >= 3):
        variant = "-before"
    return f"{framework}/{family}{variant}"


def _equations(layer: KerasLayer, row: Layout, chain: ChainState) -> CellConfig:
    if layer.kind.startswith("CuDNN"):
        return row.cell_config
    activation = function(layer, chain, "activation", "tanh")
    output = activation if row.family == "lstm" else None
    if row.family == "rnn":
        return apply.config_of(row, activation=activation)
    which = "inner_activation" if chain.version.major == 1 else "recurrent_activation"
    gate = function(layer, chain, which, chain.version.gate)
    return apply.config_of(row, gate=gate, activation=activation, output=output)


def guessed(
    arrays: Arrays, name: str, version: KerasVersion, overrides: Mapping[str, Any]
) -> tuple[RecurrentPart, Assumed] | None:
    """A recurrent layer by its arrays alone, and the assumed values; None where it is another layer."""
    both = directions_of(arrays)
    framework = "keras1" if version.major == 1 else "keras"
    fitting = [
        row
        for row in layouts(framework)
        if overrides.get("reset") in (None, row.reset) or row.reset is None
        if all(_fits(row, of_direction) for of_direction in both)
    ]
    if not fitting:
        return None
    if len(fitting) > 1:
        raise ConversionError(
            f"the arrays of layer {name!r} fit several layouts, which compute different things",
            expected="one of " + ", ".join(row.title for row in fitting),
            do="save the whole model, or say which: read(path, reset='after')",
            shell="save the whole model, or say which: --reset before or --reset after",
        )
    row = fitting[0]
    gate = overrides.get("gate") or (version.gate if version.gate in row.gate else None)
    functions = {
        key: overrides.get(key) for key in ("activation", "output") if key == "activation" or row.family == "lstm"
    }
    equations = apply.config_of(row, gate=gate, **functions)
    part = RecurrentPart(equations, tuple(apply.read(row, of_direction, equations) for of_direction in both))
    return part, assumed(row, equations, overrides)


def _fits(row: Layout, arrays: Arrays) -> bool:
    names = {name for name, *_ in row.stored()}
    try:
        apply.read(row, arrays)
    except ConversionError:
        return False
    return names >= arrays.keys()


def directions_of(arrays: Arrays) -> tuple[Arrays, ...]:
    """The arrays of each direction of a layer."""
    if not any(name.startswith(DIRECTIONS) for name in arrays):
        return (arrays,)
    return tuple(_below(prefix, arrays) for prefix in DIRECTIONS)


def _after(part: RecurrentPart, chain: ChainState) -> list[Part]:
    features = part.outputs
    expected = chain.shape[-1] if chain.shape else None
    if expected not in (None, part.inputs):
        raise ConversionError(
            f"a layer reads {part.inputs} features, and what it reads has {expected}",
            do=_OTHER_WEIGHTS,
        )
    steps = chain.shape[0] if chain.shape and len(chain.shape) == 2 else None
    chain.shape = (steps, features) if part.returns == "sequence" else (features,)
    chain.mask = chain.mask if part.returns == "sequence" else None
    return [part]


def _padding(config: Config) -> Any:
    return "zeros" if config.get("zero_output_for_mask") else "held"


def _essence(layer: KerasLayer) -> tuple[Any, ...]:
    """The settings that two directions must share."""
    keys = ("units", "reset_after", "return_sequences", "zero_output_for_mask")
    cell = layer.inner("cell")
    return layer.kind, *(layer.config.get(key) for key in keys), cell and _essence(cell)
