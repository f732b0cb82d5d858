"""The layers of a Keras model as parts of a network."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.convert import apply
from gatewright.convert.equations import Equations
from gatewright.convert.keras.architecture import Config, Layer, Version
from gatewright.convert.layouts import BY_KEY, Layout, layouts
from gatewright.convert.network import (
    Activation,
    Dense,
    Embedding,
    Masking,
    Network,
    Parameters,
    Part,
    Recurrent,
    Reshape,
    Reverse,
)
from gatewright.convert.run import FUNCTIONS
from gatewright.errors import ConversionError

Arrays = Mapping[str, NDArray[Any]]
FAMILIES = {"SimpleRNN": "rnn", "GRU": "gru", "LSTM": "lstm", "CuDNNGRU": "gru", "CuDNNLSTM": "lstm"}
DIRECTIONS = ("forward/", "backward/")
NOTHING = (
    "InputLayer", "Dropout", "SpatialDropout1D", "GaussianDropout", "GaussianNoise", "ActivityRegularization"
)  # fmt: skip
"""Layers that give what they read, once training is over."""


@dataclass
class _Chain:
    """What is known of the values between two layers while a model is read from its input to its output."""

    version: Version
    where: str
    shape: tuple[int | None, ...] | None = None  # of one row of the batch
    masked: bool = False
    notes: list[str] = field(default_factory=list[str])


def network_of(layers: Sequence[Layer], version: Version, where: str) -> Network:
    """The network that a model computes when it is not being trained.

    Raises ConversionError for a layer that has no counterpart, by its name.
    """
    chain = _Chain(version, where)
    parts: list[Part] = []
    for layer in layers:
        chain.shape = _declared(layer) or chain.shape
        if layer.kind in NOTHING:
            continue
        reader = _READERS.get(layer.kind)
        if reader is None:
            raise ConversionError(
                f"{where}: layer {layer.name!r} is a {layer.kind}, which has no counterpart",
                expected=", ".join(sorted({*_READERS, *NOTHING})),
                do="save the part of the model before it or after it",
            )
        parts += reader(layer, chain)
    if not any(isinstance(part, Recurrent) for part in parts):
        raise ConversionError(f"{where} has no recurrent layer", got=", ".join(layer.kind for layer in layers))
    return Network(_folded(parts), notes=tuple(dict.fromkeys(chain.notes)))


def directions_of(arrays: Arrays) -> tuple[Arrays, ...]:
    """The arrays of each direction of a layer."""
    if not any(name.startswith(DIRECTIONS) for name in arrays):
        return (arrays,)
    return tuple(
        {name.removeprefix(prefix): one for name, one in arrays.items() if name.startswith(prefix)}
        for prefix in DIRECTIONS
    )


def guessed(arrays: Arrays, name: str, version: Version, facts: Mapping[str, Any]) -> Recurrent | None:
    """A recurrent layer by its arrays alone, or None where it is another layer.

    Raises ConversionError where they can be understood in two ways.
    """
    both = directions_of(arrays)
    framework = "keras1" if version.major == 1 else "keras"
    fitting = [
        row
        for row in layouts(framework)
        if facts.get("reset") in (None, row.reset) or row.reset is None
        if all(_fits(row, one) for one in both)
    ]
    if not fitting:
        return None
    if len(fitting) > 1:
        raise ConversionError(
            f"the arrays of layer {name!r} fit several layouts, which compute different things",
            expected="one of " + ", ".join(row.title for row in fitting),
            do="save the whole model, or say which: read(path, reset='after')",
        )
    row = fitting[0]
    default = version.gate if version.gate in row.gate else None
    said = {key: facts.get(key) for key in ("activation", "output") if key == "activation" or row.family == "lstm"}
    equations = apply.equations_of(row, gate=facts.get("gate") or default, **said)
    return Recurrent(equations, tuple(apply.read(row, one, equations) for one in both))


def _fits(row: Layout, arrays: Arrays) -> bool:
    names = {name for name, *_ in row.stored()}
    try:
        apply.read(row, arrays)
    except ConversionError:
        return False
    return names >= arrays.keys()


def _embedding(layer: Layer, chain: _Chain) -> list[Part]:
    (weight,) = _taken(layer, chain, ("embeddings",), (2,))
    chain.masked = bool(layer.config.get("mask_zero"))
    chain.shape = (*(chain.shape or (None,))[:1], weight.shape[1])
    return [Embedding(weight, chain.masked)]


def _masking(layer: Layer, chain: _Chain) -> list[Part]:
    value = layer.config.get("mask_value", 0.0)
    if not isinstance(value, int | float):
        raise _unlike(layer, chain, "mask_value", "a number", value)
    chain.masked = True
    return [Masking(float(value))]


def _dense(layer: Layer, chain: _Chain) -> list[Part]:
    bias = layer.config.get("use_bias", layer.config.get("bias", True))
    found = _taken(layer, chain, ("kernel", "bias") if bias else ("kernel",), (2, 1))
    weight = np.ascontiguousarray(found[0].T)
    if bias and found[1].shape != weight.shape[:1]:
        raise _unlike(layer, chain, "bias", f"shape {weight.shape[:1]}", found[1].shape)
    chain.shape = (*chain.shape[:-1], len(weight)) if chain.shape else None
    return [Dense(weight, found[1] if bias else None, _function(layer, chain, "activation"))]


def _distributed(layer: Layer, chain: _Chain) -> list[Part]:
    inner = layer.inner
    if inner is None or inner.kind != "Dense":
        raise _unlike(layer, chain, "TimeDistributed layer", "Dense", inner and inner.kind)
    return _dense(replace(inner, name=layer.name, arrays=layer.arrays), chain)


def _activation(layer: Layer, chain: _Chain) -> list[Part]:
    return [Activation(_function(layer, chain, "activation"))]


def _flatten(layer: Layer, chain: _Chain) -> list[Part]:
    known = chain.shape is not None and None not in chain.shape
    chain.shape = (prod(one for one in chain.shape or () if one is not None) if known else None,)
    _end_of_mask(layer, chain)
    return [Reshape((chain.shape[0] or -1,))]


def _reshape(layer: Layer, chain: _Chain) -> list[Part]:
    target = layer.config.get("target_shape")
    if not isinstance(target, Sequence) or not 1 <= len(target) <= 2 or not all(isinstance(one, int) for one in target):
        raise _unlike(layer, chain, "target_shape", "one or two numbers", target)
    sizes = tuple(int(one) for one in target)
    if sizes.count(-1) == 1 and chain.shape and None not in chain.shape:
        rest = prod(one for one in chain.shape if one is not None) // max(1, -prod(sizes))
        sizes = tuple(rest if one == -1 else one for one in sizes)
    chain.shape = tuple(None if one < 0 else one for one in sizes)
    _end_of_mask(layer, chain)
    return [Reshape(sizes)]


def _recurrent(layer: Layer, chain: _Chain) -> list[Part]:
    made = _one_direction(layer, layer.arrays, chain)
    backwards = bool(layer.config.get("go_backwards"))
    made = replace(made, backwards=backwards, padding=_padding(layer.config))
    if made.returns == "last":
        return _after(made, chain)
    if backwards and chain.masked:
        raise _unlike(layer, chain, "mask", "none, since the outputs are turned round and their mask is not", "a mask")
    return [*_after(made, chain), *([Reverse()] if backwards else [])]


def _bidirectional(layer: Layer, chain: _Chain) -> list[Part]:
    inner = layer.inner
    if inner is None or inner.kind not in FAMILIES:
        raise _unlike(layer, chain, "Bidirectional layer", ", ".join(FAMILIES), inner and inner.kind)
    if layer.config.get("merge_mode") != "concat":
        raise _unlike(
            layer, chain, "merge_mode", "'concat': another one mixes the directions", layer.config.get("merge_mode")
        )
    if inner.config.get("go_backwards"):
        raise _unlike(layer, chain, "first direction", "one that goes forwards", "go_backwards")
    other = layer.config.get("backward_layer")
    if isinstance(other, Mapping) and _essence(other.get("config") or {}) != _essence(inner.config):
        raise _unlike(layer, chain, "backward_layer", "the settings of the forward one", "others")
    both = directions_of(layer.arrays)
    if len(both) != 2:
        raise _unlike(layer, chain, "arrays", "those of two directions", ", ".join(layer.arrays) or "none")
    one, two = (_one_direction(inner, arrays, chain) for arrays in both)
    padding = "zeros" if chain.version.zeroes_both else _padding(inner.config)
    return _after(replace(one, directions=(*one.directions, *two.directions), padding=padding), chain)


def _one_direction(layer: Layer, arrays: Arrays, chain: _Chain) -> Recurrent:
    config = layer.config
    if config.get("time_major"):
        raise _unlike(layer, chain, "time_major", "false", True)
    if config.get("stateful"):
        chain.notes.append(f"layer {layer.name!r} is stateful: here its state begins at zero at each call")
    row = BY_KEY[_row(layer, arrays, chain.version)]
    equations = _equations(layer, row, chain)
    parameters = apply.read(row, arrays, equations)
    more = arrays.keys() - {name for name, *_ in row.stored()}
    units = config.get("units", config.get("output_dim"))
    made = Recurrent(equations, (parameters,), returns="sequence" if config.get("return_sequences") else "last")
    if more or units not in (None, made.hidden):
        got = f"{made.hidden} units" + (f", and {', '.join(sorted(more))}" if more else "")
        raise _unlike(layer, chain, "arrays", f"those of {units} units in {row.title}", got)
    return made


def _row(layer: Layer, arrays: Arrays, version: Version) -> str:
    """The row of the table that a layer's class and settings name."""
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


