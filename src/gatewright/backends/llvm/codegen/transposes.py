"""Emits the transposition of squares of numbers in registers."""

from collections.abc import Sequence

from gatewright.backends.llvm.emit.emitter import Emitter
from gatewright.backends.llvm.emit.vector_type import Value


def transposed_square(e: Emitter, lines: Sequence[Value]) -> list[Value]:
    """The columns of a square of as many lines as there are lanes.

    In each round half of every vector changes places with half of another one: first single numbers, then pairs, then
    fours.
    """
    lanes, vectors = e.vector.width, list(lines)
    distance = 1
    while distance < lanes:
        swapped = [lane ^ distance for lane in range(lanes)]
        for line_number in (line for line in range(lanes) if not line & distance):
            other = line_number | distance
            first, second = vectors[line_number], vectors[other]
            low = [lanes + swapped[lane] if lane & distance else lane for lane in range(lanes)]
            high = [lanes + lane if lane & distance else swapped[lane] for lane in range(lanes)]
            vectors[line_number], vectors[other] = (
                e.choose(first, second, low, "low"),
                e.choose(first, second, high, "high"),
            )
        distance *= 2
    return vectors
