"""A run in stretches of time. Each goes through all passes and sums before the next one begins.

So what one pass leaves for another is still in a cache when it is read, however long the sequence is, and memory for it
is needed for one stretch only. The stretches of a gradient follow one another from the end to the beginning.
"""

from dataclasses import dataclass
from itertools import pairwise
from math import ceil

import numpy as np

from gatewright.backends.llvm.codegen.buffers import BufferId, inside_buffers, outside_buffers
from gatewright.backends.llvm.codegen.kernels import Kernels
from gatewright.schedule.program import Storage

_BYTES = 1024 * 1024
"""What the lines of a stretch may take: a second cache."""
_FEWEST_LINES = 256
"""Lines beside which what is done once a stretch takes no time. Where steps are left over a stretch has half as many,
which is still as many as any kernel was made for."""
_MOST = 64  # stretches, each of which has a table of its own
_EVERY_STEP = (Storage.INPUT, Storage.STATE, Storage.SEQUENCE)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Some steps."""

    start: int
    steps: int


def stretches_of(kernels: Kernels, steps: int, batch: int) -> tuple[Stretch, ...]:
    """The stretches of a run in the order in which they are run; none is longer than another by more than one step. A
    ragged batch, whose lines are listed, is not cut."""
    keys = [*outside_buffers(kernels.program), *inside_buffers(kernels.program)]
    line = sum(_bytes_of(kernels, key) for key in keys if key[0] in _EVERY_STEP)
    length = max(max(_FEWEST_LINES, _BYTES // max(line, 1)) // batch, 1)
    count = 1 if kernels.ragged else min(ceil(steps / length), _MOST)
    edges = [steps * number // count for number in range(count + 1)]
    found = tuple(Stretch(start, end - start) for start, end in pairwise(edges))
    assert kernels.ragged or min(stretch.steps for stretch in found) * batch >= kernels.lines
    return found[::-1] if kernels.backwards else found


def stride_of(kernels: Kernels, key: BufferId, batch: int) -> int:
    """The bytes from one step to the next in a buffer, 0 where each stretch begins at its beginning again."""
    follows = key[0] in _EVERY_STEP and key not in inside_buffers(kernels.program)
    return batch * _bytes_of(kernels, key) if follows else 0


def _bytes_of(kernels: Kernels, key: BufferId) -> int:
    return kernels.bound.width_of(key[1]) * np.dtype(kernels.dtype).itemsize
