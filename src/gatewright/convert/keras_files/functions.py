"""Functions of Keras by our names: as a setting of a layer, and as layers of their own."""

from collections.abc import Mapping
from typing import Any

from gatewright.convert.activations import spelled
from gatewright.convert.keras_files.architecture import Config, Layer, Version, layer_of

LAYERS = ("ReLU", "LeakyReLU", "ELU", "ThresholdedReLU", "Softmax")
"""Layers that are one function; those with weights are none."""


def named(said: Any, version: Version, where: str) -> str | None:
    """Our name of a function in the settings of a layer; None where it is of another kind than Keras's own.

    Raises ConversionError where it is a layer that is not Keras's own.
    """
    if isinstance(said, Mapping):  # a layer, or a function, as Keras 3 writes those that it cannot name
        inside = said.get("config")
        layer = layer_of(said, where)
        if layer.kind in LAYERS and isinstance(inside, Mapping):
            return of_layer(layer, 1)
        said = inside if isinstance(inside, str) and layer.kind == "function" else layer.kind
    name = str(said)
    if name == "relu6":
        return _relu(0.0, 0.0, 6.0)
    if name == "leaky_relu":
        return spelled("leaky_relu", 0.2)
    return {"linear": "identity", "hard_sigmoid": version.hard_sigmoid}.get(name, name)


def of_layer(layer: Layer, rank: int) -> str | None:
    """The function that such a layer is, of inputs with so many axes beside that of the batch; None for another one."""
    config = layer.config
    match layer.kind:
        case "ReLU":
            most = config.get("max_value")
            slope, threshold = _number(config, "negative_slope", 0.0), _number(config, "threshold", 0.0)
            return _relu(slope, threshold, float("inf") if most is None else _number(config, "max_value", 0.0))
        case "LeakyReLU":
            return spelled("leaky_relu", _number(config, "negative_slope", _number(config, "alpha", 0.3)))
        case "ELU":
            scale = _number(config, "alpha", 1.0)
            return "elu" if scale == 1.0 else spelled("elu", scale)
        case "ThresholdedReLU":
            return _relu(0.0, _number(config, "theta", 1.0), float("inf"))
        case _:
            return "softmax" if config.get("axis", -1) in (-1, rank) else None


def written(name: str, version: Version) -> tuple[str, dict[str, Any]] | None:
    """The layer that is a function with numbers of its own; None where it is none of these."""
    kind, _, inside = name.partition("(")
    numbers = [float(one) for one in inside.removesuffix(")").split(",")] if inside else []
    match kind, numbers:
        case "leaky_relu", [slope]:
            return "LeakyReLU", {"negative_slope" if version.major >= 3 else "alpha": slope}
        case "elu", [scale]:
            return "ELU", {"alpha": scale}
        case "bounded_relu", [slope, threshold, most]:
            limit = None if most == float("inf") else most
            return "ReLU", {"negative_slope": slope, "threshold": threshold, "max_value": limit}
        case _:
            return None


def _relu(slope: float, threshold: float, most: float) -> str:
    if most == float("inf") and threshold == 0.0:
        return "relu" if slope == 0.0 else spelled("leaky_relu", slope)
    return spelled("bounded_relu", slope, threshold, most)


def _number(config: Config, name: str, default: float) -> float:
    said = config.get(name)
    return default if said is None else float(said)
