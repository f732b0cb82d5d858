"""A run in blocks of time. Each goes through all passes and sums before the next one begins.

So what one pass leaves for another is still in a cache when it is read, however long the sequence is, and memory for it
is needed for one block only. The blocks of a gradient follow one another from the end to the beginning.
"""

from dataclasses import dataclass
from itertools import pairwise
from math import ceil

BLOCK_BYTES = 1024 * 1024
"""What the lines of a block may take: a second cache."""
_MIN_LINES = 256
"""Lines beside which what is done once a block takes no time. Where steps are left over a block has half as many, which
is still as many as any kernel was made for."""
_MAX_BLOCKS = 4096
"""Each block has a table of its own, and phases in a region. With a million lines, blocks still fit into a cache."""


@dataclass(frozen=True, slots=True)
class TimeBlock:
    """Some steps."""

    start: int
    steps: int


def time_blocks(steps: int, batch: int, line_bytes: int, *, backwards: bool) -> tuple[TimeBlock, ...]:
    """The blocks of a run in the order in which they are run; none is longer than another by more than one step.

    `line_bytes` is what passes read and write of one row at one step.
    """
    length = max(max(_MIN_LINES, BLOCK_BYTES // max(line_bytes, 1)) // batch, 1)
    count = min(ceil(steps / length), _MAX_BLOCKS)
    edges = [steps * number // count for number in range(count + 1)]
    blocks = tuple(TimeBlock(start, end - start) for start, end in pairwise(edges))
    return blocks[::-1] if backwards else blocks
