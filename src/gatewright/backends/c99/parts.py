"""What a C file is made of: cells one above the other, their numbers or whole numbers with scales, their input."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from numpy.typing import NDArray

from gatewright.axes import bind
from gatewright.int8 import Quantised
from gatewright.trace.analysis import reads
from gatewright.trace.ir import Trace, Var

Array = NDArray[Any]

Constant = Array | Quantised
Math = Literal["own", "libm"]


@dataclass(frozen=True, slots=True)
class CellPart:
    """A cell with its numbers. What it gives is its first state.

    Its trace has one input and no random values, and every value in it depends on the input or on a state: what depends
    on parameters alone is a parameter.
    """

    name: str  # in front of its names in C; may be empty
    trace: Trace
    constants: Mapping[str, Constant]
    sizes: Mapping[str, int]

    @property
    def input_size(self) -> int:
        return bind(self.trace.inputs[0].shape, self.sizes)[0]

    @property
    def output_size(self) -> int:
        return bind(self.trace.states[0].shape, self.sizes)[0]

    def kept(self) -> tuple[Var, ...]:
        """The states that a step needs of the one before it."""
        read = reads(self.trace)
        return tuple(state for state in self.trace.states if state.name in read)


@dataclass(frozen=True, slots=True)
class SymbolInput:
    """The input is the number of a symbol: a row of a table, or one-hot where there is none."""

    count: int
    table: Constant | None = None  # (symbols, features)


@dataclass(frozen=True, slots=True)
class CellStack:
    """Parts from the bottom to the top."""

    name: str  # an identifier of C
    parts: tuple[CellPart, ...]
    symbols: SymbolInput | None = None
    dtype: Literal["float32", "float64"] = "float32"
    math: Math = "own"
    file: str = ""  # what the two files are called, where that is not the name

    @property
    def real(self) -> str:
        """The type of a number in C."""
        return "float" if self.dtype == "float32" else "double"

    @property
    def header(self) -> str:
        """The name of the header."""
        return f"{self.file or self.name}.h"
