"""The text of a kernel, with what a caller needs to launch it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class ArgumentKind(StrEnum):
    """What a pointer of a kernel points to. All arrays are contiguous; `...` is the value's own shape."""

    SEQUENCE = "sequence"  # given or kept for every step: (time, batch, ...)
    SEEDS = "seeds"  # of a random value, for every row and step: (time, batch), int64
    STATE = "state"  # a state before and after every step: (time + 1, batch, ...)
    START = "start"  # a state before the first step that is taken: (batch, ...)
    ROW = "row"  # kept within one step: (batch, ...)
    SHARED = "shared"  # a parameter, or computed from parameters only: (...)
    LENGTHS = "lengths"  # the number of steps that each row takes: (batch,), int32
    SPANS = "spans"  # of scans of pieces of time: (spans, values, batch, ...)
    COUNTERS = "counters"  # of a grid barrier: int32, zero before the launch


@dataclass(frozen=True, slots=True)
class Argument:
    """A pointer that a kernel takes: what it points to, and the name of the value in the Program."""

    kind: ArgumentKind
    name: str


LENGTHS = Argument(ArgumentKind.LENGTHS, "lengths")


@dataclass(frozen=True, slots=True)
class KernelText:
    """The source of one kernel.

    - `name`: of the function in the text.
    - `text`: a whole Python module; it imports triton.
    - `arguments`: the pointers, in the order in which the kernel takes them, before its numbers.
    - `constants`: the constexpr parameters that the text fixes, with their values.
    - `by_table`: the kernel takes no pointers. Its first parameter is a table with the addresses of the arrays, and the
      constants E0, E1, ... are the types of their elements, in the order of `arguments`.
    - `workspace`: the pointers that a launch makes itself, with the dtypes of what they point to.
    """

    name: str
    text: str
    arguments: tuple[Argument, ...]
    constants: Mapping[str, int | bool | str] = field(default_factory=dict[str, int | bool | str])
    by_table: bool = False
    workspace: Mapping[str, str] = field(default_factory=dict[str, str])
