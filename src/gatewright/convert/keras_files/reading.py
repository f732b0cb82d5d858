"""The layers of a Keras model as parts of a network."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright import network as net
from gatewright.convert.keras_files import functions, normalization
from gatewright.convert.keras_files.architecture import KerasLayer, KerasVersion
from gatewright.convert.keras_files.chain_state import FAMILIES, ChainState, function, unlike
from gatewright.convert.keras_files.functional import PLAIN, MaskSource
from gatewright.convert.keras_files.recurrence import bidirectional, recurrent
from gatewright.convert.refusals import understood
from gatewright.errors import ConversionError

POOLS: Mapping[str, type[net.Mean | net.Max]] = {"GlobalAveragePooling1D": net.Mean, "GlobalMaxPooling1D": net.Max}
_OPERATIONS = ("GetItem", "SlicingOpLambda")
NOTHING = (
    "InputLayer", "Dropout", "SpatialDropout1D", "GaussianDropout", "GaussianNoise", "ActivityRegularization"
)  # fmt: skip
"""Layers that do nothing in inference."""


def network_of(layers: Sequence[KerasLayer], version: KerasVersion) -> net.Network:
    """The network that a model computes when it is not being trained."""
    chain = ChainState(version)
    parts: list[net.Part] = []
    for layer in layers:
        chain.shape = chain.shape or tuple((input_shape(layer) or ())[1:]) or None
        chain.notes += _precision(layer)
        unclear = f"the settings of layer {layer.name!r} ({layer.kind}) are not understood"
        with understood(unclear, do="save the model with Keras 3 as .keras, or choose other layers with prefix"):
            parts += _read(layer, chain)
    if not any(isinstance(part, net.RecurrentPart) for part in parts):
        raise ConversionError(
            "the model has no recurrent layer", got=", ".join(dict.fromkeys(layer.kind for layer in layers))
        )
    network = net.Network(_folded(parts), notes=tuple(dict.fromkeys(chain.notes)))
    declared = next((shape for layer in layers if (shape := input_shape(layer))), ())[1:]
    if len(declared) > len(network.reads) and not network.symbols:  # parts up to a Reshape do not say what they read
        network = replace(network, row_shape=tuple(declared))
    return network


def _precision(layer: KerasLayer) -> list[str]:
    """A note of a layer that computes in another precision than that of its weights."""
    setting = layer.config.get("dtype")
    inside = setting.get("config") if isinstance(setting, Mapping) else None
    policy = str(inside.get("name") if isinstance(inside, Mapping) else setting)
    if not policy.startswith("mixed"):
        return []
    return [
        f"the model computes in {policy}; its weights are float32, and the conversion computes with them as they are"
    ]


def network_of_some(layers: Sequence[KerasLayer], prefix: str | Sequence[str], version: KerasVersion) -> net.Network:
    """The network of some layers of a model, named in the order of the chain."""
    chosen: list[KerasLayer] = []
    for name in [prefix] if isinstance(prefix, str) else prefix:
        named = [layer for layer in layers if name.rstrip("./") in (layer.name, "/".join(layer.path))]
        if len(named) != 1:
            raise ConversionError(
                f"the model has {'no layer' if not named else 'several layers'} {name!r}",
                expected=", ".join("/".join(layer.path) for layer in layers if layer.kind not in NOTHING),
            )
        chosen.append(replace(named[0], call=PLAIN))
    network = network_of(chosen, version)
    taken = {layer.path for layer in chosen}
    others = ["/".join(layer.path) for layer in layers if layer.path not in taken and layer.kind not in NOTHING]
    left = f"layers were chosen by name, and the others were left out: {', '.join(others)}"
    return replace(network, parts=net.checked(network.parts)).noting(*([left] if others else []))


def _read(layer: KerasLayer, chain: ChainState) -> list[net.Part]:
    reader = _READERS.get(layer.kind)
    if reader is None and layer.kind not in NOTHING:
        called = layer.config.get("function")
        raise ConversionError(
            f"layer {layer.name!r} is a {layer.kind}, which has no counterpart",
            expected=", ".join(sorted({*_READERS, *NOTHING})),
            got=f"the function {called}" if called else None,
            do="save the part of the model before it or after it, or choose layers with prefix",
        )
    call = layer.call
    if call.arguments.get("training"):
        raise ConversionError(
            f"layer {layer.name!r} ({layer.kind}) always computes as it does in training",
            expected="a layer that is called without training=True",
            do="build the model without it, and save that",
        )
    if call.arguments and layer.kind not in _OPERATIONS:
        raise ConversionError(
            f"layer {layer.name!r} reads more than the output of one layer",
            expected="one input, and a state that begins at zero",
            got=", ".join(call.arguments),
        )
    if call.mask is not None and call.mask != chain.mask:
        raise ConversionError(
            f"the mask of layer {layer.name!r} is not the one that its layers make",
            expected=str(chain.mask) if chain.mask else "no mask",
            got=str(call.mask),
        )
    if call.output and reader not in (recurrent, bidirectional):
        raise unlike(layer, chain, "output", "its only one", f"number {call.output}")
    return reader(layer, chain) if reader else []


def _embedding(layer: KerasLayer, chain: ChainState) -> list[net.Part]:
    (weight,) = _taken(layer, chain, ("embeddings",), (2,))
    chain.mask = MaskSource(0, layer.call.source, layer.path[:-1]) if layer.config.get("mask_zero") else None
    chain.shape = (*(chain.shape or (None,))[:1], weight.shape[1])
    return [net.Embedding(weight, chain.masked)]


def _masking(layer: KerasLayer, chain: ChainState) -> list[net.Part]:
    value = layer.config.get("mask_value", 0.0)
    if not isinstance(value, int | float):
        raise unlike(layer, chain, "mask_value", "a number", value)
    chain.mask = MaskSource(value, layer.call.source, layer.path[:-1])
    return [net.Masking(float(value))]


def _dense(layer: KerasLayer, chain: ChainState) -> list[net.Part]:
    bias = layer.config.get("use_bias", layer.config.get("bias", True))
    arrays = _taken(layer, chain, ("kernel", "bias") if bias else ("kernel",), (2, 1))
    weight = np.ascontiguousarray(arrays[0].T)
    if bias and arrays[1].shape != weight.shape[:1]:
        raise unlike(layer, chain, "bias", f"shape {weight.shape[:1]}", arrays[1].shape)
    chain.shape = (*chain.shape[:-1], len(weight)) if chain.shape else None
    return [net.Dense(weight, arrays[1] if bias else None, function(layer, chain, "activation"))]


def _distributed(layer: KerasLayer, chain: ChainState) -> list[net.Part]:
    inner = layer.inner()
    if inner is None or inner.kind != "Dense":
        raise unlike(layer, chain, "TimeDistributed layer", "Dense", inner and inner.kind)
    return _dense(replace(inner, name=layer.name, arrays=layer.arrays), chain)


def _function(layer: KerasLayer, chain: ChainState) -> list[net.Part]:
    name = functions.of_layer(layer, len(chain.shape) if chain.shape else 0)
    if name is None:
        raise unlike(layer, chain, "axis", "the last one, that of the features", layer.config.get("axis"))
    if name == "softmax" and chain.masked:
        raise unlike(layer, chain, "mask", "none, which this layer would take for one of features", "a mask")
    return [net.Activation(name)]


def _step(layer: KerasLayer, chain: ChainState) -> list[net.Part]:
    """`x[:, index]`, an operation in Keras 3, and a layer for it in Keras 2."""
    key = layer.call.arguments.get("1", layer.call.arguments.get("slice_spec"))
    items = [_item(item) for item in key] if isinstance(key, list) else []
    match items:
        case [":", int(index)] | [":", int(index), ":"] | ["...", int(index), ":"] if (
            chain.shape and len(chain.shape) == 2
        ):
            chain.mask, chain.shape = None, chain.shape[1:]
            return [net.TakeStep(index)]
        case _:
            shown = ", ".join(map(str, items)) or key
            raise unlike(layer, chain, "index", "one step of a sequence, as in x[:, -1]", f"x[{shown}]")


def _item(setting: Any) -> int | str:
    """One item of an index: a number, or `:` and `...` as they are written."""
    if type(setting) is int:
        return setting
    if isinstance(setting, Mapping) and setting.get("class_name") == "__ellipsis__":
        return "..."
    inside = setting.get("config", setting) if isinstance(setting, Mapping) else {"start": setting}
    ends = [inside.get(end) for end in ("start", "stop", "step")]
    return ":" if ends == [None] * 3 else ":".join("" if end is None else str(end) for end in ends)


def _pool(layer: KerasLayer, chain: ChainState) -> list[net.Part]:
    for what, expected in (("data_format", "channels_last"), ("keepdims", False)):
        if (got := layer.config.get(what, expected)) != expected:
            raise unlike(layer, chain, what, str(expected), got)
    part = POOLS[layer.kind]()
    if chain.masked and (isinstance(part, net.Max) or chain.version.major < 2):
        raise unlike(layer, chain, "mask", "none, which this layer does not heed", "a mask")
    if chain.shape and len(chain.shape) == 1:
        raise unlike(layer, chain, "input", "a sequence", "one row of features")
    chain.mask = None
    chain.shape = chain.shape[-1:] if chain.shape else None
    return [part]


def _flatten(layer: KerasLayer, chain: ChainState) -> list[net.Part]:
    known = chain.shape is not None and None not in chain.shape
    chain.shape = (prod(size for size in chain.shape or () if size is not None) if known else None,)
    _end_of_mask(layer, chain)
    return [net.Reshape((chain.shape[0] or -1,))]


def _reshape(layer: KerasLayer, chain: ChainState) -> list[net.Part]:
    target = layer.config.get("target_shape")
    if (
        not isinstance(target, Sequence)
        or not 1 <= len(target) <= 2
        or not all(isinstance(size, int) for size in target)
    ):
        raise unlike(layer, chain, "target_shape", "one or two numbers", target)
    sizes = tuple(int(size) for size in target)
    if sizes.count(-1) == 1 and chain.shape and None not in chain.shape:
        remaining = prod(size for size in chain.shape if size is not None) // max(1, -prod(sizes))
        sizes = tuple(remaining if size == -1 else size for size in sizes)
    chain.shape = tuple(None if size < 0 else size for size in sizes)
    _end_of_mask(layer, chain)
    return [net.Reshape(sizes)]


def _end_of_mask(layer: KerasLayer, chain: ChainState) -> None:
    if chain.masked and chain.version.major < 3:
        raise unlike(layer, chain, "mask", "none, which this layer cannot heed", "a mask")
    chain.mask = None


def input_shape(layer: KerasLayer) -> Sequence[int | None] | None:
    """The shape that a layer says it reads, with the rows of a batch first; None where it says nothing."""
    declared = layer.config.get("batch_shape") or layer.config.get("batch_input_shape")
    if isinstance(declared, Sequence) and all(size is None or isinstance(size, int) for size in declared):
        return declared or None
    return None


def _taken(layer: KerasLayer, chain: ChainState, names: tuple[str, ...], ranks: tuple[int, ...]) -> list[NDArray[Any]]:
    """The arrays of a layer, by the names of Keras 2 and later, or those of Keras 1."""
    older = {"W": "embeddings" if "embeddings" in names else "kernel", "b": "bias"}
    arrays = {older.get(name, name): array for name, array in layer.arrays.items()}
    if arrays.keys() != set(names) or any(arrays[n].ndim != r for n, r in zip(names, ranks, strict=False)):
        got = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise unlike(layer, chain, "arrays", ", ".join(names), got or "none")
    return [arrays[name] for name in names]


def _folded(parts: Sequence[net.Part]) -> tuple[net.Part, ...]:
    """A dense layer without an activation takes that of the layer after it."""
    folded: list[net.Part] = []
    for part in parts:
        before = folded[-1] if folded else None
        if isinstance(part, net.Activation) and isinstance(before, net.Dense) and before.activation == "identity":
            folded[-1] = replace(before, activation=part.function)
        else:
            folded.append(part)
    return tuple(folded)


_READERS: Mapping[str, Callable[[KerasLayer, ChainState], list[net.Part]]] = {
    "Embedding": _embedding,
    "Masking": _masking,
    "Dense": _dense,
    "TimeDistributedDense": _dense,
    "TimeDistributed": _distributed,
    "Activation": lambda layer, chain: [net.Activation(function(layer, chain, "activation"))],
    **dict.fromkeys(functions.LAYERS, _function),
    **dict.fromkeys(_OPERATIONS, _step),
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Normalization": normalization.read,
    "BatchNormalization": normalization.batch,
    "LayerNormalization": normalization.by_layer,
    **dict.fromkeys(POOLS, _pool),
    "Bidirectional": bidirectional,
    **dict.fromkeys((*FAMILIES, "RNN"), recurrent),
}
