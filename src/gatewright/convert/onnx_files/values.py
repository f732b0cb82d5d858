"""What is known of a value in a graph before it is run: its numbers, its sizes, or where in the network it stands."""

from dataclasses import dataclass, replace
from typing import Any, Literal

from numpy.typing import NDArray

from gatewright.errors import ConversionError

DIRECTIONS, FEATURES, STEP = "directions", "features", "last step"


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis of a value: where it comes from, and its size where that is known."""

    label: str  # "0", "1", ... for those of the graph's input
    size: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """Numbers that stand in the file, or follow from such."""

    array: NDArray[Any]


@dataclass(frozen=True, slots=True)
class Filled:
    """The same number everywhere, in a shape that may depend on the input; a label stands for its axis's size."""

    value: float | str


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes of axes, by number or by the axis's label."""

    items: tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class Given:
    """A part of what the graph is given besides its main input: initial states, lengths."""

    name: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """What cannot be read, and why."""

    reason: ConversionError


@dataclass(frozen=True, slots=True)
class Stream:
    """What flows through the network: what the graph is given, and what each part makes of it."""

    source: str  # the graph's input
    axes: tuple[Axis, ...]
    version: int  # how often the network had been changed when it was made: 0 is the graph's input itself
    last: Literal["", "step", "final"] = ""  # only the last step of the sequence, or the states after it
    half: int | None = None  # only this direction

    @property
    def labels(self) -> tuple[str, ...]:
        """The axes by label."""
        return tuple(axis.label for axis in self.axes)

    def without(self, index: int) -> "Stream":
        """The same without an axis."""
        return replace(self, axes=(*self.axes[:index], *self.axes[index + 1 :]))

    def with_features(self, size: int) -> "Stream":
        """The same with other features."""
        return replace(self, axes=(*self.axes[:-1], Axis(FEATURES, size)))


@dataclass(frozen=True, slots=True)
class Stacked:
    """The last states of several layers, as PyTorch gives them: each a direction of a stream, along an axis."""

    pieces: tuple[tuple[Stream, int], ...]
    axis: int


Value = Known | Filled | Sizes | Given | Unknown | Stream | Stacked
