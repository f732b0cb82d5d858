"""Emits one pass: its stages over rows and steps, in an order in which what is used again is still close.

A stage with products goes through the groups of its panels, and for each through the rows. Stages without products that
follow one another are done row by row. While products are accumulated there is time to have memory brought close: for
the stage's own equations, and for the stages without products that come next.
"""

from collections.abc import Sequence
from itertools import groupby

from gatewright.backends.llvm.codegen.panels import column_of
from gatewright.backends.llvm.codegen.rows import Rows
from gatewright.backends.llvm.codegen.stage import StageEmitter
from gatewright.backends.llvm.emit.emitter import Emitter, Index
from gatewright.backends.llvm.emit.vector_type import Value
from gatewright.backends.llvm.parallel.thread_context import ThreadContext
from gatewright.backends.llvm.parallel.unit_partition import ColumnPieces, UnitPartition

_OPERAND_BYTES = 256 * 1024
"""How much of the vectors that are multiplied is gone through for each group: the second cache holds it."""


class PassEmitter:
    """Emits the stages of a pass for some rows of a step, and for the units of one thread."""

    def __init__(
        self, scalar: Emitter, stages: Sequence[StageEmitter], context: ThreadContext, units: UnitPartition
    ) -> None:
        self._scalar, self._context, self._units = scalar, context, units
        self._parts = [list(part) for _, part in groupby(stages, key=lambda stage: id(stage) if stage.panels else None)]
        for stage in stages:
            stage.prepare()
        self._after_barrier = {id(stages[number]) for number in units.barriers_before}
        self._ranges = {id(stage): self._range(stage, own) for stage, own in zip(stages, units.columns, strict=True)}

    def emit_step(self, rows: Rows, turned: Value) -> None:
        """Emit all stages of one step.

        Panels are walked from the first group to the last, or, where `turned` is 1 and not 0, from the last to the
        first: what was used last in one step is what is used first in the next.
        """
        for number, part in enumerate(self._parts):
            if id(part[0]) in self._after_barrier:
                self._context.barrier()
            if part[0].panels:
                self._tiles(number, rows, turned)
            else:
                self._rows(part, rows)
        if self._units.barrier_at_end:
            self._context.barrier()

    def _range(self, stage: StageEmitter, columns: ColumnPieces | None) -> tuple[Index, Index]:
        """The groups of a stage's panels that are done here, or where it has none, its blocks."""
        blocks = -(-stage.units // stage.lanes)
        if columns is None:
            return 0, blocks
        first, last = self._context.range_of(columns.pieces)
        if stage.panels:
            return first, last
        e = self._scalar
        first, last = (e.smaller_index(e.mul_index(piece, columns.blocks), blocks) for piece in (first, last))
        return first, last

    def _tiles(self, number: int, rows: Rows, turned: Value) -> None:
        e, stage = self._scalar, self._parts[number][0]
        height, (low, high) = _rows_at_a_time(stage), self._ranges[id(stage)]
        ends = e.add_index(e.add_index(low, high), -1)
        with e.loop(rows.first, rows.last, height, "first_row", {"turned": turned}) as part:
            now = part.values["turned"]
            end = e.smaller_index(e.add_index(part.index, height), rows.last, "end_row")
            with e.loop(low, high, 1, "walked") as walked:
                back = e.add_index(e.mul_index(walked.index, -2), ends)
                group = e.index(e.add_index(walked.index, e.mul_index(now, back), "group"))
                self._group(number, rows, group, (part.index, end))
            part.carry({"turned": flipped(e, now)})

    def _group(self, number: int, rows: Rows, group: Value, span: tuple[Index, Index]) -> None:
        e, stage = self._scalar, self._parts[number][0]
        tile, soon = stage.tile, self._soon(number, rows)
        blocks = [e.add_index(e.mul_index(group, tile.blocks), j) for j in range(tile.blocks)]
        columns = [column_of(e, block, stage.lanes, stage.units) for block in blocks]
        limit = rows.limit(e, tile.rows, "last_tile")
        with e.loop(*span, tile.rows, "rows") as loop:
            start = rows.start(e, loop.index, limit)
            cursors = [rows.cursor(e, start, r, limit) for r in range(tile.rows)]

            def meanwhile(row: Index) -> None:
                for other, before in soon:
                    cursor = rows.cursor(e, start, row, limit, before)
                    for column in columns:
                        other.emit_prefetch(cursor, column)

            stage.emit_tile(columns, cursors, group, meanwhile)

    def _soon(self, number: int, rows: Rows) -> list[tuple[StageEmitter, Value]]:
        """The stages for which memory is brought close while a stage's products are accumulated: itself, and what comes
        before the next products, be it in the next step; and how many lines come before the rows that they do."""
        stage, soon = self._parts[number][0], [(self._parts[number][0], rows.before)]
        following = [(part, rows.before) for part in self._parts[number + 1 :]]
        if rows.before_next:
            following += [(part, rows.before_next) for part in self._parts[:number]]
        for part, before in following:
            if part[0].panels:
                break
            soon += [(other, before) for other in part if other.units == stage.units]
        return soon

    def _rows(self, stages: Sequence[StageEmitter], rows: Rows) -> None:
        e, height = self._scalar, stages[0].tile.rows
        limit = rows.limit(e, height, "last_rows")
        with e.loop(rows.first, rows.last, height, "rows") as loop:
            start = rows.start(e, loop.index, limit)
            for stage in stages:
                if stage is not stages[0] and id(stage) in self._after_barrier:
                    self._context.barrier()
                cursors = [rows.cursor(e, start, r, limit) for r in range(height)]
                stage.emit_rows(cursors, self._ranges[id(stage)])


def flipped(emitter: Emitter, turned: Value) -> Value:
    """0 for 1, and 1 for 0."""
    return emitter.index(emitter.add_index(1, emitter.mul_index(turned, -1), "turned.next"))


def _rows_at_a_time(stage: StageEmitter) -> int:
    row = sum(panel.depth for panel in stage.panels) * stage.emitter.vector.element_bytes
    return max(_OPERAND_BYTES // row // stage.tile.rows, 1) * stage.tile.rows
