"""How a stage is cut into register tiles: rows x blocks of lanes x products, with every sum held in a vector register.

The choice follows a small model of a core: two fused multiply-adds and two loads a cycle, four cycles until a sum can
be added to again, and a bandwidth for what does not fit the first cache.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from math import ceil

FMA_PER_CYCLE = 2
LOADS_PER_CYCLE = 2
FMA_LATENCY = 4  # times FMA_PER_CYCLE: this many independent sums keep both units busy, hence _CHAINS for small tiles
L1_BYTES = 32 * 1024
L2_BYTES_PER_CYCLE = 40
OVERLAP = 0.3  # the share of loading that is not hidden behind arithmetic
_FEWEST_ROWS = 4  # a weight that was loaded is used once for each row: with fewer rows, loads are the bottleneck
_ROWS = (1, 2, 3, 4, 5, 6, 8)
_BLOCKS = (1, 2, 3, 4, 6, 8)
_CHAINS = (1, 2, 4)
UNROLL = 4
"""Elements of the vector in one turn of the inner loop: a multiple of every number of chains, so that element k always
goes to chain k % chains."""
_STREAMED_ROWS = 4  # up to so many rows, reading the matrix is the bottleneck where it does not fit the first cache
_STREAMED_VECTORS = 8  # that one row reads in a turn; more lines in flight were slower on every processor measured
_FEWEST_STREAMED_VECTORS = 3  # with fewer sums, their latency is the bottleneck
_KEPT_BYTES = L1_BYTES * 3 // 4  # the rest is for states, inputs and gates


@dataclass(frozen=True, slots=True)
class Tile:
    """One tile: `rows` x `blocks` vectors for each product; each sum is split into `chains` partial ones. One turn of
    the inner loop takes `unroll` elements of the vector."""

    rows: int
    blocks: int
    chains: int = 1
    unroll: int = UNROLL

    def registers(self, products: int) -> int:
        """Vector registers in the inner loop: sums, one set of weights, one broadcast."""
        return _registers(self.rows, self.blocks, self.chains, products)


def _registers(rows: int, blocks: int, chains: int, products: int) -> int:
    return rows * blocks * products * chains + blocks * products + 1


@dataclass(frozen=True, slots=True)
class TileWork:
    """What a tile is chosen for."""

    products: int  # sums that are accumulated at the same time
    depth: int  # how many numbers are added into each: the width of the operand, over all operands
    blocks: int  # vectors along the units
    rows: int  # rows at hand


def bundle(products: int, registers: int) -> int:
    """How many products are accumulated at the same time: so few that there is room for some rows of each."""
    most = max(1, (registers - 1) // (_FEWEST_ROWS + 1))
    return ceil(products / max(1, ceil(products / most)))


@lru_cache(maxsize=1024)
def choose(work: TileWork, registers: int, vector_bytes: int) -> Tile:
    """The tile that the model finds fastest; the smallest of equals, since it is code that must be compiled."""
    tiles = _candidates(work, registers)
    tile = min(tiles, key=lambda tile: (_cycles(tile, work, vector_bytes), tile.rows * tile.blocks * tile.chains))
    if work.rows > _STREAMED_ROWS or _fits_first_cache(tile, work, vector_bytes):
        return tile
    # Prefetchers follow a few ascending streams. A turn of several elements reads as many streams, far apart.
    blocks = _streamed_blocks(tile.blocks, work, vector_bytes) if work.rows == 1 else tile.blocks
    return replace(tile, blocks=blocks, unroll=tile.chains)


def _streamed_blocks(most: int, work: TileWork, vector_bytes: int) -> int:
    """How many blocks one row takes at a time from a matrix that is larger than the first cache."""
    blocks = min(most, max(1, _STREAMED_VECTORS // work.products))
    # A step begins with the group that ended the step before. Where it is still in the first cache, it is read faster.
    kept = _KEPT_BYTES // (work.products * work.depth * vector_bytes)
    if blocks <= kept:
        return blocks
    # groups of equal size only: where blocks are left over, the last group would read padding
    smaller = (count for count in range(kept, 0, -1) if work.blocks % count == 0)
    count = next(smaller, blocks)
    return count if count * work.products >= _FEWEST_STREAMED_VECTORS else blocks


def _candidates(work: TileWork, registers: int) -> Iterator[Tile]:
    yield Tile(1, 1, 1)
    for rows in (r for r in _ROWS if r <= work.rows):
        for blocks in (b for b in _BLOCKS if b <= work.blocks):
            for chains in (c for c in _CHAINS if c <= work.depth):
                # sums that do not fit the registers would be spilled in the inner loop
                if _registers(rows, blocks, chains, work.products) <= registers:
                    yield Tile(rows, blocks, chains)


def _cycles(tile: Tile, work: TileWork, vector_bytes: int) -> float:
    """Cycles for one whole stage of one step."""
    vectors = tile.blocks * work.products
    multiply = tile.rows * vectors / FMA_PER_CYCLE
    load = (tile.rows + vectors) / LOADS_PER_CYCLE
    wait = FMA_LATENCY / tile.chains
    panel = vectors * vector_bytes
    stream = 0.0 if _fits_first_cache(tile, work, vector_bytes) else panel / L2_BYTES_PER_CYCLE
    # what is not the bottleneck is not hidden altogether either
    inner = max(multiply, load, wait, stream) + OVERLAP * (load + stream)
    return inner * work.depth * ceil(work.blocks / tile.blocks) * ceil(work.rows / tile.rows)


def _fits_first_cache(tile: Tile, work: TileWork, vector_bytes: int) -> bool:
    """Whether the matrices stay in the first cache from one step to the next."""
    panel = tile.blocks * work.products * vector_bytes
    return panel * work.depth * ceil(work.blocks / tile.blocks) <= L1_BYTES
