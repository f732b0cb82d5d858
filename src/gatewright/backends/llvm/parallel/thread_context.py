"""The context of a thread among those that share the units of a kernel: which part it computes, and its barrier."""

from typing import Any

from llvmlite import ir

from gatewright.backends.llvm.emit.emitter import INDEX, POINTER, Emitter, Index
from gatewright.backends.llvm.emit.vector_type import Value

CONTEXT: Any = ir.LiteralStructType([POINTER, INDEX, INDEX])
"""The barrier, a function that is called with the context itself; the number of this thread's part; how many parts
there are. `region_code.ThreadMemory` begins with these fields."""


class ThreadContext:
    """Emits what depends on the thread. A kernel that is called without a context computes all parts."""

    def __init__(self, emitter: Emitter, pointer: Value) -> None:
        self._emitter, self._pointer = emitter, pointer
        context = emitter.or_constant(pointer, CONTEXT, (None, 0, 1), "alone")
        self._barrier = emitter.load_field(context, CONTEXT, 0, "barrier")
        self._part = emitter.load_field(context, CONTEXT, 1, "part")
        self._parts = emitter.load_field(context, CONTEXT, 2, "parts")
        self._ranges: dict[int, tuple[Index, Index]] = {}

    def range_of(self, pieces: int) -> tuple[Index, Index]:
        """The pieces that this thread computes. Ask for them before the first loop begins."""
        if pieces not in self._ranges:
            e = self._emitter
            following = e.add_index(self._part, 1)
            first, last = (
                e.div_index(e.mul_index(part, pieces), self._parts, name)
                for part, name in ((self._part, "first_piece"), (following, "last_piece"))
            )
            self._ranges[pieces] = (first, last)
        return self._ranges[pieces]

    def barrier(self) -> None:
        """Wait until all threads have come here."""
        e = self._emitter
        with e.when(e.compare_index("!=", self._parts, 1), "barrier"):
            e.call_pointer(self._barrier, [self._pointer])
