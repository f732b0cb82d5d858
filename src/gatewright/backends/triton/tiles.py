"""The tiles of kernels of stages: how many rows, features and terms of a sum a program takes at a time, and its warps.

The rules follow from what a program must read and hold, not from trials: see docs/gpu.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product as combinations
from typing import Any

from torch import Tensor

from gatewright.backends.triton.chips import KIB, Chip
from gatewright.backends.triton.kernel_text import Argument, ArgumentKind
from gatewright.backends.triton.resources import launch_options
from gatewright.backends.triton.stage_kernel import StageGroup, place_of
from gatewright.backends.triton.writer import padded
from gatewright.schedule.program import Program

PROCESSORS = 132
"""Of an H100 or H200. Other chips have 78 to 160: there the rule still spreads the work, if less evenly."""
ELEMENTS_OF_A_THREAD = 4
"""Of each value: one access of 16 bytes in float32. A gradient's stage has about 40 values alive: 160 registers."""
STAGING_BYTES = 96 * KIB
"""Of shared memory for the pieces of a product that are under way: enough to keep loads waiting for nothing but memory,
and little enough for every chip but AMD's."""
ROWS = (16, 32, 64)
FEATURES: Mapping[str, tuple[int, ...]] = {"cuda": (8, 16, 32, 64), "hip": (16, 32, 64)}
"""Sides of the tiles of products: matrix instructions take 16 rows, and 8 features (AMD's: 16)."""


@dataclass(frozen=True, slots=True)
class LaunchTile:
    """Of one kernel: rows (BM), features (BN), terms of a sum at a time (BK), warps, and stages of the pipeline."""

    BM: int
    BN: int
    BK: int = 16
    num_warps: int = 4
    num_stages: int = 1

    def constants(self, *names: str) -> dict[str, Any]:
        """The parameters of a launch; `names` are the tile's constants that the kernel has."""
        return {name: getattr(self, name) for name in names} | launch_options(self.num_warps, self.num_stages)

    def grid(self, group: StageGroup, sizes: Mapping[str, int], rows: int) -> tuple[int, int]:
        """The number of tiles of rows, and of tiles of features."""
        widest = max((sizes[axis] for axis in group.axes()), default=1)
        return -(-rows // self.BM), 1 if group.whole else -(-widest // self.BN)


def elementwise_tile(group: StageGroup, sizes: Mapping[str, int], rows: int) -> LaunchTile:
    """The tile of a kernel without products of its own."""
    widest = max((padded(sizes[axis]) for axis in group.axes()), default=1)
    features = widest if group.whole else min(widest, 128)
    elements = 128 * ELEMENTS_OF_A_THREAD
    warps = 4 if features <= elements else 8 if features <= 2 * elements else 16
    height = max(min(elements // features, 1 << (rows - 1).bit_length()), 1)
    return LaunchTile(BM=height, BN=features, num_warps=warps)


def product_tile(
    group: StageGroup, sizes: Mapping[str, int], rows: int, bytes_of: Mapping[str, int], chip: Chip
) -> LaunchTile:
    """The tile of a kernel that accumulates products: the one whose busiest processor reads the fewest bytes.

    `bytes_of` gives the size of an element of every matrix and vector.
    """
    terms = [(term, product.target.shape[0]) for product in group.products for term in product.terms]
    units = max(sizes[axis] for _, axis in terms)
    vectors = {term.vector.name: sizes[term.vector.shape[0]] * bytes_of[term.vector.name] for term, _ in terms}
    a_row = sum(vectors.values())
    a_unit = sum(sizes[term.vector.shape[0]] * bytes_of[term.matrix] for term, _ in terms)

    def cost(tile: tuple[int, int]) -> tuple[int, int]:
        height, width = tile
        programs = -(-rows // height) * -(-units // width)
        waves = -(-programs // PROCESSORS)
        return waves * (min(height, rows) * a_row + min(width, units) * a_unit), programs

    possible = [
        (height, width)
        for height, width in combinations(ROWS, FEATURES[chip.backend])
        if height * width <= 256 * ELEMENTS_OF_A_THREAD and height < 2 * max(rows, ROWS[0])
    ]
    height, width = min(possible, key=cost)
    deepest = max(sizes[term.vector.shape[0]] for term, _ in terms)
    a_term = height * max(bytes_of[name] for name in vectors) * len(vectors)
    a_term += width * sum(bytes_of[term.matrix] for term, _ in terms)
    depth = max(32, min(128, padded(deepest) // 4))  # the pipeline of loads needs some turns to fill
    staging = min(STAGING_BYTES, chip.shared_bytes * 3 // 4)
    while depth > 32 and 3 * depth * a_term > staging:
        depth //= 2
    stages = max(2, min(4, staging // (depth * a_term)))
    return LaunchTile(height, width, depth, 4 if height * width <= 128 * ELEMENTS_OF_A_THREAD else 8, stages)


def step_tile(
    program: Program,
    group: StageGroup,
    sizes: Mapping[str, int],
    arrays: Mapping[Argument, Tensor],
    batch: int,
    chip: Chip,
) -> LaunchTile:
    """The tile of a kernel of one step, for the arrays that it is to run on."""
    if not group.products:
        return elementwise_tile(group, sizes, batch)
    bytes_of: dict[str, int] = {}
    for term in (term for product in group.products for term in product.terms):
        bytes_of[term.matrix] = arrays[Argument(ArgumentKind.SHARED, term.matrix)].element_size()
        bytes_of[term.vector.name] = arrays[place_of(program, term.vector.name).argument].element_size()
    return product_tile(group, sizes, batch, bytes_of, chip)
