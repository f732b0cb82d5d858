"""The sections about whole layers: GRU forward, GRU training, other cells."""

from dataclasses import replace

from benchmarks.cells import CELLS
from benchmarks.names import EAGER, FORWARD, LIBRARIES, LOOP, OUR_GRU, OURS, TRAINING, Record
from benchmarks.peers import PEERS
from benchmarks.problem import Problem
from benchmarks.races import contest
from benchmarks.setup import Setup

GRU = "gru"
OTHERS = tuple(name for name in CELLS if name != GRU)


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
    setup = replace(setup, method=setup.method.shorter(0.6))
    records: list[Record] = []
    for shape in setup.shapes[1:2] if setup.quick else setup.shapes:
        loops = (LOOP, EAGER) if shape.batch == 1 else ()
        gru = Problem(CELLS[GRU], shape)
        told = {"gru_flops": gru.cell.flops(shape)}
        for mode in (FORWARD, TRAINING):
            beside = {OUR_GRU: PEERS[OURS].job(gru, mode, setup.threads).call}
            for name in OTHERS:
                problem = Problem(CELLS[name], shape)
                records.append(
                    contest(setup, problem, mode, (OURS, *LIBRARIES, *loops), beside=beside, cell=name, **told)
                )
    return records
