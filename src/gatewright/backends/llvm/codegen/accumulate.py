"""Emits the products of one tile: every sum is held in a register while the operands go by."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, product
from math import ceil

from gatewright.backends.llvm.codegen.buffers import Cursor, Memory
from gatewright.backends.llvm.codegen.panels import Panel
from gatewright.backends.llvm.codegen.tiles import Tile
from gatewright.backends.llvm.emit import bfloat16, int8
from gatewright.backends.llvm.emit.emitter import Emitter, Index
from gatewright.backends.llvm.emit.vector_type import Value

Sums = dict[tuple[int, int, int], Value]
"""The sum of each product, row and block of a tile."""
_Key = tuple[int, int, int, int]
"""A partial sum: product, row, block, and one of the chains that take turns."""


_CHAIN = 1024
"""How many elements of a vector are added up before the sum is added to that of the elements before them. The rounding
errors of one long chain grow with its length: over 10,000 elements they are six times as large. A sum of at most two
such pieces is one chain."""


class Accumulator:
    """Emits the products of a stage, tile by tile."""

    def __init__(self, emitter: Emitter, memory: Memory, tile: Tile, panels: Sequence[Panel]) -> None:
        self.emitter, self.memory, self.tile, self.panels = emitter, memory, tile, panels

    def sums(self, group: Value, cursors: Sequence[Cursor], meanwhile: Callable[[Index], None]) -> Sums:
        """All sums for a group of blocks and some rows: bundle after bundle, so that there are registers for each.

        While the first panel goes by, `meanwhile` emits something else for each row.
        """
        sums: Sums = {}
        self._meanwhile = meanwhile
        for _, panels in groupby(self.panels, key=lambda panel: panel.bundle):
            sums |= self._bundle(list(panels), group, cursors)
        return sums

    def sums_beside(
        self, group: Value, cursors: Sequence[Cursor], meanwhile: Callable[[Index], None], other: "SumsBeside"
    ) -> tuple[Sums, Sums]:
        """The sums of a tile, and in the same loop what is added to those of another stage's tile.

        Both stages have one panel, and sums of one chain: each is added up in the order of `sums`.
        """
        e, beside, ratio = self.emitter, other.accumulator, other.ratio
        meanwhile(0)
        own = self._walk_of(self.panels[0], self.memory.pointer(self.panels[0].key), group, cursors, "sum")
        ahead = beside._walk_of(beside.panels[0], other.pointer, other.group, other.cursors, "ahead")
        depth, (start, stop) = own.panel.depth, other.span
        turns = e.smaller_index(e.add_index(stop, e.mul_index(start, -1)), depth // ratio, "turns")
        own_sums = dict.fromkeys(own.names, e.constant(0.0))
        ahead_sums: dict[_Key, Value] = {(*place, 0): value for place, value in other.sums.items()}
        with e.loop(0, turns, 1, "turn", {**own.named(own_sums), **ahead.named(ahead_sums)}) as loop:
            own_sums, ahead_sums = own.keyed(loop.values), ahead.keyed(loop.values)
            for element in range(ratio):
                k = e.add_index(e.mul_index(loop.index, ratio), element)
                own_sums |= self._multiply(own, k, 0, own_sums)
            ahead_sums |= beside._multiply(ahead, e.add_index(loop.index, start), 0, ahead_sums)
            loop.carry({**own.named(own_sums), **ahead.named(ahead_sums)})
        own_sums = self._one_by_one(own, (e.mul_index(turns, ratio), depth), own.keyed(loop.values))
        ahead_sums = beside._one_by_one(ahead, (e.add_index(start, turns), stop), ahead.keyed(loop.values))
        return _without_chain(own_sums), _without_chain(ahead_sums)

    def _one_by_one(self, walk: "_Walk", span: tuple[Index, Index], current: dict[_Key, Value]) -> dict[_Key, Value]:
        """Some elements of the vector, one in a turn."""
        with self.emitter.loop(*span, 1, "k", walk.named(current)) as loop:
            current = walk.keyed(loop.values)
            current |= self._multiply(walk, loop.index, 0, current)
            loop.carry(walk.named(current))
        return walk.keyed(loop.values)

    def _walk_of(self, panel: Panel, pointer: Value, group: Value, cursors: Sequence[Cursor], name: str) -> "_Walk":
        """The walk through a panel of one chain."""
        e, tile = self.emitter, self.tile
        base = e.address(pointer, e.mul_index(group, panel.length * panel.step), "panel")
        keys = product(sorted({part.product for part in panel.parts}), range(tile.rows), range(tile.blocks), (0,))
        rows = [operand_of(e, self.memory, panel, cursor) for cursor in cursors]
        return _Walk(panel, base, rows, {key: f"{name}{'.'.join(map(str, key))}" for key in keys})

    @staticmethod
    def is_one_chain(depth: int) -> bool:
        """Whether so many elements are added up without a sum in between."""
        return depth <= 2 * _CHAIN

    def _bundle(self, panels: Sequence[Panel], group: Value, cursors: Sequence[Cursor]) -> Sums:
        products = sorted({part.product for panel in panels for part in panel.parts})
        tile, zero = self.tile, self.emitter.constant(0.0)
        places = list(product(products, range(tile.rows), range(tile.blocks)))
        partial: dict[_Key, Value] = {(*place, chain): zero for place in places for chain in range(tile.chains)}
        for panel in panels:
            partial |= self._walk(panel, group, cursors, partial)
        total: Sums = {place: partial[(*place, 0)] for place in places}
        # in a fixed order, so that one kernel always gives the same bits
        for place, chain in product(places, range(1, tile.chains)):
            total[place] = self.emitter.add(total[place], partial[(*place, chain)])
        return total

    def _walk(
        self, panel: Panel, group: Value, cursors: Sequence[Cursor], partial: dict[_Key, Value]
    ) -> dict[_Key, Value]:
        """Multiply one vector with its panel, adding to the sums; those that it adds to are given back."""
        e = self.emitter
        base = e.address(self.memory.pointer(panel.key), e.mul_index(group, panel.length * panel.step), "panel")
        rows = [operand_of(e, self.memory, panel, cursor) for cursor in cursors]
        products = {part.product for part in panel.parts}
        walk = _Walk(panel, base, rows, {key: f"sum{'.'.join(map(str, key))}" for key in partial if key[0] in products})
        if panel.has_whole_numbers:  # their sums are whole numbers too, and have a scale of their own
            current = self._elements(walk, dict.fromkeys(walk.names, e.bits(0.0)))
            return self._scaled(walk, current, partial)
        return self._elements(walk, {key: partial[key] for key in walk.names})

    def _elements(self, walk: "_Walk", current: dict[_Key, Value]) -> dict[_Key, Value]:
        """All elements of the vector, or all words."""
        tile, panel = self.tile, walk.panel
        turns = panel.depth // 2 if panel.has_pairs else panel.words  # without a pair of which one number is padding
        whole = turns - turns % tile.unroll
        if whole and (panel is self.panels[0] or self._is_long(walk, whole)):
            current = self._in_pieces(walk, whole, current)
        elif whole:
            current = self._range(walk, (0, whole), current)
        for k in range(whole, panel.words):  # a constant: few elements are left, without a loop
            current |= self._multiply(walk, k, k % tile.chains, current)
        return current

    def _is_long(self, walk: "_Walk", whole: int) -> bool:
        """Whether a sum is cut into several chains; sums of whole numbers are not rounded."""
        return whole > 2 * _CHAIN and not walk.panel.has_whole_numbers

    def _in_pieces(self, walk: "_Walk", whole: int, current: dict[_Key, Value]) -> dict[_Key, Value]:
        """A range from 0, cut into a piece for each row of the tile; into more where the range is long."""
        e, rows, unroll, is_long = self.emitter, self.tile.rows, self.tile.unroll, self._is_long(walk, whole)
        # one piece for each row spreads the prefetches of the rows over the time that the products take
        count = max(rows, ceil(whole / _CHAIN)) if is_long else rows
        piece = ceil(whole / unroll / count) * unroll
        with e.loop(0, count, 1, "piece", walk.named(current)) as loop:
            if walk.panel is self.panels[0]:
                self._meanwhile(e.smaller_index(loop.index, rows - 1) if count > rows else loop.index)
            start = e.mul_index(loop.index, piece)
            end = e.add_index(start, piece)
            if piece * count > whole:
                end = e.smaller_index(end, whole)
            before = walk.keyed(loop.values)
            if is_long:
                # The sums so far leave the registers for the inner loop, once in a thousand elements.
                own = self._range(walk, (start, end), dict.fromkeys(before, e.constant(0.0)))
                loop.carry(walk.named({key: e.add(before[key], total) for key, total in own.items()}))
            else:
                loop.carry(walk.named(self._range(walk, (start, end), before)))
        return walk.keyed(loop.values)

    def _range(self, walk: "_Walk", span: tuple[Index, Index], current: dict[_Key, Value]) -> dict[_Key, Value]:
        """Some elements of the vector, several in a turn."""
        e, unroll = self.emitter, self.tile.unroll
        with e.loop(*span, unroll, "k", walk.named(current)) as loop:
            current = walk.keyed(loop.values)
            for u in range(unroll):
                current |= self._multiply(walk, e.add_index(loop.index, u), u % self.tile.chains, current)
            loop.carry(walk.named(current))
        return walk.keyed(loop.values)

    def _multiply(
        self, walk: "_Walk", k: Index, chain: int, partial: dict[_Key, Value]
    ) -> Iterator[tuple[_Key, Value]]:
        """One element of the vector times one column of each matrix, added to one chain of the sums; or two elements,
        where there are pairs, and four, where there are whole numbers."""
        e, panel = self.emitter, walk.panel
        weights = e.address(walk.base, e.mul_index(k, panel.step), "weights")
        loaded = {
            (part.product, j): e.load(e.address(weights, (position * panel.blocks + j) * panel.lanes), "weight")
            for position, part in enumerate(panel.parts)
            for j in range(self.tile.blocks)
        }
        if panel.has_pairs and panel.operand is None:
            yield from self._multiply_widened(walk, k, chain, partial, loaded)
            return
        for r, row in enumerate(walk.rows):
            element = e.broadcast(e.address(row, k), "element")
            for (p, j), weight in loaded.items():
                key = (p, r, j, chain)
                if panel.has_whole_numbers:
                    yield key, int8.dot(e, weight, element, partial[key], native=panel.has_dot, name="sum")
                elif panel.operand is None:
                    yield key, e.fma(element, weight, partial[key], "sum")
                else:
                    yield key, bfloat16.dot(e, weight, element, partial[key], "sum")

    def _scaled(self, walk: "_Walk", whole: dict[_Key, Value], partial: Mapping[_Key, Value]) -> dict[_Key, Value]:
        """Sums of whole numbers, without what the offset adds to them and with both scales, added to other sums."""
        e, panel, sums = self.emitter, walk.panel, dict[_Key, Value]()
        scales = e.address(walk.base, panel.words * panel.step)
        offsets = e.address(walk.base, (panel.words + 1) * panel.step)
        own = [e.broadcast(e.address(row, panel.words), "own_scale") for row in walk.rows]
        for (position, part), j in product(enumerate(panel.parts), range(self.tile.blocks)):
            place = (position * panel.blocks + j) * panel.lanes
            scale, offset = (e.load(e.address(line, place)) for line in (scales, offsets))
            negative = e.mul_bits(e.bits(offset), -1)
            for r, row_scale in enumerate(own):
                total = negative
                for chain in range(self.tile.chains):
                    total = e.add_bits(total, whole[part.product, r, j, chain])
                key = (part.product, r, j, 0)
                sums[key] = e.add(partial[key], e.mul(e.from_whole(total), e.mul(row_scale, scale)), "sum")
        return sums

    def _multiply_widened(
        self, walk: "_Walk", k: Index, chain: int, partial: dict[_Key, Value], loaded: Mapping[tuple[int, int], Value]
    ) -> Iterator[tuple[_Key, Value]]:
        """Two elements of the vector times the two columns of each matrix that its words hold."""
        e, is_padded = self.emitter, isinstance(k, int) and 2 * k + 1 == walk.panel.depth
        columns = {place: bfloat16.widened(e, words) for place, words in loaded.items()}
        for r, row in enumerate(walk.rows):
            sums = {place: partial[place[0], r, place[1], chain] for place in loaded}
            for number in range(1 if is_padded else 2):
                element = e.broadcast(e.address(row, e.add_index(e.mul_index(k, 2), number)), "element")
                for place, own in columns.items():
                    sums[place] = e.fma(element, own[number], sums[place], "sum")
            yield from (((p, r, j, chain), total) for (p, j), total in sums.items())


@dataclass(frozen=True, slots=True)
class SumsBeside:
    """What is accumulated in the loop of a tile for a tile of another stage.

    The panel of its product begins at `pointer`; `span` are the elements of its vector, which are added to `sums`. One
    of them goes by with `ratio` elements of the loop's own vector.
    """

    accumulator: Accumulator
    pointer: Value
    group: Value
    cursors: Sequence[Cursor]
    span: tuple[Index, Index]
    sums: Sums
    ratio: int


def _without_chain(partial: Mapping[_Key, Value]) -> Sums:
    """Sums of one chain."""
    return {(number, row, block): total for (number, row, block, _), total in partial.items()}


def operand_of(e: Emitter, memory: Memory, panel: Panel, cursor: Cursor) -> Value:
    """Where the vector of a row lies that is multiplied by a panel: rounded to words, or as it is."""
    if panel.operand is None:
        return memory.of(panel.vector, cursor, 0)
    return e.with_width(1).address(memory.pointer(panel.operand), e.mul_index(cursor.row, panel.length))


@dataclass(frozen=True, slots=True)
class _Walk:
    """One vector that is being multiplied: its panel, where it begins for each row, and the sums that grow."""

    panel: Panel
    base: Value
    rows: list[Value]
    names: dict[_Key, str]

    def named(self, sums: dict[_Key, Value]) -> dict[str, Value]:
        """The sums as a loop carries them."""
        return {name: sums[key] for key, name in self.names.items()}

    def keyed(self, values: Mapping[str, Value]) -> dict[_Key, Value]:
        """The sums out of what a loop carries."""
        return {key: values[name] for key, name in self.names.items()}
