"""The sections about whole layers: GRU forward, GRU training, other cells."""

from benchmarks.cells import CELLS
from benchmarks.peers import EAGER, LIBRARIES, LOOP, OURS
from benchmarks.problem import FORWARD, TRAINING, Problem
from benchmarks.races import Record, contest
from benchmarks.setup import Setup

GRU = "gru"


def forward(setup: Setup) -> list[Record]:
    """A GRU without gradients."""
    return _gru(setup, FORWARD)


def training(setup: Setup) -> list[Record]:
    """A GRU forward and backward, with all gradients."""
    return _gru(setup, TRAINING)


def _gru(setup: Setup, mode: str) -> list[Record]:
    problems = (Problem(CELLS[GRU], shape) for shape in setup.shapes)
    return [contest(setup, problem, mode, (OURS, *LIBRARIES), cell=GRU) for problem in problems]


def cells(setup: Setup) -> list[Record]:
    """Every other cell; the loops run where there is one row, since there they are what one would use."""
    records: list[Record] = []
    for shape in setup.shapes:
        loops = (LOOP, EAGER) if shape.batch == 1 else ()
        for name, cell in CELLS.items():
            problem = Problem(cell, shape)
            peers = (OURS,) if name == GRU else (OURS, *LIBRARIES, *loops)
            records += [contest(setup, problem, mode, peers, cell=name) for mode in (FORWARD, TRAINING)]
    return records
