"""Large blocks of memory on huge pages.

A step of few rows reads whole matrices, and a processor remembers the addresses of a few thousand pages only. Matrices
of more bytes than that are read faster from pages of 2 MiB than from pages of 4 KiB.
"""

import mmap
import sys
from collections.abc import Callable
from contextlib import suppress
from ctypes import CDLL, addressof, c_char, c_int, c_size_t, c_void_p
from typing import Any

HUGE_PAGE = 2 * 1024 * 1024
LEAST_BYTES = 8 * 1024 * 1024
"""Smaller blocks come from the usual allocator: processors remember the addresses of all their pages."""
_ADVICE: int | None = getattr(mmap, "MADV_HUGEPAGE", None) if sys.platform == "linux" else None


def map_block(size: int) -> tuple[mmap.mmap, int] | None:
    """New memory for which the system was asked to use huge pages, and the offset in it of a block of `size` bytes.

    The block begins at a huge page. Its last bytes, which fill no huge page, stay on small pages, so that the block
    takes no more memory than its size. The block is not initialised.

    Returns None if the block is too small for huge pages to matter, or if the system has none.
    """
    if _ADVICE is None or size < LEAST_BYTES:
        return None
    try:
        memory = mmap.mmap(-1, size + HUGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except (OSError, OverflowError):  # the usual allocator raises the error that its callers expect
        return None
    offset = -addressof(c_char.from_buffer(memory)) % HUGE_PAGE
    with suppress(OSError):  # the kernel was built without huge pages
        memory.madvise(_ADVICE, offset, size - size % HUGE_PAGE)
    return memory, offset


LEAST_ADVISED_BYTES = 32 * 1024 * 1024
"""An allocator returns memory of such a size to the system when it is freed, so that each new block has new pages."""


def _system_call() -> Callable[[int, int, int], int] | None:
    """The function of the C library; None where there is none."""
    if _ADVICE is None:
        return None
    try:
        function: Any = CDLL(None).madvise
    except (OSError, AttributeError):
        return None
    function.argtypes, function.restype = [c_void_p, c_size_t, c_int], c_int
    return function


madvise = _system_call()


def advise(address: int, size: int) -> None:
    """Ask the system for huge pages in memory of an allocator, which nothing was written to yet.

    It is a hint: the first write takes a quarter of the time where the system follows it, and works as ever where not.
    """
    if madvise is not None:
        first, end = -(-address // HUGE_PAGE) * HUGE_PAGE, (address + size) // HUGE_PAGE * HUGE_PAGE
        if first < end:
            madvise(first, end - first, _ADVICE or 0)
