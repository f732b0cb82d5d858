"""Every cell, its gradient and the gradient of that: the Program in the interpreter against the reference."""

from dataclasses import replace

import numpy as np
import pytest

from gatewright import cells
from gatewright.derive import vjp
from gatewright.schedule.plan import plan
from gatewright.schedule.program import Program, Stage, Store
from gatewright.trace import Trace, simplify, trace_cell
from tests.parity.assertions import ParityError
from tests.parity.matrix import CELLS, MODELS, SLICED, sizes_for
from tests.schedule.running import check, draw, interpreted, oracle

STEPS, BATCH = 4, 2
TWICE = [
    *sorted(MODELS),
    "gru",
    "lstm",
    "sru",
    "all at once",
    "layer_norm(lstm)",
    "masked(gru)",
    "residual(lstm)",
    "zoneout(sru)",
]


def states_of(trace: Trace) -> list[str]:
    return [state.name for state in trace.states]


@pytest.mark.parametrize("name", [name for name in CELLS if name not in SLICED])
def test_cells_and_their_gradients(name: str, rng: np.random.Generator) -> None:
    step = simplify(trace_cell(CELLS[name]))
    sizes = sizes_for(step)
    for trace in (step, vjp(step), vjp(step, outputs=states_of(step))):
        check(draw(trace, sizes, STEPS, BATCH, rng))


@pytest.mark.parametrize("name", TWICE)
def test_gradients_of_gradients(name: str, rng: np.random.Generator) -> None:
    step = simplify(trace_cell(CELLS[name]))
    gradient = vjp(step, outputs=states_of(step))
    check(draw(vjp(gradient, outputs=states_of(gradient)), sizes_for(step), STEPS, BATCH, rng))


@pytest.mark.parametrize(("steps", "batch"), [(0, 2), (1, 1), (3, 0)])
@pytest.mark.parametrize("name", ["lstm_projected", "layer_norm(gru)", "sru"])
def test_nothing_to_do_and_little_to_do(name: str, steps: int, batch: int, rng: np.random.Generator) -> None:
    step = simplify(trace_cell(CELLS[name]))
    for trace in (step, vjp(step)):
        check(draw(trace, sizes_for(step), steps, batch, rng))


def stores(program: Program) -> list[tuple[str, int, Store]]:
    stages = [(name, index, stage) for name, stages in program.passes() for index, stage in enumerate(stages)]
    return [(name, index, store) for name, index, stage in stages for store in stage.stores]


def without(program: Program, name: str, index: int, store: Store) -> Program:
    """The program that forgets one store."""
    stages: list[Stage] = list(dict(program.passes())[name])
    kept = tuple(one for one in stages[index].stores if one is not store)
    stages[index] = replace(stages[index], stores=kept)
    return replace(program, **{name: tuple(stages)})


@pytest.mark.parametrize("name", ["gru", "lstm_projected", "layer_norm(sru)"])
def test_a_forgotten_store_is_seen(name: str, rng: np.random.Generator) -> None:
    step = simplify(trace_cell(CELLS[name]))
    for trace in (step, vjp(step)):
        program = plan(trace)
        given = draw(trace, sizes_for(step), STEPS, BATCH, rng)
        check(given, program)
        for one in stores(program):
            with pytest.raises((ParityError, KeyError)):
                check(given, without(program, *one))


def test_what_nobody_has_stored_is_not_a_number(rng: np.random.Generator) -> None:
    trace = simplify(trace_cell(cells.gru))
    given, program = draw(trace, sizes_for(trace), STEPS, BATCH, rng), plan(trace)
    (last,) = [one for one in stores(program) if one[2].name == "h"]
    got = interpreted(given, without(program, *last))
    assert np.isnan(got["states"]["h"]).all()
    assert np.isfinite(oracle(given)["states"]["h"]).all()
