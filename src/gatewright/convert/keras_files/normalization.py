"""Layers of Keras that normalise features.

Keras keeps variances where we have deviations. In binary floating point the root of a square is the number itself, to
the bit, so both ways are exact.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.convert.keras_files.architecture import KerasLayer
from gatewright.convert.keras_files.chain_state import ChainState, unlike
from gatewright.errors import ConversionError
from gatewright.network import BatchNorm, LayerNorm, Part, Scale

LEAST = 1e-7  # no deviation is smaller in Keras


def read(layer: KerasLayer, chain: ChainState) -> list[Part]:
    """Normalization, with mean and variance from its settings or from its arrays."""
    _check_axis(layer, chain)
    if layer.config.get("invert"):
        raise unlike(layer, chain, "invert", "false", True)
    if chain.masked:
        raise unlike(layer, chain, "mask", "none before it", "a mask")
    dtype = np.float64 if "float64" in str(layer.config.get("dtype")) else np.float32
    mean, variance = (_numbers(layer, chain, name).astype(dtype) for name in ("mean", "variance"))
    if (
        mean.shape != variance.shape
        or (chain.shape and chain.shape[-1] not in (None, len(mean)))
        or (variance < 0).any()
    ):
        raise unlike(
            layer, chain, "mean and variance", "one number for each feature", f"{mean.shape} and {variance.shape}"
        )
    return [Scale(mean, np.maximum(np.sqrt(variance), np.asarray(LEAST, dtype)))]


def batch(layer: KerasLayer, chain: ChainState) -> list[Part]:
    """BatchNormalization in inference, with the statistics of training."""
    if chain.version.major < 2:
        raise unlike(layer, chain, "statistics", "those of Keras 2 or 3", "those of Keras 1")
    for setting in ("renorm", "virtual_batch_size", "adjustment"):
        if layer.config.get(setting):
            raise unlike(layer, chain, setting, "none", layer.config[setting])
    mean, variance, gain, bias = _arrays(layer, chain, ("moving_mean", "moving_variance"))
    if mean is None or variance is None or (variance < 0).any():
        raise unlike(layer, chain, "moving_variance", "numbers that are not negative", "others")
    return [BatchNorm(mean, variance, float(layer.config.get("epsilon", 1e-3)), gain, bias)]


def by_layer(layer: KerasLayer, chain: ChainState) -> list[Part]:
    """LayerNormalization of the features of each step."""
    if layer.config.get("rms_scaling"):
        raise unlike(layer, chain, "rms_scaling", "false", True)
    gain, bias = _arrays(layer, chain, ())
    return [LayerNorm(float(layer.config.get("epsilon", 1e-3)), gain, bias)]


def _arrays(layer: KerasLayer, chain: ChainState, needed: tuple[str, ...]) -> list[NDArray[Any] | None]:
    """The arrays that are needed, then gain and bias where the settings have them."""
    _check_axis(layer, chain)
    had = [name for name, setting in (("gamma", "scale"), ("beta", "center")) if layer.config.get(setting, True)]
    names = [*had, *needed]
    width = chain.shape[-1] if chain.shape else None
    shapes = {layer.arrays[name].shape for name in names if name in layer.arrays}
    if {*layer.arrays} != {*names} or len(shapes) > 1 or any(len(shape) != 1 for shape in shapes):
        got = ", ".join(f"{name} {array.shape}" for name, array in layer.arrays.items())
        raise unlike(layer, chain, "arrays", f"{', '.join(names)}, of one shape", got or "none")
    if width is not None and shapes not in (set(), {(width,)}):
        raise unlike(layer, chain, "arrays", f"{width} features", shapes)
    return [layer.arrays.get(name) for name in (*needed, "gamma", "beta")]


def _check_axis(layer: KerasLayer, chain: ChainState) -> None:
    axis = layer.config.get("axis", -1)
    along = list(axis) if isinstance(axis, Sequence) else [axis]
    if along != [-1] and not (chain.shape and along == [len(chain.shape)]):
        raise unlike(layer, chain, "axis", "the last one, that of the features", axis)


def written_with(part: LayerNorm | BatchNorm) -> tuple[str, dict[str, Any], dict[str, NDArray[Any]]]:
    """The class, settings and arrays of the layer that normalises so."""
    kind, arrays = "LayerNormalization", {"gamma": part.gain, "beta": part.bias}
    if isinstance(part, BatchNorm):
        kind = "BatchNormalization"
        arrays |= {"moving_mean": part.mean, "moving_variance": part.variance}
    config = {"axis": -1, "epsilon": part.epsilon, "scale": part.gain is not None, "center": part.bias is not None}
    return kind, config, {name: array for name, array in arrays.items() if array is not None}


def written(part: Scale, *, bare: bool) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The settings of the layer, and its arrays where settings are not kept."""
    variance = part.deviation * part.deviation
    if not ((np.sqrt(variance) == part.deviation) & (part.deviation >= LEAST)).all():
        raise ConversionError(
            "Keras has no deviation that is so small or so large",
            expected=f"at least {LEAST:g}, and a square that is a finite number",
            got=f"{part.deviation.min():g} to {part.deviation.max():g}",
        )
    if bare:
        return {}, {"mean": part.mean, "variance": variance, "count": np.zeros((), np.int32)}
    return {"axis": -1, "invert": False, "mean": part.mean.tolist(), "variance": variance.tolist()}, {}


def _numbers(layer: KerasLayer, chain: ChainState, name: str) -> NDArray[Any]:
    setting = layer.config.get(name)
    try:
        numbers = np.asarray(layer.arrays.get(name) if setting is None else setting)
    except ValueError:  # lists in lists of several lengths
        numbers = np.empty(0)
    if numbers.dtype.kind not in "fiu" or numbers.ndim != 1 or not numbers.size or not np.isfinite(numbers).all():
        raise unlike(layer, chain, name, "one number for each feature", f"shape {numbers.shape} of {numbers.dtype}")
    return numbers
