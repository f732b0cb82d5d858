"""Products with matrices that are read where their caller holds them, for a single step of few rows.

Packing reads and writes every number of a matrix. That is worth it where each packed number is multiplied many times.
A single step of few rows multiplies each a few times only, so packing would take longer than the products.

A line of a matrix holds the weights of one unit. `matrix @ vector` is a dot product for each line: its lanes are
elements of the vector, and are summed at the end. For a transposed matrix the lanes are units, as in a panel.

One kernel serves any number of rows: a tile of several rows repeats the last one where fewer are left, and a row that
stands alone has a tile of its own.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from gatewright.backends.llvm.codegen.buffers import BufferId, Cursor, Memory
from gatewright.backends.llvm.emit.emitter import POINTER, Emitter, Index
from gatewright.backends.llvm.emit.native import NativeModule
from gatewright.backends.llvm.emit.vector_type import Value
from gatewright.schedule.program import Stage, Storage, Term

_INDEPENDENT = 8
"""Sums that do not wait for one another hide the latency of an addition: two a cycle, four cycles each."""
_SHUFFLED_BYTES = 16
"""Vectors are shuffled within parts of this size: that takes one instruction and one cycle everywhere."""


@dataclass(frozen=True, slots=True)
class UnpackedTile:
    """The tile of a stage: `rows`, `blocks` of lanes, and how many `lines` of a matrix go by at the same time, in
    registers of `register_lanes`."""

    rows: int
    blocks: int
    lines: int
    register_lanes: int


def unpacked_tile(registers: int, register_lanes: int, blocks: int) -> UnpackedTile:
    """The tile for a processor with so many vector registers, and a stage with so many whole blocks of units."""
    lines = 4 if registers >= 32 else 2  # all sums are held in registers, beside one vector for each row and line
    return UnpackedTile(4, max(1, min(2, blocks)), lines, register_lanes)


class UnpackedProducts:
    """Emits the products of a stage for a range of units and some rows.

    The code of a product is a function of the module, so it is compiled once for all matrices of one shape.
    """

    def __init__(self, emitter: Emitter, memory: Memory, stage: Stage, units: int, tile: UnpackedTile) -> None:
        self.emitter, self.memory, self.stage, self.units, self.tile = emitter, memory, stage, units, tile
        self.width = tile.blocks * emitter.vector.width
        self._terms = [(product.target.name, term) for product in stage.products for term in product.terms]
        self._results: list[Value] = []  # for each term: the rows of a tile, `width` numbers each

    def prepare(self) -> None:
        """Load the pointers of all matrices and vectors, and reserve memory for results, before the first loop."""
        for _, term in self._terms:
            self._matrix(term)
            self.memory.pointer(self.memory.bound.buffer_of(term.vector))
        size = self.tile.rows * self.width
        self._results = [self.emitter.reserve_numbers(size, "products") for _ in self._terms]

    def first_unit(self, group: Index) -> Index:
        """The first unit of a group; the last group overlaps the one before it, so that no unit is left over."""
        return self.emitter.smaller_index(self.emitter.mul_index(group, self.width), self.units - self.width, "unit")

    def emit(self, first_unit: Index, cursors: Sequence[Cursor]) -> None:
        """Emit all products of some rows with the units of a group: one row, or those of a tile."""
        for (_, term), results in zip(self._terms, self._results, strict=True):
            depth, rows = self._depth(term), len(cursors)
            if term.transposed:
                function, start = self._transposed(depth, rows), first_unit
            else:
                function, start = self._dots(depth, rows), self.emitter.mul_index(first_unit, depth)
            matrix = self.emitter.address(self._matrix(term), start, "weights")
            vectors = [self.memory.of(term.vector, cursor, 0) for cursor in cursors]
            self.emitter.call(function, [matrix, results, *vectors])

    def load(self, row: Index, block: Index) -> dict[str, Value]:
        """Each product of a row of the tile with one block of units, by the name of its target."""
        e = self.emitter
        place = e.add_index(e.mul_index(row, self.width), e.mul_index(block, e.vector.width))
        sums: dict[str, Value] = {}
        for (name, _), results in zip(self._terms, self._results, strict=True):
            value = e.load(e.address(results, place), name)
            sums[name] = e.add(sums[name], value, name) if name in sums else value
        return sums

    def _matrix(self, term: Term) -> Value:
        return self.memory.pointer(BufferId(Storage.SHARED, term.matrix))

    def _depth(self, term: Term) -> int:
        return self.memory.bound.width(term.vector)

    def _transposed(self, depth: int, rows: int) -> Any:
        name = f"columns_{self.width}_of_{depth}x{self.units}_by_{rows}"
        return self._function(name, self.emitter.vector.width, rows, partial(self._emit_columns, depth))

    def _dots(self, depth: int, rows: int) -> Any:
        lanes = self.tile.register_lanes
        while lanes > depth:
            lanes //= 2
        return self._function(f"lines_{self.width}_of_{depth}_by_{rows}", lanes, rows, partial(self._emit_dots, depth))

    def _function(
        self, name: str, lanes: int, rows: int, emit: Callable[[Emitter, Value, Value, list[Value]], None]
    ) -> Any:
        """A function of the module: matrix, results, and the vector of each row."""
        module = NativeModule(self.emitter.module)
        if name not in module.module.globals:
            arguments = {"matrix": POINTER, "results": POINTER, **{f"row{r}": POINTER for r in range(rows)}}
            options: Any = {"dtype": self.emitter.vector.dtype, "width": lanes}
            with module.function(name, internal=True, inline=False, **options, **arguments) as (e, args):
                emit(e, args.matrix, args.results, [getattr(args, f"row{r}") for r in range(rows)])
        return module[name]

    def _emit_columns(self, depth: int, e: Emitter, matrix: Value, results: Value, rows: list[Value]) -> None:
        """One element of each vector times a part of one line of the matrix, again and again."""
        places = [(r, j) for r in range(len(rows)) for j in range(self.tile.blocks)]
        chains = max(1, min(_INDEPENDENT // len(places), 4, depth))
        names = {f"sum{r}.{j}.{chain}": (r, j, chain) for r, j in places for chain in range(chains)}

        def turn(k: Index, count: int, sums: dict[str, Value]) -> dict[str, Value]:
            following = dict(sums)
            for chain in range(count):
                element = e.add_index(k, chain)
                line = e.address(matrix, e.mul_index(element, self.units), "line")
                weights = [e.load(e.address(line, j * e.vector.width), "weight") for j in range(self.tile.blocks)]
                factors = [e.broadcast(e.address(row, element), "element") for row in rows]
                for r, j in places:
                    name = f"sum{r}.{j}.{chain}"
                    following[name] = e.fma(factors[r], weights[j], sums[name], "sum")
            return following

        whole = depth - depth % chains
        with e.loop(0, whole, chains, "k", dict.fromkeys(names, e.constant(0.0))) as loop:
            loop.carry(turn(loop.index, chains, dict(loop.values)))
        sums = turn(whole, depth - whole, dict(loop.values))
        for r, j in places:
            total = sums[f"sum{r}.{j}.0"]
            for chain in range(1, chains):
                total = e.add(total, sums[f"sum{r}.{j}.{chain}"], "total")
            e.store(total, e.address(results, r * self.width + j * e.vector.width))

    def _emit_dots(self, depth: int, e: Emitter, matrix: Value, results: Value, rows: list[Value]) -> None:
        """Whole vectors of some lines times those of each row; then the lanes of every product are summed."""
        lines = min(self.tile.lines if len(rows) > 1 else _INDEPENDENT, self.width)
        whole = depth - depth % e.vector.width
        places = {f"sum{line}.{r}": (line, r) for r in range(len(rows)) for line in range(lines)}
        with e.loop(0, self.width, lines, "unit") as unit:
            first = e.address(matrix, e.mul_index(unit.index, depth), "lines")

            def turn(k: Index, lanes: int, sums: dict[str, Value]) -> dict[str, Value]:
                vectors = [e.load_first(e.address(row, k), lanes, "element") for row in rows]
                at = [e.address(first, e.add_index(k, line * depth)) for line in range(lines)]
                weights = [e.load_first(place, lanes, "weight") for place in at]
                return {key: e.fma(weights[line], vectors[r], sums[key], "sum") for key, (line, r) in places.items()}

            with e.loop(0, whole, e.vector.width, "k", dict.fromkeys(places, e.constant(0.0))) as loop:
                loop.carry(turn(loop.index, e.vector.width, dict(loop.values)))
            sums = turn(whole, depth - whole, dict(loop.values)) if whole < depth else dict(loop.values)
            for r in range(len(rows)):
                place = e.add_index(unit.index, r * self.width)
                own = [sums[f"sum{line}.{r}"] for line in range(lines)]
                count = min(lines, e.vector.width, max(1, _SHUFFLED_BYTES // e.vector.element_bytes))
                for number, total in _sums_of_lanes(e, own, count):
                    e.with_width(count).store(total, e.address(results, e.add_index(place, number)))


def _sums_of_lanes(e: Emitter, vectors: Sequence[Value], count: int) -> Iterator[tuple[int, Value]]:
    """The sum of the lanes of each vector: vectors of `count` such sums, each with the number of its first one.

    In each round the even and the odd lanes of two vectors are added to make one. After the last round each part of
    `count` lanes has one number for each of `count` vectors, and the parts are added.
    """
    for first in range(0, len(vectors), count):
        own = list(vectors[first : first + count])
        while len(own) > 1:
            own = [_neighbours_added(e, a, b, count) for a, b in zip(own[::2], own[1::2], strict=True)]
        yield first, e.fold_lanes(own[0], count)


def _neighbours_added(e: Emitter, a: Value, b: Value, part: int) -> Value:
    """In each part of so many lanes: sums of neighbours, first those of `a`, then those of `b`."""
    lanes = e.vector.width
    even = [
        start + lane + other for start in range(0, lanes, part) for other in (0, lanes) for lane in range(0, part, 2)
    ]
    return e.add(e.choose(a, b, even), e.choose(a, b, [lane + 1 for lane in even]), "neighbours")
