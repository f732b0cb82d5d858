"""Emits one pass: its stages over rows and steps, in an order that uses values again while they are in a cache.

A stage with products goes through the groups of its panels, and for each through the rows. Stages without products that
follow one another are computed row by row. While products are accumulated there is time to prefetch memory: for the
stage's own equations, and for the stages without products that come next.
"""

from collections.abc import Sequence
from itertools import groupby

from gatewright.backends.llvm.codegen.overlap import ProductsAhead
from gatewright.backends.llvm.codegen.panels import column_of
from gatewright.backends.llvm.codegen.rows import StepRows
from gatewright.backends.llvm.codegen.stage import StageEmitter
from gatewright.backends.llvm.codegen.unpacked import UnpackedProducts
from gatewright.backends.llvm.emit.emitter import Emitter, Index
from gatewright.backends.llvm.emit.vector_type import Value
from gatewright.backends.llvm.parallel.thread_context import ThreadContext
from gatewright.backends.llvm.parallel.unit_partition import ColumnPieces, UnitPartition

_OPERAND_BYTES = 256 * 1024
"""How many bytes of operand vectors are multiplied by a group before the next group: the second cache holds them."""


class PassEmitter:
    """Emits the stages of a pass for some rows of a step, and for the units of one thread."""

    def __init__(
        self,
        scalar: Emitter,
        stages: Sequence[StageEmitter],
        context: ThreadContext,
        units: UnitPartition,
        overlap: tuple[StageEmitter, ProductsAhead] | None = None,
    ) -> None:
        """With an `overlap`, this stage of a single row also computes products of the pass before."""
        self._scalar, self._context, self._units = scalar, context, units
        self._parts = [list(part) for _, part in groupby(stages, key=lambda stage: id(stage) if stage.panels else None)]
        for stage in stages:
            stage.prepare()
        self._overlap = overlap
        self._after_barrier = {id(stages[number]) for number in units.barriers_before}
        self._ranges = {id(stage): self._range(stage, own) for stage, own in zip(stages, units.columns, strict=True)}

    def emit_step(self, rows: StepRows, descending: Value) -> None:
        """Emit all stages of one step.

        Panels are walked from the first group to the last, or, where `descending` is 1 and not 0, from the last to the
        first. The direction changes with every step: the groups that were used last are still in a cache.
        """
        for number, part in enumerate(self._parts):
            if id(part[0]) in self._after_barrier:
                self._context.barrier()
            if part[0].unpacked:
                self._unpacked(part[0], part[0].unpacked, rows)
            elif part[0].panels:
                self._tiles(number, rows, descending)
            else:
                self._rows(part, rows)
        if self._units.barrier_at_end:
            self._context.barrier()

    def _range(self, stage: StageEmitter, columns: ColumnPieces | None) -> tuple[Index, Index]:
        """The range of a stage's panel groups that this thread computes; of its blocks, if it has no panels."""
        blocks = -(-stage.units // stage.lanes)
        if columns is None:
            return 0, blocks
        first, last = self._context.range_of(columns.pieces)
        if stage.panels:
            return first, last
        e = self._scalar
        first, last = (e.smaller_index(e.mul_index(piece, columns.blocks), blocks) for piece in (first, last))
        return first, last

    def _tiles(self, number: int, rows: StepRows, descending: Value) -> None:
        e, stage = self._scalar, self._parts[number][0]
        height, (low, high) = _rows_at_a_time(stage), self._ranges[id(stage)]
        ends = e.add_index(e.add_index(low, high), -1)
        with e.loop(rows.first, rows.last, height, "first_row", {"descending": descending}) as part:
            now = part.values["descending"]
            end = e.smaller_index(e.add_index(part.index, height), rows.last, "end_row")
            if stage.rounded:
                # Every thread that shares the units rounds all rows: the same bits, so that no barrier is needed.
                last_row = rows.limit(e, 1, "last_row")
                with e.loop(part.index, end, 1, "rounded_row") as rounding:
                    stage.emit_rounding(rows.cursor(e, rounding.index, 0, last_row))
            with e.loop(low, high, 1, "walked") as walked:
                back = e.add_index(e.mul_index(walked.index, -2), ends)
                group = e.index(e.add_index(walked.index, e.mul_index(now, back), "group"))
                self._group(number, rows, group, (part.index, end), walked.index)
            part.carry({"descending": flipped(e, now)})

    def _unpacked(self, stage: StageEmitter, products: UnpackedProducts, rows: StepRows) -> None:
        """A stage whose matrices are not packed: any number of rows, tile by tile."""
        e, height = self._scalar, products.tile.rows
        limit = e.add_index(rows.last, -1, "last_row")
        with (
            e.loop(*self._ranges[id(stage)], 1, "group") as group,
            e.loop(rows.first, rows.last, height, "tile") as tile,
        ):
            unit = products.first_unit(group.index)
            with e.when(e.compare_index("==", tile.index, limit), "one_row"):
                products.emit(unit, [rows.cursor(e, tile.index, 0, limit)])
            with e.when(e.compare_index("<", tile.index, limit), "several_rows"):
                # The last row is repeated where fewer are left: it is computed again, but not stored.
                places = [e.smaller_index(e.add_index(tile.index, r), limit) for r in range(height)]
                products.emit(unit, [rows.cursor(e, place, 0, limit) for place in places])
            end = e.smaller_index(e.add_index(tile.index, height), rows.last, "end_row")
            with e.loop(tile.index, end, 1, "row") as row:
                own = e.add_index(row.index, e.mul_index(tile.index, -1))
                stage.emit_unpacked(products, unit, rows.cursor(e, row.index, 0, limit), own)

    def _group(self, number: int, rows: StepRows, group: Value, span: tuple[Index, Index], walked: Value) -> None:
        e, stage = self._scalar, self._parts[number][0]
        tile, upcoming = stage.tile, self._next_stages(number, rows)
        blocks = [e.add_index(e.mul_index(group, tile.blocks), j) for j in range(tile.blocks)]
        columns = [column_of(e, block, stage.lanes, stage.units) for block in blocks]
        limit = rows.limit(e, tile.rows, "last_tile")
        with e.loop(*span, tile.rows, "rows") as loop:
            start = rows.start(e, loop.index, limit)

            def meanwhile(row: Index) -> None:
                for other, before in upcoming:
                    cursor = rows.cursor(e, start, row, limit, before)
                    for column in columns:
                        other.emit_prefetch(cursor, column)

            if stage.amx:
                # The products of 16 rows take long enough for what is prefetched before them to arrive.
                with e.loop(0, tile.rows, 1, "prefetched") as row:
                    meanwhile(row.index)
                stage.emit_amx(stage.amx, group, tile.rows, lambda row: rows.cursor(e, start, row, limit))
            else:
                cursors = [rows.cursor(e, start, r, limit) for r in range(tile.rows)]
                if self._overlap and self._overlap[0] is stage:
                    sums = self._overlap[1].emit(stage.accumulator(), group, cursors, walked, meanwhile)
                    stage.emit_equations(sums, columns, cursors)
                else:
                    stage.emit_tile(columns, cursors, group, meanwhile)

    def _next_stages(self, number: int, rows: StepRows) -> list[tuple[StageEmitter, Value]]:
        """The stages to prefetch for while a stage's products are accumulated, each with the first line of its step:
        itself, and the stages up to the next products, also in the next step."""
        stage, upcoming = self._parts[number][0], [(self._parts[number][0], rows.before)]
        following = [(part, rows.before) for part in self._parts[number + 1 :]]
        if rows.before_next:
            following += [(part, rows.before_next) for part in self._parts[:number]]
        for part, before in following:
            if part[0].panels:
                break
            upcoming += [(other, before) for other in part if other.units == stage.units]
        return upcoming

    def _rows(self, stages: Sequence[StageEmitter], rows: StepRows) -> None:
        e, height = self._scalar, stages[0].tile.rows
        limit = rows.limit(e, height, "last_rows")
        with e.loop(rows.first, rows.last, height, "rows") as loop:
            start = rows.start(e, loop.index, limit)
            for stage in stages:
                if stage is not stages[0] and id(stage) in self._after_barrier:
                    self._context.barrier()
                cursors = [rows.cursor(e, start, r, limit) for r in range(height)]
                stage.emit_rows(cursors, self._ranges[id(stage)])


def flipped(emitter: Emitter, descending: Value) -> Value:
    """0 for 1, and 1 for 0."""
    return emitter.index(emitter.add_index(1, emitter.mul_index(descending, -1), "descending.next"))


def _rows_at_a_time(stage: StageEmitter) -> int:
    row = sum(panel.length for panel in stage.panels) * stage.emitter.vector.element_bytes
    return max(_OPERAND_BYTES // row // stage.tile.rows, 1) * stage.tile.rows