def _equations(layer: Layer, row: Layout, chain: _Chain) -> Equations:
    if layer.kind.startswith("CuDNN"):
        return row.equations
    activation = _function(layer, chain, "activation", "tanh")
    output = activation if row.family == "lstm" else None
    if row.family == "rnn":
        return apply.equations_of(row, activation=activation)
    which = "inner_activation" if chain.version.major == 1 else "recurrent_activation"
    gate = _function(layer, chain, which, chain.version.gate)
    return apply.equations_of(row, gate=gate, activation=activation, output=output)


def _function(layer: Layer, chain: _Chain, which: str, default: str = "identity") -> str:
    """A function by its name in the settings."""
    said = layer.config.get(which)
    if isinstance(said, Mapping):  # as Keras 3 writes functions in some versions
        said = said.get("config") if isinstance(said.get("config"), str) else said.get("class_name")
    if said is None:
        return default
    if said == "hard_sigmoid" and chain.version.major < 3:
        chain.notes.append(
            "hard_sigmoid is that of Keras 1 and 2, max(0, min(1, x/5 + 1/2)); Keras 3 would open the file with x/6"
        )
    name = {"linear": "identity", "hard_sigmoid": chain.version.hard_sigmoid}.get(str(said), str(said))
    if name not in FUNCTIONS or (name == "softmax" and layer.kind in FAMILIES):
        raise _unlike(layer, chain, which, "linear, hard_sigmoid, relu, sigmoid, softmax, softplus or tanh", said)
    return name


