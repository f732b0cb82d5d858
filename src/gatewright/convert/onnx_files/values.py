"""What is known of a value in a graph that is not run: its numbers, its sizes, or its place in the network."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import ConversionError

DIRECTIONS, FEATURES, STEP, ROWS = "directions", "features", "last step", "steps of all rows"


def product_of(sizes: Sequence[int | str]) -> int | str:
    """The product of sizes of axes: a number, or a text where a size is unknown."""
    numbers = [size for size in sizes if isinstance(size, int)]
    return prod(numbers) if len(numbers) == len(sizes) else " * ".join(map(str, sizes))


def shortest(number: float) -> float:
    """The shortest number that is the same in float32, as those of a graph are."""
    return float(str(np.float32(number)))


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis of a value: where it comes from, and its size where that is known."""

    label: str  # "0", "1", ... for those of the graph's input
    size: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ConstantValue:
    """Numbers of the file, or computed from such."""

    array: NDArray[Any]


@dataclass(frozen=True, slots=True)
class FilledValue:
    """The same number everywhere, in a shape that may depend on the input; a label stands for its axis's size."""

    value: float | str


@dataclass(frozen=True, slots=True)
class AxisSizes:
    """Sizes of axes, by number or by the axis's label."""

    items: tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class ExtraInput:
    """A further input of the graph, or a part of one: initial states, lengths."""

    name: str


@dataclass(frozen=True, slots=True)
class UnreadableValue:
    """A value that cannot be read, and why."""

    reason: ConversionError


Last = Literal["", "step", "both ends", "final"]
"""Nothing; one step; the last of the forward direction and the first of the other; the last states."""


@dataclass(frozen=True, slots=True)
class FlowValue:
    """A value of the network: its input, or the output of a part."""

    source: str  # the graph's input
    axes: tuple[Axis, ...]
    version: int  # how often the network had been changed when it was made: 0 is the graph's input itself
    last: Last = ""  # not the whole sequence, but one end of it
    step: int = 0  # which one, where `last` is "step": -1 is the last one
    half: int | None = None  # only this direction
    apart: tuple[Axis, ...] = ()  # the axes that are joined in its first one

    @property
    def labels(self) -> tuple[str, ...]:
        """The axes by label."""
        return tuple(axis.label for axis in self.axes)

    def without(self, index: int) -> "FlowValue":
        """The same without an axis."""
        return replace(self, axes=(*self.axes[:index], *self.axes[index + 1 :]))

    def joined_with(self, other: "FlowValue") -> "FlowValue":
        """Both directions of a layer as one value; this is the first of them."""
        last: Last | None = None
        if (self.last, self.step) == (other.last, other.step):
            last = self.last
        elif "" not in (self.last, other.last) and (other.last == "final" or other.step == 0):
            last = "final" if self.last == "final" else "both ends" if self.step == -1 else None
        if (self.axes, self.version, self.half, other.half) != (other.axes, other.version, 0, 1) or last is None:
            raise ConversionError("it joins what are not the two directions of one layer, forwards first")
        return replace(self, half=None, last=last)

    def side_by_side(self) -> "FlowValue":
        """The same with both directions of each step as features of it, where they are its last axes."""
        *others, directions, features = (Axis(""), *self.axes)
        if directions.label != DIRECTIONS or None in (directions.size, features.size):
            return self
        return replace(self, axes=(*others[1:], Axis(FEATURES, (directions.size or 0) * (features.size or 0))))

    def with_features(self, size: int) -> "FlowValue":
        """The same with other features."""
        return replace(self, axes=(*self.axes[:-1], Axis(FEATURES, size)))


@dataclass(frozen=True, slots=True)
class StackedStates:
    """The last states of several layers, as PyTorch gives them: each a direction of a stream, along an axis."""

    pieces: tuple[tuple[FlowValue, int], ...]
    axis: int


@dataclass(frozen=True, slots=True, eq=False)
class PointwiseValue:
    """A function of every number of a stream, that several nodes are together."""

    stream: FlowValue
    evaluate: Callable[[NDArray[Any]], NDArray[Any]]
    nodes: int = 1


Value = (
    ConstantValue | FilledValue | AxisSizes | ExtraInput | UnreadableValue | FlowValue | StackedStates | PointwiseValue
)
Operands = Sequence[Value | None]
Attributes = Mapping[str, Any]


def arrays_of(operands: Operands) -> list[NDArray[Any] | None]:
    """The operands that are constants, as arrays; None in the place of all others."""
    return [operand.array if isinstance(operand, ConstantValue) else None for operand in operands]
