"""The seat of a thread among those that share a kernel: which part it does, and how it meets the others."""

from typing import Any

from llvmlite import ir

from gatewright.backends.llvm.emit.emitter import INDEX, POINTER, Emitter, Index
from gatewright.backends.llvm.emit.vector_type import Value

SEAT: Any = ir.LiteralStructType([POINTER, INDEX, INDEX])
"""The function by which threads meet, called with the seat itself; the number of this part; how many there are."""


class Seat:
    """Emits what depends on a seat; a kernel that is called without one does everything."""

    def __init__(self, emitter: Emitter, given: Value) -> None:
        self._emitter, self._given = emitter, given
        place = emitter.or_constant(given, SEAT, (None, 0, 1), "alone")
        self._meet = emitter.load_field(place, SEAT, 0, "meet")
        self._part = emitter.load_field(place, SEAT, 1, "part")
        self._parts = emitter.load_field(place, SEAT, 2, "parts")
        self._ranges: dict[int, tuple[Index, Index]] = {}

    def range_of(self, pieces: int) -> tuple[Index, Index]:
        """The pieces that this thread does. Ask for them before the first loop begins."""
        if pieces not in self._ranges:
            e = self._emitter
            following = e.add_index(self._part, 1)
            first, last = (
                e.div_index(e.mul_index(part, pieces), self._parts, name)
                for part, name in ((self._part, "first_piece"), (following, "last_piece"))
            )
            self._ranges[pieces] = (first, last)
        return self._ranges[pieces]

    def meet(self) -> None:
        """Wait until all threads have come here."""
        e = self._emitter
        with e.when(e.compare_index("!=", self._parts, 1), "meet"):
            e.call_pointer(self._meet, [self._given])
