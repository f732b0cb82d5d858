"""Sums over all steps and rows: outer products (the gradients of matrices) and plain sums (those of biases)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gatewright.backends.llvm.codegen.tiles import Tile, TileWork, choose
from gatewright.backends.llvm.emit.bfloat16 import LEAST_LANES
from gatewright.backends.llvm.emit.emitter import INDEX, POINTER, Emitter, Index
from gatewright.backends.llvm.emit.vector_type import Value
from gatewright.backends.llvm.jit.target import Target

ROWS_AT_A_TIME = 128
"""Lines that are summed before the sum goes to memory: their two operands fit the second cache, and rounding stays
small."""
_LEFT_BYTES = 512 * 1024
"""The most of the left operand that is read again for every group of columns: half of a second cache."""


SUM_ARGUMENTS = {
    "left": POINTER,
    "right": POINTER,
    "result": POINTER,
    "lines": INDEX,
    "first": INDEX,
    "last": INDEX,
    "adds": INDEX,
}
"""What the code that all sums of one shape share is called with: operands (a plain sum has no right one), which rows of
the result to compute, and whether it adds to what is there."""
_LINES = 64  # for how many lines the tile of an outer product is chosen, however many there will be
Multiply = Callable[[Value, Value, Value, str], Value]


@dataclass(frozen=True, slots=True)
class SumDesign:
    """How a sum over rows is done: of vectors of `height`, or of their outer products with vectors of `width`."""

    name: str
    height: int
    width: int
    lanes: int
    tile: Tile | None  # of outer products
    has_pairs: bool = False  # of bfloat16 numbers, of two lines that follow one another


def design_outer(height: int, width: int, lanes: int, target: Target, *, rounds: bool) -> SumDesign:
    """How outer products are summed; where that is meant, of operands that are rounded to bfloat16."""
    work = TileWork(products=1, depth=_LINES, blocks=-(-width // lanes), rows=height)
    tile = choose(work, target.vector_registers, target.vector_bytes)
    return SumDesign(f"outer_{height}x{width}", height, width, lanes, tile, rounds and lanes >= LEAST_LANES)


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
    multiply: Multiply,
) -> None:
    """result[m, n] = the sum over all lines (one or more) of left[m] * right[n], for the m of `span`.

    `multiply` multiplies two vectors and adds them to a third: of numbers, or of words of two.
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
        work = _Outer(e, left, right, result, (chunk.index, end), multiply)
        walk = _rows_outside if left.width * e.vector.element_bytes * ROWS_AT_A_TIME > _LEFT_BYTES else _rows_inside
        walk(work, tile, (full // tile.blocks, leftover), span)


_Columns = tuple[int, Sequence[tuple[Index, int]]]
"""How many whole groups of blocks a row of the result has, and the columns and lanes that are left over."""


def _rows_inside(work: "_Outer", tile: Tile, columns: _Columns, span: tuple[Index, Index]) -> None:
    """Group after group of columns, and for each all rows: the lines of the left operand are in a cache."""
    e, (groups, leftover) = work.e, columns
    with e.loop(0, groups, 1, "group") as group:
        _emit_rows(work, tile, _group(e, tile, group.index), span)
    if leftover:
        _emit_rows(work, tile, leftover, span)


def _rows_outside(work: "_Outer", tile: Tile, columns: _Columns, span: tuple[Index, Index]) -> None:
    """Some rows, and for each all columns: the lines of the left operand are read once, since no cache holds them."""
    e, (groups, leftover) = work.e, columns

    def emit(m: Index, rows: int) -> None:
        with e.loop(0, groups, 1, "group") as group:
            work.tile(m, rows, _group(e, tile, group.index))
        if leftover:
            work.tile(m, rows, leftover)

    _over_rows(work, tile, span, emit)


def _group(e: Emitter, tile: Tile, group: Index) -> list[tuple[Index, int]]:
    lanes = e.vector.width
    first = e.mul_index(group, tile.blocks * lanes)
    return [(e.add_index(first, j * lanes), lanes) for j in range(tile.blocks)]


def _emit_rows(work: "_Outer", tile: Tile, columns: Sequence[tuple[Index, int]], span: tuple[Index, Index]) -> None:
    _over_rows(work, tile, span, lambda m, rows: work.tile(m, rows, columns))


def _over_rows(work: "_Outer", tile: Tile, span: tuple[Index, Index], emit: Callable[[Index, int], None]) -> None:
    """Emit for the rows of the result, as many at a time as a tile has, and for those that are left at the end."""
    e, height = work.e, work.left.width
    tail = height % tile.rows
    with e.loop(span[0], e.smaller_index(e.index(span[1]), height - tail), tile.rows, "m") as m:
        emit(m.index, tile.rows)
    if tail:
        with e.when(e.compare_index("==", span[1], height), "last_rows"):
            emit(height - tail, tail)


class _Outer:
    """One range of lines of an outer product."""

    def __init__(
        self,
        e: Emitter,
        left: OperandLines,
        right: OperandLines,
        result: SumResult,
        lines: tuple[Index, Index],
        multiply: Multiply,
    ) -> None:
        self.multiply = multiply
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
                    sums[f"sum{r}.{j}"] = self.multiply(element, vector, line.values[f"sum{r}.{j}"], "sum")
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
