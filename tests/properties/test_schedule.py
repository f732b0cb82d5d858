"""Programs of random cells and of their derivatives against the reference."""

from contextlib import suppress

import numpy as np
from hypothesis import given, note, settings
from hypothesis import strategies as st

import gatewright as gw
from gatewright.derive import vjp
from gatewright.errors import TraceError
from gatewright.lang import Cell
from gatewright.schedule.plan import plan
from gatewright.schedule.program import Choices, Time
from gatewright.schedule.residuals import save
from gatewright.trace import Trace, simplify, trace_cell
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


@settings(max_examples=100)
@given(traces(), seeds, st.data())
def test_programs_with_scans(trace: Trace, seed: int, data: st.DataObject) -> None:
    rng, sizes = np.random.default_rng(seed), data.draw(axis_sizes(trace))
    step = simplify(trace)
    for one in (step, vjp(step)):
        if plannable(one):
            steps, batch = data.draw(st.integers(0, 4)), data.draw(st.integers(1, 3))
            check(draw(one, sizes, steps, batch, rng), plan(one, Choices(time=Time.SCAN)))


@st.composite
def affine_cells(draw: st.DrawFn) -> Cell:
    """A cell of states that scans can compute, one after the other: each update is a chain of affine operations."""
    chains = [draw(st.lists(st.sampled_from(sorted(AFFINE)), min_size=1, max_size=5)) for _ in range(2)]
    note(" then ".join(map(str, chains)))

    def affine(x, h, c, W, b):
        gate, value = gw.sigmoid(W.g @ x + b.g), gw.tanh(W.v @ x)
        new_c = c
        for name in chains[0]:
            new_c = AFFINE[name](new_c, gate, value)
        new_h = h
        for name in chains[1]:
            new_h = AFFINE[name](new_h, gw.sigmoid(c) * gate, gw.tanh(new_c) - value)
        return new_h, new_c

    return gw.cell(affine)


AFFINE = {
    "scaled": lambda s, gate, value: gate * s,
    "divided": lambda s, gate, value: s / (1.5 + value),
    "raised": lambda s, gate, value: s + value,
    "lowered": lambda s, gate, value: s - gate * value,
    "reversed": lambda s, gate, value: value - s,
    "negated": lambda s, gate, value: -s,
    "chosen": lambda s, gate, value: gw.where(value < gate - 0.5, s, gate),
    "kept": lambda s, gate, value: gw.where(value < 0.0, value, s),
    "mixed": lambda s, gate, value: gate * s + (1 - gate) * value,
    "moved": lambda s, gate, value: 0.5 * (s + value) + s / 4.0,
    "by a mean": lambda s, gate, value: gw.mean(gate) * s + gw.mean(value),
}  # fmt: skip


@settings(max_examples=100)
@given(affine_cells(), seeds, st.integers(0, 9))
def test_cells_that_scans_can_compute(made: Cell, seed: int, steps: int) -> None:
    rng, step = np.random.default_rng(seed), simplify(trace_cell(made))
    for one in (step, vjp(step), vjp(vjp(step))):
        program = plan(one, Choices(time=Time.SCAN))
        assert program.loop == ()
        check(draw(one, {"input": 2, "hidden": 3}, steps, 2, rng), program)


@settings(max_examples=60)
@given(traces(lines=5), seeds, st.data())
def test_steps_that_save_and_gradients_that_are_given(trace: Trace, seed: int, data: st.DataObject) -> None:
    sizes, rng = data.draw(axis_sizes(trace)), np.random.default_rng(seed)
    for step in (simplify(trace), vjp(simplify(trace))):
        pair = save(step)
        for one in (pair.forward, pair.backward):
            if plannable(one):
                check(draw(one, sizes, 2, 2, rng))