def _after(made: Recurrent, chain: _Chain) -> list[Part]:
    features = made.hidden * len(made.directions)
    expected = chain.shape[-1] if chain.shape else None
    if expected not in (None, made.inputs):
        raise ConversionError(
            f"{chain.where}: a layer reads {made.inputs} features, and what it reads has {expected}",
            do="the file is damaged, or its weights are those of another model",
        )
    steps = chain.shape[0] if chain.shape and len(chain.shape) == 2 else None
    chain.shape = (steps, features) if made.returns == "sequence" else (features,)
    chain.masked = chain.masked and made.returns == "sequence"
    return [made]


def _end_of_mask(layer: Layer, chain: _Chain) -> None:
    if chain.masked and chain.version.major < 3:
        raise _unlike(layer, chain, "mask", "none, which this layer cannot heed", "a mask")
    chain.masked = False


def _padding(config: Config) -> Any:
    return "zeros" if config.get("zero_output_for_mask") else "held"


def _essence(config: Config) -> dict[str, Any]:
    """The settings that two directions must share."""
    keys = ("units", "activation", "recurrent_activation", "reset_after", "return_sequences", "use_bias")
    return {key: config.get(key) for key in keys}


def _declared(layer: Layer) -> tuple[int | None, ...] | None:
    """The shape of one row that a layer says it reads."""
    said = layer.config.get("batch_shape") or layer.config.get("batch_input_shape")
    if not isinstance(said, Sequence) or not all(one is None or isinstance(one, int) for one in said):
        return None
    return tuple(said[1:]) or None


def _taken(layer: Layer, chain: _Chain, names: tuple[str, ...], ranks: tuple[int, ...]) -> list[NDArray[Any]]:
    """The arrays of a layer by what they are called from Keras 2 on, or in Keras 1."""
    older = {"W": "embeddings" if "embeddings" in names else "kernel", "b": "bias"}
    arrays = {older.get(name, name): array for name, array in layer.arrays.items()}
    if arrays.keys() != set(names) or any(arrays[n].ndim != r for n, r in zip(names, ranks, strict=False)):
        got = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise _unlike(layer, chain, "arrays", ", ".join(names), got or "none")
    return [arrays[name] for name in names]


def _unlike(layer: Layer, chain: _Chain, what: str, expected: str, got: Any) -> ConversionError:
    return ConversionError(
        f"{chain.where}: the {what} of layer {layer.name!r} ({layer.kind}) has no counterpart",
        expected=expected,
        got=str(got),
    )


def _folded(parts: Sequence[Part]) -> tuple[Part, ...]:
    """A dense layer without an activation takes that of the layer behind it."""
    found: list[Part] = []
    for part in parts:
        before = found[-1] if found else None
        if isinstance(part, Activation) and isinstance(before, Dense) and before.activation == "identity":
            found[-1] = replace(before, activation=part.function)
        else:
            found.append(part)
    return tuple(found)


def parameters_of(network: Network) -> list[Parameters]:
    """Those of all directions."""
    return [one for layer in network.recurrent for one in layer.directions]


_READERS: Mapping[str, Callable[[Layer, _Chain], list[Part]]] = {
    "Embedding": _embedding,
    "Masking": _masking,
    "Dense": _dense,
    "TimeDistributedDense": _dense,
    "TimeDistributed": _distributed,
    "Activation": _activation,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Bidirectional": _bidirectional,
    **dict.fromkeys(FAMILIES, _recurrent),
}
