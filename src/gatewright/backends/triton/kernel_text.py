"""The text of a kernel, with what a caller needs to launch it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class ArgumentKind(StrEnum):
    """What a pointer of a kernel points to. All arrays are contiguous; `...` is the value's own shape."""

    SEQUENCE = "sequence"  # given or kept for every step: (time, batch, ...)
    SEEDS = "seeds"  # of a random value, for every row and step: (time, batch), int64
    STATE = "state"  # a state before and after every step: (time + 1, batch, ...)
    START = "start"  # a state before the first step that is taken: (batch, ...)
    ROW = "row"  # kept within one step: (batch, ...)
    COPY = "copy"  # rounded for products: (batch, ...); of a state, at even and at odd times: (2, batch, ...)
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
ALIGNED = 4
"""Elements of float32: 16 bytes, which one access reads, and at a multiple of which torch's memory begins."""
_PARTS_OF_OTHERS = (ArgumentKind.SEQUENCE, ArgumentKind.STATE, ArgumentKind.START, ArgumentKind.ROW)


def stays_aligned(argument: Argument, row: int) -> bool:
    """Whether an array begins at a multiple of 16 bytes, whatever the number of steps and rows is.

    Arrays are parts of larger ones, behind others or from the second step on: they do if the elements of a `row` fill
    such pieces. What is known of a pointer is part of a compiled kernel. So of others nothing is said: a kernel would
    be compiled again in the middle of training, for a batch of another extent.
    """
    if argument.kind is ArgumentKind.SEEDS:  # one for each row
        return False
    return argument.kind not in _PARTS_OF_OTHERS or row % ALIGNED == 0


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


def jit_line(numbers: Iterable[str], unaligned: Iterable[str] = ()) -> str:
    """The decorator of a kernel, which is compiled once for all values of its numbers that are not constants, and
    wherever its `unaligned` pointers point."""
    plain = f"do_not_specialize={_listed(numbers)}"
    loose = _listed(unaligned)
    return f"@triton.jit({plain})" if loose == "[]" else f"@triton.jit({plain}, do_not_specialize_on_alignment={loose})"


def _listed(names: Iterable[str]) -> str:
    quoted = ", ".join(f'"{name}"' for name in names)
    return f"[{quoted}]"
