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

Array = NDArray[Any]
Slot = tuple[str, str]
"""What one part of an array is, and of which gate: ("W", "r")."""

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
_COUNTED = ("side", "gate")  # axes whose length the row of a layout tells


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
    """An array that was found, before its sizes are known; `counts` are the axes whose length the layout tells."""

    name: str
    axes: Pattern
    counts: Mapping[str, int]
    shape: tuple[int, ...]


def infer(found: Sequence[ShapedArray]) -> dict[str, int]:
    """The sizes of all named axes.

    Raises ConversionError, which names the array, where no sizes fit.
    """
    sizes: dict[str, int] = {}
    for one in found:
        if len(one.shape) != len(one.axes.groups):
            raise _misfit(one, sizes)
    for _ in found:  # each pass knows at least one axis more, or nothing is left to learn
        for one in found:
            for index in range(len(one.shape)):
                sizes |= _learned(one, index, sizes)
    for match in found:
        known = {**sizes, **match.counts}
        if (
            any(axis not in known for group in match.axes.groups for axis in group)
            or match.axes.shape(known) != match.shape
        ):
            raise _misfit(match, sizes)
    return sizes


def _learned(one: ShapedArray, index: int, sizes: Mapping[str, int]) -> dict[str, int]:
    """The size of the only unknown axis in one group of axes."""
    known = {**sizes, **one.counts}
    group, length = one.axes.groups[index], one.shape[index]
    unknown = [axis for axis in group if axis not in known]
    if len(unknown) != 1:
        return {}
    others = [known[axis] for axis in group if axis in known]
    if index == one.axes.joined:
        size = length - sum(others)
    else:
        size, left = divmod(length, prod(others))
        size = -1 if left else size
    if size < 1:
        raise _misfit(one, sizes)
    return {unknown[0]: size}


def unpack(
    array: Array, one: Pattern, kinds: Sequence[str], gates: Sequence[str], sizes: Mapping[str, int]
) -> dict[Slot, Array]:
    """The parts of an array by what they are, each with the axes that the equations give it."""
    if one.joined is not None:
        ends = np.cumsum([sizes[axis] for axis in one.groups[one.joined]])[:-1]
        pieces = np.split(array, ends, axis=one.joined)
        parts: dict[Slot, Array] = {}
        for axis, kind, piece in zip(one.groups[one.joined], kinds, pieces, strict=True):
            parts |= unpack(piece, _only(one, axis), (kind,), gates, sizes)
        return parts
    lengths = _lengths(kinds, gates, sizes)
    axes = [axis for group in one.groups for axis in group]
    apart = np.asarray(array).reshape([lengths[axis] for axis in axes])
    order = [axis for axis in (*_COUNTED, *AXES[kinds[0]]) if axis in axes]
    apart = apart.transpose([axes.index(axis) for axis in order])
    apart = apart.reshape(len(kinds), len(gates), *(lengths[axis] for axis in AXES[kinds[0]]))
    return {(kind, gate): apart[i, j] for i, kind in enumerate(kinds) for j, gate in enumerate(gates)}


def pack(
    parts: Mapping[Slot, Array], one: Pattern, kinds: Sequence[str], gates: Sequence[str], sizes: Mapping[str, int]
) -> Array:
    """An array out of its parts: the reverse of `unpack`."""
    if one.joined is not None:
        pairs = zip(one.groups[one.joined], kinds, strict=True)
        pieces = [pack(parts, _only(one, axis), (kind,), gates, sizes) for axis, kind in pairs]
        return np.concatenate(pieces, axis=one.joined)
    lengths = _lengths(kinds, gates, sizes)
    together = np.stack([np.stack([parts[kind, gate] for gate in gates]) for kind in kinds])
    axes = [axis for group in one.groups for axis in group]
    order = [axis for axis in (*_COUNTED, *AXES[kinds[0]]) if axis in axes]
    together = together.reshape([lengths[axis] for axis in order]).transpose([order.index(axis) for axis in axes])
    return np.ascontiguousarray(together).reshape(one.shape(lengths))


def _lengths(kinds: Sequence[str], gates: Sequence[str], sizes: Mapping[str, int]) -> dict[str, int]:
    return {**sizes, "side": len(kinds), "gate": len(gates)}


@cache
def _only(axes: Pattern, axis: str) -> Pattern:
    """The pattern of one piece of a sum."""
    return Pattern(axes.text, tuple((axis,) if i == axes.joined else group for i, group in enumerate(axes.groups)))


def _misfit(one: ShapedArray, sizes: Mapping[str, int]) -> ConversionError:
    known = ", ".join(f"{axis} {size}" for axis, size in {**one.counts, **sizes}.items())
    return ConversionError(
        f"array {one.name!r} does not fit its layout",
        expected=f"axes {one.axes.text}" + (f" with {known}" if known else ""),
        got=f"shape {one.shape}",
        do="name the layout with --from, or look whether the file is of another cell",
    )
