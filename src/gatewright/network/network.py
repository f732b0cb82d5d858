"""A network: parts in order, each of which reads what the one before it gives."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import ConversionError
from gatewright.network.part import Flow, Part, of_type
from gatewright.network.parts import Dense
from gatewright.network.recurrent import RecurrentPart
from gatewright.network.steps import Reshape

Lengths = Literal["given"] | tuple[int, ...]
"""How many steps each row of a batch has: given beside the inputs, or the same numbers in every run."""


@dataclass(frozen=True, slots=True)
class Network:
    """All parts in order, and what else lay in the file, by its name there."""

    parts: tuple[Part, ...]
    layout: str = ""  # where it was read from, such as "keras"
    rest: Mapping[str, NDArray[Any]] = field(default_factory=dict[str, NDArray[Any]])
    notes: tuple[str, ...] = ()  # what was taken for granted, for the user to see
    lengths: Lengths | None = None  # of the rows; without, every row has all steps
    assumed: Mapping[str, tuple[Any, ...]] = field(default_factory=dict[str, tuple[Any, ...]])
    """What the file does not say of the equations, by the name of the fact: what was taken, and what else there is."""

    @property
    def recurrent(self) -> tuple[RecurrentPart, ...]:
        """The recurrent layers."""
        return tuple(part for part in self.parts if isinstance(part, RecurrentPart))

    @property
    def dtype(self) -> np.dtype[Any]:
        """The precision of its numbers; float32 where it has none."""
        arrays = [array for part in self.parts for array in part.arrays().values()]
        return np.result_type(*arrays) if arrays else np.dtype(np.float32)

    @property
    def reads(self) -> tuple[int | None, ...]:
        """One row of its inputs: (time,) of symbols, (time, features), or (features,) that are reshaped first.

        None stands for any number of steps.
        """
        first = next(p for p in self.parts if p.reads_symbols or isinstance(p, RecurrentPart | Dense | Reshape))
        if isinstance(first, Reshape):
            return (None if -1 in first.shape else prod(first.shape),)
        return (self._steps,) if first.reads_symbols else (self._steps, first.width)

    @property
    def _steps(self) -> int | None:
        """How many steps there must be, where all of them are read at once."""
        flow = Flow()
        for part in self.parts:
            if isinstance(part, Reshape):
                return prod(part.shape) // flow.features if flow.features and -1 not in part.shape else None
            flow = part.gives(flow)
            if flow.has_steps is False:
                return None
        return None

    def of_type(self, dtype: str) -> "Network":
        """The same with numbers of another precision.

        Raises ConversionError where that cannot hold them.
        """
        network = replace(self, parts=tuple(of_type(part, np.dtype(dtype)) for part in self.parts))
        arrays = (array for part in network.parts for array in part.arrays().values())
        if not all(np.isfinite(array).all() for array in arrays):
            raise ConversionError(f"the network has numbers that {dtype} cannot hold", do="leave --dtype out")
        return network

    def noting(self, *notes: str) -> "Network":
        """The same, with more to tell."""
        return replace(self, notes=(*self.notes, *notes))


def checked(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """The same parts, if each can read what the one before gives.

    Raises ConversionError where one cannot.
    """
    given = Flow()
    for index, part in enumerate(parts):
        fits = (given.features in (None, part.width) or part.width is None) and part.is_consistent()
        if not fits or (part.needs_steps and given.has_steps is False) or (index and part.reads_symbols):
            got = "symbols" if given.has_steps is not False else "no steps"
            raise ConversionError(
                f"part {index}, {part.kind}, does not fit what it reads",
                expected=f"{'steps of ' if part.needs_steps else ''}{part.width} features",
                got=got if fits else f"{given.features}",
            )
        given = part.gives(given)
    return parts
