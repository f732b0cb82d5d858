"""The layers of a Keras model as parts of a network."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.convert.keras_files import normalization
from gatewright.convert.keras_files.architecture import Layer, Version
from gatewright.convert.keras_files.chain import FAMILIES, Chain, function, unlike
from gatewright.convert.keras_files.recurrence import bidirectional, recurrent
from gatewright.convert.network import (
    Activation,
    Dense,
    Embedding,
    Masking,
    Max,
    Mean,
    Network,
    Part,
    Recurrent,
    Reshape,
)
from gatewright.errors import ConversionError

POOLS: Mapping[str, type[Mean | Max]] = {"GlobalAveragePooling1D": Mean, "GlobalMaxPooling1D": Max}
Arrays = Mapping[str, NDArray[Any]]
NOTHING = (
    "InputLayer", "Dropout", "SpatialDropout1D", "GaussianDropout", "GaussianNoise", "ActivityRegularization"
)  # fmt: skip
"""Layers that give what they read, once training is over."""


def network_of(layers: Sequence[Layer], version: Version, where: str) -> Network:
    """The network that a model computes when it is not being trained.

    Raises ConversionError for a layer that has no counterpart, by its name.
    """
    chain = Chain(version, where)
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


def _embedding(layer: Layer, chain: Chain) -> list[Part]:
    (weight,) = _taken(layer, chain, ("embeddings",), (2,))
    chain.masked = bool(layer.config.get("mask_zero"))
    chain.shape = (*(chain.shape or (None,))[:1], weight.shape[1])
    return [Embedding(weight, chain.masked)]


def _masking(layer: Layer, chain: Chain) -> list[Part]:
    value = layer.config.get("mask_value", 0.0)
    if not isinstance(value, int | float):
        raise unlike(layer, chain, "mask_value", "a number", value)
    chain.masked = True
    return [Masking(float(value))]


def _dense(layer: Layer, chain: Chain) -> list[Part]:
    bias = layer.config.get("use_bias", layer.config.get("bias", True))
    found = _taken(layer, chain, ("kernel", "bias") if bias else ("kernel",), (2, 1))
    weight = np.ascontiguousarray(found[0].T)
    if bias and found[1].shape != weight.shape[:1]:
        raise unlike(layer, chain, "bias", f"shape {weight.shape[:1]}", found[1].shape)
    chain.shape = (*chain.shape[:-1], len(weight)) if chain.shape else None
    return [Dense(weight, found[1] if bias else None, function(layer, chain, "activation"))]


def _distributed(layer: Layer, chain: Chain) -> list[Part]:
    inner = layer.inner
    if inner is None or inner.kind != "Dense":
        raise unlike(layer, chain, "TimeDistributed layer", "Dense", inner and inner.kind)
    return _dense(replace(inner, name=layer.name, arrays=layer.arrays), chain)


def _activation(layer: Layer, chain: Chain) -> list[Part]:
    return [Activation(function(layer, chain, "activation"))]


def _pool(layer: Layer, chain: Chain) -> list[Part]:
    for what, expected in (("data_format", "channels_last"), ("keepdims", False)):
        if (got := layer.config.get(what, expected)) != expected:
            raise unlike(layer, chain, what, str(expected), got)
    part = POOLS[layer.kind]()
    if chain.masked and (isinstance(part, Max) or chain.version.major < 2):
        raise unlike(layer, chain, "mask", "none, which this layer does not heed", "a mask")
    if chain.shape and len(chain.shape) == 1:
        raise unlike(layer, chain, "input", "a sequence", "one row of features")
    chain.masked = False
    chain.shape = chain.shape[-1:] if chain.shape else None
    return [part]


def _flatten(layer: Layer, chain: Chain) -> list[Part]:
    known = chain.shape is not None and None not in chain.shape
    chain.shape = (prod(one for one in chain.shape or () if one is not None) if known else None,)
    _end_of_mask(layer, chain)
    return [Reshape((chain.shape[0] or -1,))]


def _reshape(layer: Layer, chain: Chain) -> list[Part]:
    target = layer.config.get("target_shape")
    if not isinstance(target, Sequence) or not 1 <= len(target) <= 2 or not all(isinstance(one, int) for one in target):
        raise unlike(layer, chain, "target_shape", "one or two numbers", target)
    sizes = tuple(int(one) for one in target)
    if sizes.count(-1) == 1 and chain.shape and None not in chain.shape:
        rest = prod(one for one in chain.shape if one is not None) // max(1, -prod(sizes))
        sizes = tuple(rest if one == -1 else one for one in sizes)
    chain.shape = tuple(None if one < 0 else one for one in sizes)
    _end_of_mask(layer, chain)
    return [Reshape(sizes)]


def _end_of_mask(layer: Layer, chain: Chain) -> None:
    if chain.masked and chain.version.major < 3:
        raise unlike(layer, chain, "mask", "none, which this layer cannot heed", "a mask")
    chain.masked = False


def _declared(layer: Layer) -> tuple[int | None, ...] | None:
    """The shape of one row that a layer says it reads."""
    said = layer.config.get("batch_shape") or layer.config.get("batch_input_shape")
    if not isinstance(said, Sequence) or not all(one is None or isinstance(one, int) for one in said):
        return None
    return tuple(said[1:]) or None


def _taken(layer: Layer, chain: Chain, names: tuple[str, ...], ranks: tuple[int, ...]) -> list[NDArray[Any]]:
    """The arrays of a layer by what they are called from Keras 2 on, or in Keras 1."""
    older = {"W": "embeddings" if "embeddings" in names else "kernel", "b": "bias"}
    arrays = {older.get(name, name): array for name, array in layer.arrays.items()}
    if arrays.keys() != set(names) or any(arrays[n].ndim != r for n, r in zip(names, ranks, strict=False)):
        got = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise unlike(layer, chain, "arrays", ", ".join(names), got or "none")
    return [arrays[name] for name in names]


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


_READERS: Mapping[str, Callable[[Layer, Chain], list[Part]]] = {
    "Embedding": _embedding,
    "Masking": _masking,
    "Dense": _dense,
    "TimeDistributedDense": _dense,
    "TimeDistributed": _distributed,
    "Activation": _activation,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Normalization": normalization.read,
    **dict.fromkeys(POOLS, _pool),
    "Bidirectional": bidirectional,
    **dict.fromkeys(FAMILIES, recurrent),
}
