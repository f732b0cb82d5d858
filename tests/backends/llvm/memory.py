"""By how much a process grows when the same is done again and again."""

import gc
import os
from collections.abc import Callable
from pathlib import Path

import pytest

needs_proc = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="this system does not tell the size")


def resident() -> int:
    """Bytes of this process in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def growth(turn: Callable[[int], None], turns: int) -> int:
    """By how many bytes a process grows in so many turns, after it has settled."""
    for number in range(turns // 3):
        turn(number)
    gc.collect()
    before = resident()
    for number in range(turns):
        turn(turns + number)
    gc.collect()
    return resident() - before
