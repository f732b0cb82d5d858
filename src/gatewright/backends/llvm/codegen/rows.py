"""Which rows of a step a tile is laid over: all of them, or those that are still active.

Both give the rows first, ..., last - 1. `before` lines of other steps come before those of the step, and `before_next`
before those of the step that follows, if there are several. What `limit` gives is emitted before the loop over tiles
of that height, and handed to the other two.
"""

from dataclasses import dataclass

from gatewright.backends.llvm.codegen.buffers import Cursor
from gatewright.backends.llvm.emit.emitter import Emitter, Index
from gatewright.backends.llvm.emit.vector_type import Value


@dataclass(frozen=True, slots=True)
class StepRows:
    """Rows that lie one after the other. The last tile overlaps the one before it, so that no row is left over."""

    first: Value
    last: Index
    batch: Value
    before: Value
    before_next: Value | None = None

    def limit(self, e: Emitter, height: int, name: str) -> Index:
        """Where the last tile begins."""
        return e.add_index(self.last, -height, name)

    def start(self, e: Emitter, index: Value, limit: Index) -> Index:
        """Not after the last tile: rows of the overlap are done twice, with the same result."""
        return e.smaller_index(index, limit, "row")

    def cursor(self, e: Emitter, start: Index, row: Index, limit: Index, before: Value | None = None) -> Cursor:
        """The row that lies so many after the first one; at that step, or at the one that `before` says."""
        place = e.add_index(start, row)
        line = e.add_index(self.before if before is None else before, place, "line")
        return Cursor(line=e.index(line), row=e.index(place), batch=self.batch)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedRows(StepRows):
    """Rows whose lines are in a list. Where a tile is higher than the rows that are left, it repeats the last one:
    there may be fewer than any tile has."""

    lines: Value
    first_line: Value

    def limit(self, e: Emitter, height: int, name: str) -> Index:
        """The last row."""
        return e.add_index(self.last, -1, name)

    def start(self, e: Emitter, index: Value, limit: Index) -> Index:
        """Where it is to begin."""
        return index

    def cursor(self, e: Emitter, start: Index, row: Index, limit: Index, before: Value | None = None) -> Cursor:
        """The row that the list has there, or the last one; at that step, or at the one that `before` says."""
        place = start if row == 0 else e.smaller_index(e.add_index(start, row), limit)
        line = e.load_index(self.lines, e.add_index(self.first_line, place), "line")
        own = e.add_index(line, e.mul_index(self.before, -1), "row")
        if before is not None and before is not self.before:
            line = e.index(e.add_index(before, own, "line"))
        return Cursor(line=line, row=e.index(own), batch=self.batch)
