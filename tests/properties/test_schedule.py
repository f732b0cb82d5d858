"""Programs of random cells and of their derivatives against the reference."""

from contextlib import suppress

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gatewright.derive import vjp
from gatewright.errors import TraceError
from gatewright.schedule.plan import plan
from gatewright.schedule.residuals import save
from gatewright.trace import Trace, simplify
from tests.properties.strategies import axis_sizes, traces
from tests.schedule.running import check, draw

seeds = st.integers(0, 2**32 - 1)


def plannable(trace: Trace) -> bool:
    """Whether a trace has no matrix of a row, as a random cell may have."""
    with suppress(TraceError):
        plan(trace)
        return True
    return False


@settings(max_examples=100)
@given(traces(), seeds, st.data())
def test_programs_of_random_cells(trace: Trace, seed: int, data: st.DataObject) -> None:
    rng = np.random.default_rng(seed)
    sizes, outputs = data.draw(axis_sizes(trace)), [state.name for state in trace.states]
    step = simplify(trace)
    gradient = vjp(step, data.draw(st.sampled_from([outputs, outputs[:1], []])))
    for one in (step, gradient, vjp(gradient)):
        if plannable(one):
            check(draw(one, sizes, data.draw(st.integers(0, 3)), data.draw(st.integers(1, 3)), rng))


@settings(max_examples=60)
@given(traces(lines=5), seeds, st.data())
def test_steps_that_save_and_gradients_that_are_given(trace: Trace, seed: int, data: st.DataObject) -> None:
    sizes, rng = data.draw(axis_sizes(trace)), np.random.default_rng(seed)
    for step in (simplify(trace), vjp(simplify(trace))):
        pair = save(step)
        for one in (pair.forward, pair.backward):
            if plannable(one):
                check(draw(one, sizes, 2, 2, rng))
