"""Functions of Keras by our names: as a setting of a layer, and as layers of their own."""

from collections.abc import Mapping
from typing import Any

from gatewright.cell_config.activations import spelled
from gatewright.convert.keras_files.architecture import Config, KerasLayer, KerasVersion, layer_of
from gatewright.errors import ConversionError

INF = float("inf")
NAMES = ("elu", "gelu", "log_softmax", "relu", "sigmoid", "softmax", "softplus", "softsign", "tanh")
"""Functions that Keras calls as we do."""
_NEW = ("log_softmax",)  # in Keras 3
LAYERS = ("ReLU", "LeakyReLU", "ELU", "ThresholdedReLU", "Softmax")
"""Layers that are one function; those with weights are none."""


def named(setting: Any, version: KerasVersion) -> str | None:
    """Our name of a function in the settings of a layer; None where it is of another kind than Keras's own."""
    if isinstance(setting, Mapping):  # a layer, or a function, as Keras 3 writes those that it cannot name
        inside = setting.get("config")
        layer = layer_of(setting)
        if layer.kind in LAYERS and isinstance(inside, Mapping):
            return of_layer(layer, 1)
        setting = inside if isinstance(inside, str) and layer.kind == "function" else layer.kind
    name = str(setting)
    if name == "relu6":
        return spelled("clip", 0.0, 6.0)
    if name == "leaky_relu":
        return spelled("leaky_relu", 0.2)
    return {"linear": "identity", "hard_sigmoid": version.hard_sigmoid}.get(name, name)


def of_layer(layer: KerasLayer, rank: int) -> str | None:
    """The function of such a layer, for inputs of `rank` axes beside the batch; None where it is along another axis."""
    config = layer.config
    match layer.kind:
        case "ReLU":
            most = config.get("max_value")
            slope, threshold = _number(config, "negative_slope", 0.0), _number(config, "threshold", 0.0)
            return _relu(slope, threshold, INF if most is None else _number(config, "max_value", 0.0))
        case "LeakyReLU":
            return spelled("leaky_relu", _number(config, "negative_slope", _number(config, "alpha", 0.3)))
        case "ELU":
            scale = _number(config, "alpha", 1.0)
            return "elu" if scale == 1.0 else spelled("elu", scale)
        case "ThresholdedReLU":
            return spelled("thresholded_relu", _number(config, "theta", 1.0))
        case _:
            return "softmax" if config.get("axis", -1) in (-1, rank) else None


def name_of(name: str, version: KerasVersion) -> str:
    """The name that Keras has for a function."""
    if name.startswith("hard_sigmoid") and name != version.hard_sigmoid:
        slopes = {"hard_sigmoid_theano": "x/5", "hard_sigmoid_keras3": "x/6"}
        raise ConversionError(
            f"the hard_sigmoid of Keras {version.major} is another one",
            expected=f"max(0, min(1, {slopes[version.hard_sigmoid]} + 1/2))",
            got=f"max(0, min(1, {slopes[name]} + 1/2))" if name in slopes else name,
            do="write .h5 for that of Keras 2, .keras for that of Keras 3; gates are converted",
        )
    theirs = {"identity": "linear", version.hard_sigmoid: "hard_sigmoid"} | {same: same for same in NAMES}
    if name not in theirs or (name in _NEW and version.major < 3):
        raise ConversionError(
            f"Keras {version.major} has no function {name!r}",
            expected=", ".join(name for name in theirs if name not in _NEW or version.major >= 3),
        )
    return theirs[name]


def written(name: str, version: KerasVersion) -> tuple[str, dict[str, Any]] | None:
    """The layer for a function with numbers, and its settings; None for any other function."""
    kind, _, inside = name.partition("(")
    numbers = [float(number) for number in inside.removesuffix(")").split(",")] if inside else []
    match kind, numbers:
        case "leaky_relu", [slope]:
            return "LeakyReLU", {"negative_slope" if version.major >= 3 else "alpha": slope}
        case "elu", [scale]:
            return "ELU", {"alpha": scale}
        case "bounded_relu", [slope, threshold, most]:
            return "ReLU", {"negative_slope": slope, "threshold": threshold, "max_value": most if most < INF else None}
        case "thresholded_relu", [threshold] if threshold >= 0:
            return "ReLU", {"negative_slope": 0.0, "threshold": threshold, "max_value": None}
        case "clip", [0.0, most] if 0 <= most < INF:
            return "ReLU", {"negative_slope": 0.0, "threshold": 0.0, "max_value": most}
        case _:
            return None


def _relu(slope: float, threshold: float, most: float) -> str:
    if threshold == 0.0 and (slope == 0.0 or most == INF):
        return spelled("clip", 0.0, most) if most < INF else spelled("leaky_relu", slope) if slope else "relu"
    if slope == 0.0 and most == INF:
        return spelled("thresholded_relu", threshold)
    return spelled("bounded_relu", slope, threshold, most)


def _number(config: Config, name: str, default: float) -> float:
    setting = config.get(name)
    return default if setting is None else float(setting)
