"""What the tests measure: so small that it takes no time."""

from benchmarks.cells import CELLS
from benchmarks.names import TORCH
from benchmarks.problem import Problem
from benchmarks.setup import Setup
from benchmarks.shapes import Shape
from benchmarks.timing import Method

SHAPE = Shape(3, 2, 4, 5)
METHOD = Method(sample=1e-6, fewest=2, most=2, budget=0.0)
PEERS = (TORCH,)


def problem(cell: str = "gru") -> Problem:
    """A cell at the smallest shape whose sizes all differ."""
    return Problem(CELLS[cell], SHAPE)


def setup() -> Setup:
    """One thread, two rounds."""
    return Setup(1, True, (SHAPE,), METHOD, {1: 1e9})
