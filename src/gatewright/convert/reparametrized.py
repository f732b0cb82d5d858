"""Weights that PyTorch keeps in parts (weight norm, pruning, weight drop), folded into the weights of the layer.

What cannot be computed from the file alone, such as another parametrization, is refused by name.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import ConversionError

Arrays = Mapping[str, NDArray[Any]]
_ARRAY = r"(?P<array>(?:weight|bias)_(?:ih|hh|hr)(?:_l\d{1,4}(?:_reverse)?)?)"
_STORED = (
    re.compile(rf"(?P<prefix>.*?)parametrizations\.{_ARRAY}\.(?P<part>.+)"),
    re.compile(rf"(?P<prefix>.*?){_ARRAY}_(?P<part>g|v|u|orig|mask|raw)"),
)
LONGEST = 400  # characters of a name that is looked at


def folded(arrays: Arrays) -> tuple[Arrays, tuple[str, ...]]:
    """The arrays of a state dict with each weight as in evaluation, and notes of what was folded.

    - `weight_norm`, old and new: g v / |v|, with |v| over all axes along which g has one number.
    - `torch.nn.utils.prune`: the weight times its mask.
    - weight drop (AWD-LSTM, fastai): the raw weight, from which dropout draws in training.

    Raises ConversionError, with the name, for any other parametrization, and where a part is missing.
    """
    stored: dict[str, dict[str, str]] = {}
    for name in arrays:
        match = next(filter(None, (form.fullmatch(name[:LONGEST]) for form in _STORED)), None)
        if match is not None:
            stored.setdefault(match["prefix"] + match["array"], {})[match["part"]] = name
    if not stored:
        return arrays, ()
    sources = {name for parts in stored.values() for name in parts.values()}
    whole = {name: array for name, array in arrays.items() if name not in sources}
    notes: dict[str, list[str]] = {}
    for target, parts in stored.items():
        how, value = _value(target, {part: np.asarray(arrays[name]) for part, name in parts.items()}, parts)
        name = _wrapped(target, arrays) if how == _DROP else target
        if name in whole and how != _DROP:
            raise ConversionError(f"{name!r} is there twice: whole, and in parts: {', '.join(parts.values())}")
        whole[name] = value
        notes.setdefault(how, []).extend(parts.values())
    return whole, tuple(f"{how}: {', '.join(names)}" for how, names in notes.items())


_NORM = "weight norm was computed, g v / |v|"
_PRUNED = "pruned weights were multiplied by their masks"
_DROP = "weight drop was left out, as in evaluation"
_ORIGINALS = ("original0", "original1")


def _value(target: str, parts: Arrays, names: Mapping[str, str]) -> tuple[str, NDArray[Any]]:
    kinds = set(parts)
    for scale, direction in (("g", "v"), _ORIGINALS):
        if kinds == {scale, direction}:
            return _NORM, _normed(target, parts[scale], parts[direction])
    if kinds == {"orig", "mask"} and parts["orig"].shape == parts["mask"].shape:
        return _PRUNED, parts["orig"] * parts["mask"].astype(parts["orig"].dtype)
    if kinds == {"raw"}:
        return _DROP, parts["raw"]
    raise ConversionError(
        f"{target!r} is stored as {', '.join(names.values())}: {_named(kinds)}",
        expected="the weight itself, or weight norm's g and v, or pruning's orig and mask",
        got=", ".join(f"{names[part]} {array.shape}" for part, array in parts.items()),
        do="load the model, remove what parametrizes its weights (torch.nn.utils.parametrize.remove_parametrizations, "
        "or remove_spectral_norm), and save its state dict again",
    )


def _named(kinds: set[str]) -> str:
    if kinds >= {"orig", "u"} or "0._u" in kinds:
        return "spectral norm, which is not folded"
    if "original" in kinds:
        return (
            "orthogonal, which is not folded" if "0.base" in kinds else "a parametrization that the file does not name"
        )
    return "parts of a weight, not all of which are here"


def _normed(target: str, scale: NDArray[Any], direction: NDArray[Any]) -> NDArray[Any]:
    single: Sequence[int] = [axis for axis, size in enumerate(scale.shape) if size == 1]
    kept = tuple(1 if axis in single else size for axis, size in enumerate(direction.shape))
    if direction.dtype.kind != "f" or not direction.ndim or (scale.ndim and scale.shape != kept):
        raise ConversionError(
            f"the parts of {target!r} are not those of weight norm",
            expected="g with as many axes as v, of one number each but for the one that is kept",
            got=f"g of shape {scale.shape}, v of shape {direction.shape}",
        )
    axes = tuple(single) if scale.ndim else None  # dim=None: one norm for all
    wide = direction.astype(np.float64)
    norm = np.sqrt(np.square(wide).sum(axis=axes, keepdims=scale.ndim > 0))
    if not norm.all():
        raise ConversionError(f"weight norm of {target!r} divides by zero", do="save a model whose weights are finite")
    return (scale.astype(np.float64) * wide / norm).astype(direction.dtype)


def _wrapped(target: str, arrays: Arrays) -> str:
    """The name of a weight in the module that weight drop wraps: the raw one may lie beside that module."""
    prefix, dot, array = target.rpartition(".")
    inside = f"{prefix}{dot}module."
    return f"{inside}{array}" if any(name.startswith(inside) for name in arrays) else target
