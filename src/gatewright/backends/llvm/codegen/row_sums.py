"""Sums over all steps and rows: outer products (the gradients of matrices) and plain sums (those of biases)."""

from collections.abc import Sequence
from dataclasses import dataclass

from gatewright.backends.llvm.codegen.tiles import Tile
from gatewright.backends.llvm.emit.emitter import Emitter, Index
from gatewright.backends.llvm.emit.vector_type import Value

ROWS_AT_A_TIME = 128
"""Lines that are summed before the sum goes to memory: their two operands fit the second cache, and rounding stays
small."""


class OperandLines:
    """The lines of an operand: one for each step and row, or those in the list `active`."""

    def __init__(self, emitter: Emitter, pointer: Value, width: int, active: Value | None = None) -> None:
        self.width = width
        self._pointer, self._scalar, self._active = pointer, emitter.with_width(1), active

    def at(self, line: Index, element: Index) -> Value:
        """Where one element of a line lies."""
        if self._active is not None:
            line = self._scalar.load_index(self._active, line, "line")
        offset = self._scalar.add_index(self._scalar.mul_index(line, self.width), element)
        return self._scalar.address(self._pointer, offset)


@dataclass(frozen=True, slots=True)
class SumResult:
    """Where a sum goes, and whether it is added to what is there already: where `adds` is not 0."""

    pointer: Value
    adds: Value


def emit_outer(
    e: Emitter,
    left: OperandLines,
    right: OperandLines,
    result: SumResult,
    tile: Tile,
    lines: Value,
    span: tuple[Index, Index],
) -> None:
    """result[m, n] = the sum over all lines (one or more) of left[m] * right[n], for the m of `span`.

    rows x blocks vectors of the result, those of the tile, are held in registers while lines go by.
    A span begins at a multiple of the tile's rows, and ends at one or at the end.
    """
    lanes = e.vector.width
    full = right.width // lanes
    leftover = [(block * lanes, lanes) for block in range(full - full % tile.blocks, full)]
    if right.width % lanes:
        leftover.append((full * lanes, right.width % lanes))
    with e.loop(0, lines, ROWS_AT_A_TIME, "first_line") as chunk:
        end = e.smaller_index(e.add_index(chunk.index, ROWS_AT_A_TIME), lines, "last_line")
        work = _Outer(e, left, right, result, (chunk.index, end))
        with e.loop(0, full // tile.blocks, 1, "group") as group:
            first = e.mul_index(group.index, tile.blocks * lanes)
            columns = [(e.add_index(first, j * lanes), lanes) for j in range(tile.blocks)]
            _emit_rows(work, tile, columns, span)
        if leftover:
            _emit_rows(work, tile, leftover, span)


def _emit_rows(work: "_Outer", tile: Tile, columns: Sequence[tuple[Index, int]], span: tuple[Index, Index]) -> None:
    e, height = work.e, work.left.width
    tail = height % tile.rows
    with e.loop(span[0], e.smaller_index(e.index(span[1]), height - tail), tile.rows, "m") as m:
        work.tile(m.index, tile.rows, columns)
    if tail:
        with e.when(e.compare_index("==", span[1], height), "last_rows"):
            work.tile(height - tail, tail, columns)


class _Outer:
    """One range of lines of an outer product."""

    def __init__(
        self, e: Emitter, left: OperandLines, right: OperandLines, result: SumResult, lines: tuple[Index, Index]
    ) -> None:
        self.e, self.left, self.right, self.result, self.lines = e, left, right, result, lines
        earlier = e.larger_index(e.index(lines[0]), result.adds)
        self.is_first = e.compare_index("==", earlier, 0, "first_lines")

    def tile(self, m: Index, rows: int, columns: Sequence[tuple[Index, int]]) -> None:
        """Accumulate one tile over the lines, and add it to the result."""
        e = self.e
        keys = {f"sum{r}.{j}": (r, j) for r in range(rows) for j in range(len(columns))}
        with e.loop(self.lines[0], self.lines[1], 1, "line", dict.fromkeys(keys, e.constant(0.0))) as line:
            vectors = [e.load_first(self.right.at(line.index, column), lanes) for column, lanes in columns]
            sums: dict[str, Value] = {}
            for r in range(rows):
                element = e.broadcast(self.left.at(line.index, e.add_index(m, r)), "element")
                for j, vector in enumerate(vectors):
                    sums[f"sum{r}.{j}"] = e.fma(element, vector, line.values[f"sum{r}.{j}"], "sum")
            line.carry(sums)
        for name, (r, j) in keys.items():
            column, lanes = columns[j]
            place = e.add_index(e.mul_index(e.add_index(m, r), self.right.width), column)
            address = e.address(self.result.pointer, place)
            before = e.select(self.is_first, 0.0, e.load_first(address, lanes))
            e.store_first(e.add(before, line.values[name]), address, lanes)


def emit_sum(e: Emitter, operand: OperandLines, result: SumResult, lines: Value) -> None:
    """result[m] = the sum over all lines of operand[m]; chunks of lines are summed first, for the rounding."""
    lanes = e.vector.width
    whole = operand.width - operand.width % lanes
    with e.loop(0, whole, lanes, "column") as column:
        _emit_columns(e, operand, result, lines, (column.index, lanes))
    if whole < operand.width:
        _emit_columns(e, operand, result, lines, (whole, operand.width - whole))


def _emit_columns(
    e: Emitter, operand: OperandLines, result: SumResult, lines: Value, columns: tuple[Index, int]
) -> None:
    column, lanes = columns
    address, zero = e.address(result.pointer, column), e.constant(0.0)
    adds = e.compare_index("!=", result.adds, 0, "adds")
    before = e.select(adds, e.load_first(address, lanes), zero)
    with e.loop(0, lines, ROWS_AT_A_TIME, "first_line", {"total": before}) as chunk:
        end = e.smaller_index(e.add_index(chunk.index, ROWS_AT_A_TIME), lines, "last_line")
        with e.loop(chunk.index, end, 1, "line", {"part": zero}) as line:
            value = e.load_first(operand.at(line.index, column), lanes)
            line.carry({"part": e.add(line.values["part"], value, "part")})
        chunk.carry({"total": e.add(chunk.values["total"], line.values["part"], "total")})
    e.store_first(chunk.values["total"], address, lanes)
