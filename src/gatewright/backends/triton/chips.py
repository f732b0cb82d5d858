"""The chips that kernels are compiled for, and what a program may take there."""

from dataclasses import dataclass
from typing import Literal

KIB = 1024


@dataclass(frozen=True, slots=True)
class Chip:
    """A kind of chip.

    - `architecture`: what the compiler calls it: 90 for sm_90, "gfx942".
    - `shared_bytes`: the shared memory that one program may take (CUDA C++ Programming Guide, table of compute
      capabilities; the CDNA 3 ISA guide calls it LDS).
    - `registers`: those of one thread.
    """

    name: str
    backend: Literal["cuda", "hip"]
    architecture: int | str
    lanes: int
    shared_bytes: int
    registers: int


CHIPS = {
    chip.name: chip
    for chip in (
        Chip("sm_80", "cuda", 80, 32, 163 * KIB, 255),
        Chip("sm_86", "cuda", 86, 32, 99 * KIB, 255),
        Chip("sm_89", "cuda", 89, 32, 99 * KIB, 255),
        Chip("sm_90", "cuda", 90, 32, 227 * KIB, 255),
        Chip("sm_100", "cuda", 100, 32, 227 * KIB, 255),
        Chip("sm_120", "cuda", 120, 32, 99 * KIB, 255),
        Chip("gfx942", "hip", "gfx942", 64, 64 * KIB, 512),
    )
}
