"""The parts around recurrent layers in Gatewright's own model files: as a recipe names them, or as a list has them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import ConversionError
from gatewright.model_file import ENCODERS
from gatewright.network import (
    Activation,
    AddInput,
    BatchNorm,
    Dense,
    Embedding,
    LayerNorm,
    Masking,
    Max,
    Mean,
    OneHot,
    Part,
    RecurrentPart,
    Reshape,
    Reverse,
    Scale,
    TakeStep,
    checked,
)
from gatewright.network.functions import known

Arrays = Mapping[str, NDArray[Any]]
Said = Mapping[str, Any]
KINDS: Mapping[str, type[Part]] = {
    kind.kind: kind
    for kind in (
        Activation,
        AddInput,
        BatchNorm,
        Dense,
        Embedding,
        LayerNorm,
        Masking,
        Max,
        Mean,
        OneHot,
        Reshape,
        Reverse,
        Scale,
        TakeStep,
    )
}
_RANKS = {"weight": 2, "bias": 1, "mean": 1, "deviation": 1, "variance": 1, "gain": 1}  # of the arrays of parts
_NUMBER = (int, float)
_VALID: Mapping[str, Callable[[Any], bool]] = {
    "masks_zero": lambda said: isinstance(said, bool),
    "symbols": lambda said: type(said) is int and said > 0,
    "index": lambda said: type(said) is int,
    "features": lambda said: type(said) is int and said > 0,
    "epsilon": lambda said: isinstance(said, _NUMBER) and said >= 0,
    "value": lambda said: isinstance(said, _NUMBER),
    "activation": lambda said: isinstance(said, str) and known(said),
    "function": lambda said: isinstance(said, str) and known(said),
    "shape": lambda said: isinstance(said, list) and _is_shape(said),  # pyright: ignore[reportUnknownArgumentType]
}
"""What settings may be, by the name of the part's field."""
_POOLS = {"mean": Mean, "max": Max}


def described(part: Part, prefix: str) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """A part that is no recurrent layer as settings and as tensors, whose names begin with the prefix."""
    said: dict[str, Any] = {"part": part.kind}
    tensors: dict[str, NDArray[Any]] = {}
    for field in fields(part):
        value = getattr(part, field.name)
        if isinstance(value, np.ndarray):
            tensors[f"{prefix}.{field.name}"] = value
        elif value is not None:
            said[field.name] = list(value) if isinstance(value, tuple) else value  # pyright: ignore[reportUnknownArgumentType]
    return said, tensors


def read(said: Said, prefix: str, tensors: Arrays) -> Part:
    """The part that was described so.

    Raises ConversionError where it is none.
    """
    kind = KINDS.get(str(said.get("part")))
    if kind is None:
        raise ConversionError(
            f"{prefix} is no part of a network", expected=", ".join((*KINDS, "Recurrent")), got=str(said.get("part"))
        )
    found: dict[str, Any] = {}
    for field in fields(kind):
        if field.name in _RANKS and f"{prefix}.{field.name}" in tensors:
            found[field.name] = _array(f"{prefix}.{field.name}", tensors)
        elif field.name in said and field.name in _VALID:
            if not _VALID[field.name](said[field.name]):
                raise ConversionError(f"{prefix}: {field.name} of a {kind.kind} cannot be {said[field.name]!r}")
            value = said[field.name]
            found[field.name] = tuple(value) if isinstance(value, list) else value
    try:
        return kind(**found)
    except TypeError as error:
        raise ConversionError(f"{prefix} is a {kind.kind} that lacks something: {error}") from error


def of_recipe(settings: Said, layers: Sequence[RecurrentPart], tensors: Arrays) -> tuple[tuple[Part, ...], set[str]]:
    """All parts of a recipe's network, and the tensors that those around its layers are made of.

    Raises ConversionError where the settings and tensors make no such network.
    """
    encoding, pooling = settings["encoding"], settings["pooling"]
    if not isinstance(encoding, str) or encoding not in ENCODERS or pooling not in ("each step", "last", *_POOLS):
        raise ConversionError("the model says of itself what this version does not know", got=f"{encoding}, {pooling}")
    used = [*(f"encode.{one}" for one in ENCODERS[encoding]), "output.weight", "output.bias"]
    *encoder, weight, bias = (_array(name, tensors) for name in used)
    if "unscaled.deviation" in tensors:  # numbers in the units of their targets
        used += ["unscaled.mean", "unscaled.deviation"]
        mean, deviation = (_array(name, tensors) for name in used[-2:])
        weight, bias = weight * deviation[:, np.newaxis], bias * deviation + mean
    before = _encoder(encoding, encoder, settings)
    after: list[Part] = [_POOLS[pooling]()] if pooling in _POOLS else []
    last = layers[-1]
    if pooling == "last":
        last = replace(last, returns="last")
    parts = (*before, *layers[:-1], last, *after, Dense(weight, bias))
    return checked(parts), set(used)


def _encoder(encoding: str, arrays: Sequence[NDArray[Any]], settings: Said) -> list[Part]:
    match encoding:
        case "embedding":
            return [Embedding(arrays[0])]
        case "standardised":
            return [Scale(arrays[0], arrays[1])]
        case "embedding-sum":
            raise ConversionError(
                "the model reads several symbols a step, and no framework's file holds a sum of embeddings as a part",
                do="export the whole model as ONNX: gatewright export MODEL FILE.onnx",
            )
        case "one-hot":
            if not _VALID["symbols"](settings.get("inputs")):
                raise ConversionError("the model does not say how many symbols it knows")
            return [OneHot(settings["inputs"])]
        case _:
            return []


def _is_shape(said: list[Any]) -> bool:
    sizes = all(type(one) is int and (one > 0 or one == -1) for one in said)
    return sizes and 1 <= len(said) <= 2 and said.count(-1) <= 1


def _array(name: str, tensors: Arrays) -> NDArray[Any]:
    """A tensor of floating-point numbers of the rank that its name asks for."""
    array, rank = tensors.get(name), _RANKS[name.rpartition(".")[2]]
    if array is None or array.ndim != rank or array.dtype.kind != "f" or not array.size:
        raise ConversionError(
            f"tensor {name!r} does not fit",
            expected=f"{rank} axes of floating-point numbers",
            got="no such tensor" if array is None else f"shape {array.shape} of {array.dtype}",
        )
    return array
