"""Sums over all steps and rows: outer products (the gradients of matrices) and plain sums (those of biases)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from math import lcm

from gatewright.backends.llvm.codegen.tiles import Tile, TileWork, choose
from gatewright.backends.llvm.emit.bfloat16 import LEAST_LANES
from gatewright.backends.llvm.emit.emitter import INDEX, POINTER, Emitter, Index
from gatewright.backends.llvm.emit.vector_type import Value, VectorType
from gatewright.backends.llvm.jit.target import Target

ROWS_AT_A_TIME = 128
"""Lines that are summed before the sum goes to memory: their two operands fit the second cache, and rounding stays
small."""
_LEFT_BYTES = 512 * 1024
"""The most of the left operand that is read again for every group of columns: half of a second cache."""
_PANEL_BYTES = 48 * 1024
"""The size of a panel of the left operand: it is read from the second cache once for every group of columns. It lies on
the stack."""

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
Multiply = Callable[[Emitter, Value, Value, Value, str], Value]


@dataclass(frozen=True, slots=True)
class SumDesign:
    """How a sum over rows is done: of vectors of `height`, or of their outer products with vectors of `width`."""

    name: str
    height: int
    width: int
    lanes: int
    tile: Tile | None  # of outer products
    has_pairs: bool = False  # of bfloat16 numbers, of two lines that follow one another
    panel: int = 0  # how many rows of the result a panel of the left operand is for; 0 where it is read in place


def design_outer(height: int, width: int, vector: VectorType, target: Target, *, rounds: bool) -> SumDesign:
    """How outer products are summed; where that is meant, of operands that are rounded to bfloat16."""
    lanes = vector.width
    work = TileWork(products=1, depth=_LINES, blocks=-(-width // lanes), rows=height)
    tile = choose(work, target.vector_registers, target.vector_bytes)
    has_pairs, panel, column_bytes = rounds and lanes >= LEAST_LANES, 0, ROWS_AT_A_TIME * vector.element_bytes
    # Where the stack must be probed, as on Windows, a large frame calls a function from outside.
    if height * column_bytes > _LEFT_BYTES and "windows" not in target.triple:
        step = lcm(lanes, tile.rows)
        panel = max(_PANEL_BYTES // column_bytes // step, 1) * step
    return SumDesign(f"outer_{height}x{width}", height, width, lanes, tile, has_pairs, panel)


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


class LeftPanel:
    """Some columns of some lines of an operand, copied to memory that caches hold: lines of an operand lie far apart,
    and where their distance is a power of two, few of them fit a cache at a time."""

    def __init__(self, e: Emitter, operand: OperandLines, width: int) -> None:
        self.width, self._e, self._operand = width, e, operand
        # The last vector of a line may begin before the panel's first column.
        self._memory = e.address(e.reserve_numbers(e.vector.width + ROWS_AT_A_TIME * width, "panel"), e.vector.width)
        self._origin: Index = 0

    def fill(self, lines: tuple[Index, Index], columns: tuple[Index, Index]) -> None:
        """Copy these lines and columns, of which there are no more than fit."""
        e, lanes = self._e, self._e.vector.width
        first = e.add_index(e.mul_index(lines[0], self.width), columns[0])
        self._origin = e.mul_index(first, -1)
        with e.loop(*lines, 1, "line") as line:
            source = self._operand.at(line.index, 0)
            with e.loop(*columns, lanes, "column") as loop:
                column = e.smaller_index(loop.index, self._operand.width - lanes)
                e.store(e.load(e.address(source, column)), self.at(line.index, column))
                # The next panel: the distance from line to line is too large for prefetchers.
                e.prefetch(e.address(source, e.add_index(column, self.width)))

    def at(self, line: Index, element: Index) -> Value:
        """Where one element of a line lies."""
        e = self._e
        place = e.add_index(e.mul_index(line, self.width), element)
        return e.address(self._memory, e.add_index(place, self._origin))


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
    design: SumDesign,
    lines: Value,
    span: tuple[Index, Index],
    multiply: Multiply,
) -> None:
    """result[m, n] = the sum over all lines (one or more) of left[m] * right[n], for the m of `span`.

    `multiply` multiplies two vectors and adds them to a third: of numbers, or of words of two.
    rows x blocks vectors of the result, those of the tile, are held in registers while lines go by.
    A span begins at a multiple of the tile's rows, and ends at one or at the end.
    """
    tile = design.tile
    assert tile is not None
    work = _Outer(e, right, result, design.height, tile, multiply)
    if not design.panel:
        with e.loop(0, lines, ROWS_AT_A_TIME, "first_line") as chunk:
            end = e.smaller_index(e.add_index(chunk.index, ROWS_AT_A_TIME), lines, "last_line")
            work.emit(left, (chunk.index, end), span)
        return
    panel = LeftPanel(e, left, design.panel)
    # Panels outside, lines inside: the part of the result that a panel is for stays in the second cache.
    with (
        e.loop(*span, design.panel, "first_row") as part,
        e.loop(0, lines, ROWS_AT_A_TIME, "first_line") as chunk,
    ):
        end = e.smaller_index(e.add_index(chunk.index, ROWS_AT_A_TIME), lines, "last_line")
        last_row = e.smaller_index(e.add_index(part.index, design.panel), span[1], "last_row")
        panel.fill((chunk.index, end), (part.index, last_row))
        work.emit(panel, (chunk.index, end), (part.index, last_row))


_Columns = Sequence[tuple[Index, int]]
"""The first column of each vector of a tile, and how many of its lanes are used."""


class _Outer:
    """An outer product, tile by tile."""

    def __init__(
        self, e: Emitter, right: OperandLines, result: SumResult, height: int, tile: Tile, multiply: Multiply
    ) -> None:
        self._e, self._right, self._result, self._height = e, right, result, height
        self._tile, self._multiply = tile, multiply
        lanes = e.vector.width
        full = right.width // lanes
        self._groups = full // tile.blocks
        self._leftover: _Columns = [(block * lanes, lanes) for block in range(full - full % tile.blocks, full)]
        self._last = (full * lanes, right.width % lanes)

    def emit(self, left: OperandLines | LeftPanel, lines: tuple[Index, Index], span: tuple[Index, Index]) -> None:
        """Add what a range of lines gives to the rows of a span."""
        e, lanes = self._e, self._e.vector.width
        with e.loop(0, self._groups, 1, "group") as group:
            first = e.mul_index(group.index, self._tile.blocks * lanes)
            columns = [(e.add_index(first, j * lanes), lanes) for j in range(self._tile.blocks)]
            self._rows(e, left, lines, span, columns)
        leftover, (_, count) = self._leftover, self._last
        narrow = max(lanes // 2, LEAST_LANES)
        if count and (count > narrow or narrow >= lanes):
            leftover = [*leftover, self._last]
        elif count:  # half a vector takes half the time on processors that execute wide ones in two parts
            self._rows(e.with_width(narrow), left, lines, span, [self._last])
        if leftover:
            self._rows(e, left, lines, span, leftover)

    def _rows(
        self,
        e: Emitter,
        left: OperandLines | LeftPanel,
        lines: tuple[Index, Index],
        span: tuple[Index, Index],
        columns: _Columns,
    ) -> None:
        """The rows of a span, as many at a time as a tile has, and those that are left at the end."""
        height, tail = self._height, self._height % self._tile.rows
        with e.loop(span[0], e.smaller_index(e.index(span[1]), height - tail), self._tile.rows, "m") as m:
            self._emit_tile(e, left, lines, (m.index, self._tile.rows), columns)
        if tail:
            with e.when(e.compare_index("==", span[1], height), "last_rows"):
                self._emit_tile(e, left, lines, (height - tail, tail), columns)

    def _emit_tile(
        self,
        e: Emitter,
        left: OperandLines | LeftPanel,
        lines: tuple[Index, Index],
        rows: tuple[Index, int],
        columns: _Columns,
    ) -> None:
        """Accumulate one tile over the lines, and add it to the result."""
        m, count = rows
        places: dict[tuple[int, int], Value] = {}
        for r, (j, (column, _)) in product(range(count), enumerate(columns)):
            place = e.add_index(e.mul_index(e.add_index(m, r), self._right.width), column)
            places[r, j] = e.address(self._result.pointer, place)
            e.prefetch(places[r, j])
        names = {key: f"sum{key[0]}.{key[1]}" for key in places}
        with e.loop(*lines, 1, "line", dict.fromkeys(names.values(), e.constant(0.0))) as line:
            vectors = [e.load_first(self._right.at(line.index, column), lanes) for column, lanes in columns]
            sums: dict[str, Value] = {}
            for r in range(count):
                element = e.broadcast(left.at(line.index, e.add_index(m, r)), "element")
                for j, vector in enumerate(vectors):
                    sums[names[r, j]] = self._multiply(e, element, vector, line.values[names[r, j]], "sum")
            line.carry(sums)
        is_first = e.compare_index("==", e.larger_index(e.index(lines[0]), self._result.adds), 0, "first_lines")
        for (r, j), address in places.items():
            lanes = columns[j][1]
            before = e.select(is_first, 0.0, e.load_first(address, lanes))
            e.store_first(e.add(before, line.values[names[r, j]]), address, lanes)


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
