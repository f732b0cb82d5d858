"""The tiles of kernels of stages: how many rows, features and terms of a sum a program takes at a time, and its warps.

The rules follow from what a program must read and hold, not from trials: see docs/gpu.md.
"""

from collections.abc import Mapping
from dataclasses import replace
from itertools import product as combinations

from torch import Tensor

from gatewright.backends.triton.chips import KIB, Chip
from gatewright.backends.triton.kernel_text import Argument, ArgumentKind
from gatewright.backends.triton.resources import LaunchOptions
from gatewright.backends.triton.stage_kernel import StageGroup
from gatewright.backends.triton.value_places import copied_place, place_of
from gatewright.backends.triton.writer import padded
from gatewright.schedule.program import Program
from gatewright.trace.ir import Var

ELEMENTS_OF_A_THREAD = 4
"""Of each value: one access of 16 bytes in float32. A gradient's stage has about 40 values alive: 160 registers."""
STAGING_BYTES = 96 * KIB
"""Of shared memory for the pieces of a product that are under way: enough to keep loads waiting for nothing but memory,
and little enough for every chip but AMD's."""
ROWS = (16, 32, 64)
FEATURES: Mapping[str, tuple[int, ...]] = {"cuda": (8, 16, 32, 64), "hip": (16, 32, 64)}
"""Sides of the tiles of products: matrix instructions take 16 rows, and 8 features (AMD's: 16)."""
ROWS_OF_SYNCHRONOUS_PRODUCTS = 32
"""The most rows of a tile on chips that multiply 64 asynchronously. Versions of Triton (3.4 to 3.8 among them) do that
wrongly: on sm_90 warps overwrite operands that others still multiply, if there are more than four (triton-lang/triton
#11047), and on sm_100 two products of one loop that go into one sum are wrong (#10821)."""


def grid_of(tile: LaunchOptions, group: StageGroup, sizes: Mapping[str, int], rows: int) -> tuple[int, int]:
    """The number of tiles of rows, and of tiles of features."""
    widest = max((sizes[axis] for axis in group.axes()), default=1)
    return -(-rows // tile.constants["BM"]), 1 if group.whole else -(-widest // tile.constants["BN"])


def elementwise_tile(group: StageGroup, sizes: Mapping[str, int], rows: int) -> LaunchOptions:
    """The tile of a kernel without products of its own."""
    widest = max((padded(sizes[axis]) for axis in group.axes()), default=1)
    features = widest if group.whole else min(widest, 128)
    elements = 128 * ELEMENTS_OF_A_THREAD
    warps = 4 if features <= elements else 8 if features <= 2 * elements else 16
    height = max(min(elements // features, 1 << (rows - 1).bit_length()), 1)
    return LaunchOptions({"BM": height, "BN": features}, warps)


def product_tile(
    group: StageGroup, sizes: Mapping[str, int], rows: int, bytes_of: Mapping[str, int], chip: Chip
) -> LaunchOptions:
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
        waves = -(-programs // chip.processors)
        return waves * (min(height, rows) * a_row + min(width, units) * a_unit), programs

    possible = [
        (height, width)
        for height, width in combinations(ROWS, _features(chip))
        if height * width <= 256 * ELEMENTS_OF_A_THREAD
        and height < 2 * max(rows, ROWS[0])
        and not (chip.multiplies_asynchronously and height > ROWS_OF_SYNCHRONOUS_PRODUCTS)
    ]
    height, width = min(possible, key=cost)
    deepest = max(sizes[term.vector.shape[0]] for term, _ in terms)
    a_term = height * max(bytes_of[name] for name in vectors) * len(vectors)
    a_term += width * sum(bytes_of[term.matrix] for term, _ in terms)
    # The pipeline of loads needs some turns to fill. With 128 terms ptxas spills addresses of some kernels.
    depth = max(32, min(64, padded(deepest) // 4))
    staging = min(STAGING_BYTES, chip.shared_bytes * 3 // 4)
    while depth > 32 and 3 * depth * a_term > staging:
        depth //= 2
    stages = max(2, min(4, staging // (depth * a_term)))
    warps = 4 if height * width <= 128 * ELEMENTS_OF_A_THREAD else 8
    return LaunchOptions({"BM": height, "BN": width, "BK": depth}, warps, stages)


def _features(chip: Chip) -> tuple[int, ...]:
    """The widths of tiles. Triton 3.4, which torch 2.8 brings, multiplies by no fewer than 16 features."""
    import triton  # pyright: ignore[reportMissingTypeStubs]

    least = 16 if triton.__version__.startswith("3.4.") else 1
    return tuple(width for width in FEATURES[chip.backend] if width >= least)


def step_tile(
    program: Program,
    group: StageGroup,
    sizes: Mapping[str, int],
    arrays: Mapping[Argument, Tensor],
    batch: int,
    chip: Chip,
) -> LaunchOptions:
    """The tile of a kernel of one step, for the arrays that it is to run on."""
    if not group.products:
        tile = elementwise_tile(group, sizes, batch)
        return replace(tile, constants={**tile.constants, "BK": 16})
    bytes_of: dict[str, int] = {}
    for term in (term for product in group.products for term in product.terms):
        bytes_of[term.matrix] = arrays[Argument(ArgumentKind.SHARED, term.matrix)].element_size()
        bytes_of[term.vector.name] = vector_array(program, term.vector, arrays).element_size()
    return product_tile(group, sizes, batch, bytes_of, chip)


def vector_array(program: Program, vector: Var, arrays: Mapping[Argument, Tensor]) -> Tensor:
    """The array from which products read a vector."""
    place = place_of(program, vector.name)
    copy = arrays.get(copied_place(place).argument)
    return arrays[place.argument] if copy is None else copy
