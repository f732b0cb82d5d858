"""How the parameters of a layer lie in an array, written as the array's axes, and both ways between the two.

`(gate hidden) input` is PyTorch's weight_ih: the gates lie one below the other, each as a matrix of (hidden, input).
`(input+state) (gate hidden)` is TensorFlow 1's kernel, whose rows are those of the input and then those of the state.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import ConversionError
from gatewright.lang.param import Param

Array = NDArray[Any]

AXES: Mapping[str, tuple[str, ...]] = {
    "W": ("hidden", "input"),
    "U": ("hidden", "state"),
    "b": ("hidden",),  # the bias beside W, or the only one
    "bh": ("hidden",),  # the bias beside U
    "p": ("hidden",),
    "P": ("state", "hidden"),
}
"""The axes of each kind of parameter, as the equations have them."""

_TOKEN = re.compile(r"\(([^()]*)\)|([^\s()]+)")
_COUNTED = ("side", "gate")  # axes with a length known from the row of a layout


@dataclass(frozen=True, slots=True)
class Pattern:
    """The axes of an array: each is a product of named axes, or a sum of them (`joined`)."""

    text: str
    groups: tuple[tuple[str, ...], ...]
    joined: int | None = None  # which group is a sum

    def shape(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """The shape that an array has with these sizes."""
        return tuple(
            (sum if index == self.joined else prod)(sizes[axis] for axis in group)
            for index, group in enumerate(self.groups)
        )


@cache
def pattern(text: str) -> Pattern:
    """A pattern out of its text."""
    groups: list[tuple[str, ...]] = []
    joined = None
    for inside, alone in _TOKEN.findall(text):
        if "+" in inside:
            joined = len(groups)
        groups.append(tuple(inside.replace("+", " ").split()) if inside else (alone,))
    return Pattern(text, tuple(groups), joined)


@dataclass(frozen=True, slots=True)
class ShapedArray:
    """An array of a file, before its sizes are known. `counts` are the lengths of axes that the layout tells."""

    name: str
    axes: Pattern
    counts: Mapping[str, int]
    shape: tuple[int, ...]


def infer(arrays: Sequence[ShapedArray]) -> dict[str, int]:
    """The sizes of all named axes."""
    sizes: dict[str, int] = {}
    for array in arrays:
        if len(array.shape) != len(array.axes.groups):
            raise _misfit(array, sizes)
    for _ in arrays:  # each pass knows at least one axis more, or nothing is left to learn
        for array in arrays:
            for index in range(len(array.shape)):
                sizes |= _learned(array, index, sizes)
    for array in arrays:
        known = {**sizes, **array.counts}
        if (
            any(axis not in known for group in array.axes.groups for axis in group)
            or array.axes.shape(known) != array.shape
        ):
            raise _misfit(array, sizes)
    return sizes


def _learned(array: ShapedArray, index: int, sizes: Mapping[str, int]) -> dict[str, int]:
    """The size of the only unknown axis in one group of axes."""
    known = {**sizes, **array.counts}
    group, length = array.axes.groups[index], array.shape[index]
    unknown = [axis for axis in group if axis not in known]
    if len(unknown) != 1:
        return {}
    others = [known[axis] for axis in group if axis in known]
    if index == array.axes.joined:
        size = length - sum(others)
    else:
        size, left = divmod(length, prod(others))
        size = -1 if left else size
    if size < 1:
        raise _misfit(array, sizes)
    return {unknown[0]: size}


def unpack(
    array: Array, axes: Pattern, kinds: Sequence[str], gates: Sequence[str], sizes: Mapping[str, int]
) -> dict[Param, Array]:
    """The parameters in an array, by kind and gate, each with its axes in the equations."""
    if axes.joined is not None:
        ends = np.cumsum([sizes[axis] for axis in axes.groups[axes.joined]])[:-1]
        pieces = np.split(array, ends, axis=axes.joined)
        parts: dict[Param, Array] = {}
        for axis, kind, piece in zip(axes.groups[axes.joined], kinds, pieces, strict=True):
            parts |= unpack(piece, _only(axes, axis), (kind,), gates, sizes)
        return parts
    lengths = _lengths(kinds, gates, sizes)
    in_order = [axis for group in axes.groups for axis in group]
    apart = np.asarray(array).reshape([lengths[axis] for axis in in_order])
    order = [axis for axis in (*_COUNTED, *AXES[kinds[0]]) if axis in in_order]
    apart = apart.transpose([in_order.index(axis) for axis in order])
    apart = apart.reshape(len(kinds), len(gates), *(lengths[axis] for axis in AXES[kinds[0]]))
    return {Param(kind, gate): apart[i, j] for i, kind in enumerate(kinds) for j, gate in enumerate(gates)}


def pack(
    parts: Mapping[Param, Array], axes: Pattern, kinds: Sequence[str], gates: Sequence[str], sizes: Mapping[str, int]
) -> Array:
    """An array out of its parts: the reverse of `unpack`."""
    if axes.joined is not None:
        pairs = zip(axes.groups[axes.joined], kinds, strict=True)
        pieces = [pack(parts, _only(axes, axis), (kind,), gates, sizes) for axis, kind in pairs]
        return np.concatenate(pieces, axis=axes.joined)
    lengths = _lengths(kinds, gates, sizes)
    together = np.stack([np.stack([parts[Param(kind, gate)] for gate in gates]) for kind in kinds])
    in_order = [axis for group in axes.groups for axis in group]
    order = [axis for axis in (*_COUNTED, *AXES[kinds[0]]) if axis in in_order]
    together = together.reshape([lengths[axis] for axis in order]).transpose([order.index(axis) for axis in in_order])
    return np.ascontiguousarray(together).reshape(axes.shape(lengths))


def _lengths(kinds: Sequence[str], gates: Sequence[str], sizes: Mapping[str, int]) -> dict[str, int]:
    return {**sizes, "side": len(kinds), "gate": len(gates)}


@cache
def _only(axes: Pattern, axis: str) -> Pattern:
    return Pattern(axes.text, tuple((axis,) if i == axes.joined else group for i, group in enumerate(axes.groups)))


def _misfit(array: ShapedArray, sizes: Mapping[str, int]) -> ConversionError:
    known = ", ".join(f"{axis} {size}" for axis, size in {**array.counts, **sizes}.items())
    return ConversionError(
        f"array {array.name!r} does not fit its layout",
        expected=f"axes {array.axes.text}" + (f" with {known}" if known else ""),
        got=f"shape {array.shape}",
        do="name the layout, or look whether the file is of another cell",
        shell="name the layout with --from, or look whether the file is of another cell",
    )
