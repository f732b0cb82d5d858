"""Emits one pass: its stages over rows and steps, in an order in which what is used again is still close.

A stage with products goes through the groups of its panels, and for each through the rows. Stages without products that
follow one another are done row by row. While products are accumulated there is time to have memory brought close: for
the stage's own equations, and for the stages without products that come next.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from gatewright.backends.llvm.buffers import Cursor
from gatewright.backends.llvm.emitter import Emitter, Index
from gatewright.backends.llvm.panels import column_of
from gatewright.backends.llvm.stage import StageEmitter
from gatewright.backends.llvm.vector_type import Value

_OPERAND_BYTES = 256 * 1024
"""How much of the vectors that are multiplied is gone through for each group: the second cache holds it."""


@dataclass(frozen=True, slots=True)
class Step:
    """Where a step's rows lie: `before` lines of other steps come first, and `before_next` before the rows of the step
    that follows, if there are several."""

    batch: Value
    before: Value
    before_next: Value | None = None


class PassEmitter:
    """Emits the stages of a pass for the rows first, ..., last - 1."""

    def __init__(self, scalar: Emitter, stages: Sequence[StageEmitter], first: Value, last: Value) -> None:
        self._scalar, self._first, self._last = scalar, first, last
        self._parts = [list(part) for _, part in groupby(stages, key=lambda one: id(one) if one.panels else None)]
        for stage in stages:
            stage.prepare()

    def emit_step(self, step: Step, turned: Value) -> None:
        """Emit all stages of one step.

        Panels are walked from the first group to the last, or, where `turned` is 1 and not 0, from the last to the
        first: what was used last in one step is what is used first in the next.
        """
        for number, part in enumerate(self._parts):
            if part[0].panels:
                self._tiles(number, step, turned)
            else:
                self._rows(part, step)

    def _tiles(self, number: int, step: Step, turned: Value) -> None:
        e, stage = self._scalar, self._parts[number][0]
        height, groups = _rows_at_a_time(stage), stage.panels[0].groups
        with e.loop(self._first, self._last, height, "first_row", {"turned": turned}) as part:
            now = part.values["turned"]
            end = e.smaller_index(e.add_index(part.index, height), self._last, "end_row")
            with e.loop(0, groups, 1, "walked") as walked:
                back = e.add_index(e.mul_index(walked.index, -2), groups - 1)
                group = e.index(e.add_index(walked.index, e.mul_index(now, back), "group"))
                self._group(number, step, group, (part.index, end))
            part.carry({"turned": flipped(e, now)})

    def _group(self, number: int, step: Step, group: Value, rows: tuple[Index, Index]) -> None:
        e, stage = self._scalar, self._parts[number][0]
        tile, soon = stage.tile, self._soon(number, step)
        blocks = [e.add_index(e.mul_index(group, tile.blocks), j) for j in range(tile.blocks)]
        columns = [column_of(e, block, stage.lanes, stage.units) for block in blocks]
        lowest = e.add_index(self._last, -tile.rows, "last_tile")
        with e.loop(*rows, tile.rows, "rows") as loop:
            # the last tile overlaps the one before it, so that no row is left over
            start = e.smaller_index(loop.index, lowest, "row")
            cursors = [_cursor(e, step.before, e.add_index(start, r), step.batch) for r in range(tile.rows)]

            def meanwhile(row: Index) -> None:
                for other, before in soon:
                    cursor = _cursor(e, before, e.add_index(start, row), step.batch)
                    for column in columns:
                        other.emit_prefetch(cursor, column)

            stage.emit_tile(columns, cursors, group, meanwhile)

    def _soon(self, number: int, step: Step) -> list[tuple[StageEmitter, Value]]:
        """The stages for which memory is brought close while a stage's products are accumulated: itself, and what comes
        before the next products, be it in the next step; and how many lines come before the rows that they do."""
        stage, found = self._parts[number][0], [(self._parts[number][0], step.before)]
        following = [(part, step.before) for part in self._parts[number + 1 :]]
        if step.before_next:
            following += [(part, step.before_next) for part in self._parts[:number]]
        for part, before in following:
            if part[0].panels:
                break
            found += [(other, before) for other in part if other.units == stage.units]
        return found

    def _rows(self, stages: Sequence[StageEmitter], step: Step) -> None:
        e, height = self._scalar, stages[0].tile.rows
        lowest = e.add_index(self._last, -height, "last_rows")
        with e.loop(self._first, self._last, height, "rows") as loop:
            start = e.smaller_index(loop.index, lowest, "row")
            for stage in stages:
                stage.emit_rows([_cursor(e, step.before, e.add_index(start, r), step.batch) for r in range(height)])


def flipped(emitter: Emitter, turned: Value) -> Value:
    """0 for 1, and 1 for 0."""
    return emitter.index(emitter.add_index(1, emitter.mul_index(turned, -1), "turned.next"))


def _cursor(emitter: Emitter, before: Value, row: Index, batch: Value) -> Cursor:
    return Cursor(line=emitter.index(emitter.add_index(before, row, "line")), row=emitter.index(row), batch=batch)


def _rows_at_a_time(stage: StageEmitter) -> int:
    row = sum(panel.depth for panel in stage.panels) * stage.emitter.vector.element_bytes
    return max(_OPERAND_BYTES // row // stage.tile.rows, 1) * stage.tile.rows
