"""Emits the products of one tile: every sum is held in a register while the operands go by."""

from collections.abc import Iterator, Sequence
from itertools import groupby, product

from gatewright.backends.llvm.buffers import Cursor, Memory
from gatewright.backends.llvm.emitter import Emitter, Index
from gatewright.backends.llvm.panels import Panel
from gatewright.backends.llvm.tiles import Tile
from gatewright.backends.llvm.vector_type import Value

UNROLL = 4
Sums = dict[tuple[int, int, int], Value]
"""The sum of each product, row and block of a tile."""
_Key = tuple[int, int, int, int]
"""A partial sum: product, row, block, and one of the chains that take turns."""


class Accumulator:
    """Emits the products of a stage, tile by tile."""

    def __init__(self, emitter: Emitter, memory: Memory, tile: Tile, panels: Sequence[Panel]) -> None:
        self.emitter, self.memory, self.tile, self.panels = emitter, memory, tile, panels

    def sums(self, group: Value, cursors: Sequence[Cursor]) -> Sums:
        """All sums for a group of blocks and some rows: bundle after bundle, so that there are registers for each."""
        found: Sums = {}
        for _, panels in groupby(self.panels, key=lambda panel: panel.bundle):
            found |= self._bundle(list(panels), group, cursors)
        return found

    def _bundle(self, panels: Sequence[Panel], group: Value, cursors: Sequence[Cursor]) -> Sums:
        products = sorted({part.product for panel in panels for part in panel.parts})
        tile, zero = self.tile, self.emitter.constant(0.0)
        places = list(product(products, range(tile.rows), range(tile.blocks)))
        partial: dict[_Key, Value] = {(*place, chain): zero for place in places for chain in range(tile.chains)}
        for panel in panels:
            partial |= self._walk(panel, group, cursors, partial)
        total: Sums = {place: partial[(*place, 0)] for place in places}
        for place, chain in product(places, range(1, tile.chains)):
            total[place] = self.emitter.add(total[place], partial[(*place, chain)])
        return total

    def _walk(
        self, panel: Panel, group: Value, cursors: Sequence[Cursor], partial: dict[_Key, Value]
    ) -> dict[_Key, Value]:
        """Multiply one vector with its panel, adding to the sums; those that it adds to are given back."""
        e, tile = self.emitter, self.tile
        base = e.address(self.memory.pointer(panel.key), e.mul_index(group, panel.depth * panel.step), "panel")
        rows = [self.memory.of(panel.vector, cursor, 0) for cursor in cursors]
        products = {part.product for part in panel.parts}
        names = {key: f"sum{'.'.join(map(str, key))}" for key in partial if key[0] in products}
        current = {key: partial[key] for key in names}
        whole = panel.depth - panel.depth % UNROLL
        if whole:
            with e.loop(0, whole, UNROLL, "k", {name: current[key] for key, name in names.items()}) as loop:
                current = {key: loop.values[name] for key, name in names.items()}
                for u in range(UNROLL):
                    k = e.add_index(loop.index, u)
                    current |= self._multiply(panel, base, rows, k, u % tile.chains, current)
                loop.carry({name: current[key] for key, name in names.items()})
            current = {key: loop.values[name] for key, name in names.items()}
        for k in range(whole, panel.depth):
            current |= self._multiply(panel, base, rows, k, k % tile.chains, current)
        return current

    def _multiply(
        self, panel: Panel, base: Value, rows: list[Value], k: Index, chain: int, partial: dict[_Key, Value]
    ) -> Iterator[tuple[_Key, Value]]:
        """One element of the vector times one column of each matrix, added to one chain of the sums."""
        e = self.emitter
        weights = e.address(base, e.mul_index(k, panel.step), "weights")
        loaded = {
            (part.product, j): e.load(e.address(weights, (position * panel.blocks + j) * panel.lanes), "weight")
            for position, part in enumerate(panel.parts)
            for j in range(self.tile.blocks)
        }
        for r, row in enumerate(rows):
            element = e.broadcast(e.address(row, k), "element")
            for (p, j), weight in loaded.items():
                key = (p, r, j, chain)
                yield key, e.fma(element, weight, partial[key], "sum")
