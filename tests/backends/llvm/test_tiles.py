"""Register tiles: what the model of a core chooses for few rows and for many."""

import pytest

from gatewright.backends.llvm.codegen.tiles import UNROLL, TileWork, choose

REGISTERS, VECTOR_BYTES = 32, 64


@pytest.mark.parametrize("products", [1, 2, 3, 4])
def test_one_row_streams_a_large_matrix_in_few_ascending_lines(products: int) -> None:
    tile = choose(TileWork(products, depth=512, blocks=32, rows=1), REGISTERS, VECTOR_BYTES)
    assert tile.unroll == tile.chains
    assert tile.blocks * products <= 8


@pytest.mark.parametrize(
    ("products", "depth", "blocks"), [(3, 128, 1), (1, 96, 4), (1, 128, 8), (3, 256, 2), (1, 384, 8), (4, 128, 2)]
)
def test_one_row_takes_groups_that_stay_in_the_first_cache_where_several_sums_fit(
    products: int, depth: int, blocks: int
) -> None:
    assert choose(TileWork(products, depth, blocks=8, rows=1), REGISTERS, VECTOR_BYTES).blocks == blocks


@pytest.mark.parametrize("rows", [2, 3, 4])
def test_few_rows_do_not_unroll_what_they_stream(rows: int) -> None:
    tile = choose(TileWork(3, depth=512, blocks=32, rows=rows), REGISTERS, VECTOR_BYTES)
    assert tile.unroll == tile.chains


@pytest.mark.parametrize(("rows", "depth"), [(64, 512), (1, 16)], ids=["many rows", "a matrix in the first cache"])
def test_what_is_not_streamed_is_unrolled(rows: int, depth: int) -> None:
    assert choose(TileWork(3, depth=depth, blocks=4, rows=rows), REGISTERS, VECTOR_BYTES).unroll == UNROLL
