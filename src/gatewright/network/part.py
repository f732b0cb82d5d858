"""What every part of a network has: what it reads and gives, and how it is computed with NumPy."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Arrays = Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class Signal:
    """What one part hands to the next, and what every part may look at."""

    values: Array  # (time, batch, features); symbols (time, batch) or (time, batch, columns); (batch, features)
    inputs: Array  # what the network itself reads
    dtype: np.dtype[Any]  # of what is computed
    mask: Array | None = None  # (time, batch), false where a step is padding, wherever that lies
    lengths: Array | None = None  # (batch,) of rows that are padded at their ends; a mask counts instead of it
    known: Array | None = None  # what a forecast reads beside its window
    row_lengths: Array | None = None  # the lengths of what the network reads, where a part has made steps fewer
    finals: tuple[Arrays, ...] = field(default=())  # the last states of each direction of each layer until now

    @property
    def present(self) -> Array:
        """Which steps are no padding, (time, batch)."""
        if self.mask is not None:
            return self.mask
        steps, batch = self.values.shape[:2]
        return np.arange(steps)[:, None] < (np.full(batch, steps) if self.lengths is None else self.lengths)

    @property
    def row_ends(self) -> Array:
        """How many steps each row of the inputs has, (batch,)."""
        steps, batch = self.inputs.shape[:2]
        return np.full(batch, steps) if self.row_lengths is None else self.row_lengths

    def with_values(self, values: Array) -> "Signal":
        """The signal after a part that changes the values alone. A mask ends where there are no steps any more."""
        return replace(self, values=values, mask=self.mask if values.ndim > 2 else None)


class Flow(NamedTuple):
    """What flows from one part to the next, as far as it is known without numbers."""

    features: int | None = None
    has_steps: bool | None = None


@dataclass(frozen=True, slots=True)
class Part(ABC):
    """One part of a network. Its fields are its settings and its arrays: a model file holds both by their names."""

    kind: ClassVar[str]
    """What model files and errors call it: the name of its class, unless the class says another."""
    width_of: ClassVar[tuple[str, int] | None] = None
    """The array, and its axis, with as many elements as it must read features."""
    reads_symbols: ClassVar[bool] = False
    needs_steps: ClassVar[bool]
    """Whether it reads a sequence alone, and not one row of features. Every part declares it."""

    def __init_subclass__(cls) -> None:
        cls.kind = vars(cls).get("kind", cls.__name__)

    @abstractmethod
    def apply(self, signal: Signal) -> Signal:
        """What it gives for what it reads."""

    @property
    def width(self) -> int | None:
        """The features that it must read; None where any number will do."""
        return getattr(self, self.width_of[0]).shape[self.width_of[1]] if self.width_of else None

    @property
    def symbol_count(self) -> int:
        """How many symbols it knows; 0 where it reads no symbols."""
        return 0

    def gives(self, given: Flow) -> Flow:
        """What it gives for what it reads, without numbers."""
        return given

    def is_consistent(self) -> bool:
        """Whether its arrays fit one another."""
        return True

    def arrays(self) -> Mapping[str, Array]:
        """Its arrays by the names of its fields."""
        values = ((entry.name, getattr(self, entry.name)) for entry in fields(self))
        return {name: value for name, value in values if isinstance(value, np.ndarray)}


def of_type(part: Part, dtype: np.dtype[Any]) -> Part:
    """The part with numbers of another precision; those that it cannot hold become infinite."""

    def cast(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: cast(item) for name, item in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        if isinstance(value, tuple):
            return tuple(map(cast, value))  # pyright: ignore[reportUnknownArgumentType]
        with np.errstate(over="ignore"):
            return value.astype(dtype) if isinstance(value, np.ndarray) else value  # pyright: ignore[reportUnknownMemberType]

    return replace(part, **{entry.name: cast(getattr(part, entry.name)) for entry in fields(part)})
