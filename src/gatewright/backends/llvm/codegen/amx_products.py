"""Products of bfloat16 numbers by AMX, for 16 rows at a time: all products of a stage go to memory, and from there to
the equations.

A panel is what `tdpbf16ps` takes for its right operand as it is: 16 words of each of 16 units. The rows that were
rounded to words are the left one. Both are padded with zeros to whole tiles of words.

A sum stays in one chain however long it is. The instruction adds up 32 products first, so a chain of 10,000 products
has 313 links, and its rounding errors stay below those of the vectors' chains of a thousand.
"""

from itertools import groupby

from gatewright.backends.llvm.codegen.accumulate import operand_of
from gatewright.backends.llvm.codegen.buffers import Cursor, Memory
from gatewright.backends.llvm.codegen.panels import Panel
from gatewright.backends.llvm.codegen.tiles import Tile
from gatewright.backends.llvm.emit.amx import TILE_ROWS, TILE_WORDS, TILES, AmxTiles
from gatewright.backends.llvm.emit.emitter import Emitter, Index
from gatewright.backends.llvm.emit.vector_type import Value
from gatewright.schedule.program import Stage

_SUMS = 4  # tiles 0 to 3
_ROWS = 4
_WEIGHTS = range(5, TILES)  # in turn, so that one can be loaded while another is multiplied
_INTERVAL, _LATENCY = 16, 52
"""Cycles from one `tdpbf16ps` to the next, and until its sums can be added to again, by Intel's manual."""
_WORD_BYTES = 4
_TILE_NUMBERS = TILE_ROWS * TILE_WORDS


def amx_bundle(products: int) -> int:
    """How many products are accumulated at the same time."""
    return -(-products // -(-products // _SUMS))


def amx_tile(bundle: int, blocks: int) -> Tile:
    """The tile for a stage of so many blocks of 16 units. More sums hide the latency, fewer need less padding."""

    def cycles(count: int) -> int:
        return -(-blocks // count) * max(_LATENCY, count * bundle * _INTERVAL)

    return Tile(TILE_ROWS, min(range(1, max(1, _SUMS // bundle) + 1), key=cycles))


class AmxProducts:
    """Emits the products of a stage for a group of blocks and 16 rows that follow one another."""

    def __init__(
        self, e: Emitter, memory: Memory, stage: Stage, tiles: AmxTiles, tile: Tile, panels: tuple[Panel, ...]
    ) -> None:
        self.blocks = tile.blocks
        self._e, self._memory, self._stage, self._tiles, self._panels = e, memory, stage, tiles, panels
        self._results: Value | None = None  # of each product and block: 16 rows of 16 numbers

    def prepare(self) -> None:
        """Reserve memory for the results, before the first loop."""
        count = len(self._stage.products) * self.blocks * _TILE_NUMBERS
        self._results = self._e.reserve_numbers(count, "products")

    def emit(self, group: Value, first: Cursor) -> None:
        """Emit all products of 16 rows, from `first` on."""
        for _, panels in groupby(self._panels, key=lambda panel: panel.bundle):
            self._bundle(list(panels), group, first)

    def load(self, row: Index, block: Index) -> dict[str, Value]:
        """Each product of a row with one block of units, by the name of its target."""
        e = self._e
        own = e.add_index(e.mul_index(block, _TILE_NUMBERS), e.mul_index(row, TILE_WORDS))
        return {
            product.target.name: e.load(self._result(number, own), product.target.name)
            for number, product in enumerate(self._stage.products)
        }

    def _bundle(self, panels: list[Panel], group: Value, first: Cursor) -> None:
        products = sorted({part.product for panel in panels for part in panel.parts})
        sums = {
            place: number for number, place in enumerate((p, block) for p in products for block in range(self.blocks))
        }
        for number in sums.values():
            self._tiles.zero(number)
        for panel in panels:
            self._multiply(panel, sums, group, first)
        for (product, block), number in sums.items():
            place = self._result(product, block * _TILE_NUMBERS)
            self._tiles.store(number, place, TILE_WORDS * _WORD_BYTES)

    def _multiply(self, panel: Panel, sums: dict[tuple[int, int], int], group: Value, first: Cursor) -> None:
        """Add the products of a panel and the words of its vector, 16 words in a turn."""
        e, tiles, memory = self._e, self._tiles, self._memory
        base = e.address(memory.pointer(panel.key), e.mul_index(group, panel.length * panel.step), "panel")
        rows = operand_of(e, memory, panel, first)
        with e.loop(0, panel.words, TILE_WORDS, "word") as word:
            tiles.load(_ROWS, e.address(rows, word.index), panel.length * _WORD_BYTES)
            line = e.address(base, e.mul_index(word.index, panel.step), "weights")
            places = [(position, part.product, block) for position, part in enumerate(panel.parts)
                      for block in range(self.blocks)]  # fmt: skip
            for turn, (position, product, block) in enumerate(places):
                weights = _WEIGHTS[turn % len(_WEIGHTS)]
                place = e.address(line, (position * panel.blocks + block) * panel.lanes)
                tiles.load(weights, place, panel.step * _WORD_BYTES)
                tiles.dot(sums[product, block], _ROWS, weights)

    def _result(self, product: int, place: Index) -> Value:
        assert self._results is not None
        return self._e.address(self._results, self._e.add_index(product * self.blocks * _TILE_NUMBERS, place))
