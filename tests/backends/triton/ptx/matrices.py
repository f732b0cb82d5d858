"""Instructions of a whole warp on tiles of matrices: products, and how operands come from shared memory."""

from collections.abc import Sequence

import numpy as np

from tests.backends.triton.ptx.machine import LANES, Warp
from tests.backends.triton.ptx.operands import Operands, Read, Run, lanes, listed

GROUP, WITHIN = LANES >> 2, LANES & 3
"""Of a lane: the row of a tile that it has a part of, and its place in that row."""
KEPT_BITS = np.uint32(0xFFFFE000)
"""Of a float32 number in tf32: tensor cores ignore the others."""


def matrix_instruction(parts: Sequence[str], operands: Sequence[str], names: Operands) -> Run:
    """mma.sync, ldmatrix or stmatrix."""
    if parts[0] == "mma":
        return _product(parts, operands, names)
    is_transposed = "trans" in parts
    if parts[0] == "ldmatrix":
        return _load_tiles(operands, names, is_transposed=is_transposed)
    return _store_tiles(operands, names, is_transposed=is_transposed)


def _load_tiles(operands: Sequence[str], names: Operands, *, is_transposed: bool) -> Run:
    """Tiles of 8 x 8 numbers of 16 bits; each eight lanes give the addresses of the rows of one."""
    writes, address = [names.write(name) for name in listed(operands[0])], names.address(operands[1])

    def run(warp: Warp) -> None:
        active = 8 * len(writes) > LANES
        tiles = warp.program.load(warp, "shared", address(warp), active, 16).view(np.uint16).reshape(4, 8, 8)
        for write, tile in zip(writes, tiles[: len(writes)], strict=True):
            own = np.ascontiguousarray(tile.T if is_transposed else tile)
            write(warp, own.view(np.uint32).reshape(32))

    return run


def _store_tiles(operands: Sequence[str], names: Operands, *, is_transposed: bool) -> Run:
    address, reads = names.address(operands[0]), [names.read(name, "b32") for name in listed(operands[1])]

    def run(warp: Warp) -> None:
        rows = np.zeros((4, 8, 8), np.uint16)
        for place, read in enumerate(reads):
            tile = np.ascontiguousarray(lanes(read(warp))).view(np.uint16).reshape(8, 8)
            rows[place] = tile.T if is_transposed else tile
        active = 8 * len(reads) > LANES
        warp.program.store(warp, "shared", address(warp), active, rows.reshape(32, 8).view(np.uint8))

    return run


def _product(parts: Sequence[str], operands: Sequence[str], names: Operands) -> Run:
    """16 x k times k x 8, added to 16 x 8 float32 numbers."""
    depth, kind = int(next(part for part in parts if part.startswith("m16n8k"))[6:]), parts[-2]
    writes = [names.write(name) for name in listed(operands[0])]
    lefts, rights = ([names.read(name, "b32") for name in listed(group)] for group in operands[1:3])
    sums = [names.read(name, "f32") for name in listed(operands[3])]

    def run(warp: Warp) -> None:
        left, right = np.zeros((16, depth)), np.zeros((8, depth))
        for place, read in enumerate(lefts):
            _place(left[8 * (place & 1) :], place >> 1, read, kind, warp)
        for place, read in enumerate(rights):
            _place(right, place, read, kind, warp)
        with np.errstate(all="ignore"):
            product = left @ right.T
            for place, (write, total) in enumerate(zip(writes, sums, strict=True)):
                own = product[GROUP + 8 * (place >> 1), 2 * WITHIN + (place & 1)]
                write(warp, (lanes(total(warp)) + own).astype(np.float32))

    return run


def _place(tile: np.ndarray, half: int, read: Read, kind: str, warp: Warp) -> None:
    """The numbers of a register in a tile: four to a row in tf32, eight in 16 bits."""
    bits = np.ascontiguousarray(lanes(read(warp)))
    if kind == "tf32":
        tile[GROUP, WITHIN + 4 * half] = (bits & KEPT_BITS).view(np.float32)
        return
    pairs = bits.view(np.uint16).reshape(32, 2)
    numbers = (pairs.astype(np.uint32) << np.uint32(16)).view(np.float32) if kind == "bf16" else pairs.view(np.float16)
    for place in range(2):
        tile[GROUP, 2 * WITHIN + place + 8 * half] = numbers[:, place]
