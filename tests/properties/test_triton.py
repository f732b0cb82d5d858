"""Triton's kernels of random cells and of their gradients, in every form of a loop, against the reference."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gatewright as gw
from gatewright.backends.triton.program_run import LoopForm
from gatewright.derive import vjp
from gatewright.nn.engine.device_operation import without_loop
from gatewright.schedule.plan import plan
from gatewright.schedule.residuals import save
from gatewright.trace import Trace, simplify, trace_cell
from tests.backends.triton.drawn import draw
from tests.backends.triton.test_program_run import check as check_program
from tests.properties.strategies import axis_sizes, traces
from tests.properties.test_schedule import plannable
from tests.schedule.running import Given

FORMS: tuple[LoopForm, ...] = ("resident", "stepped", "persistent")
extents = st.tuples(st.integers(1, 3), st.integers(1, 3))


@settings(max_examples=12)
@given(traces(lines=5), extents, st.integers(0, 2**32 - 1), st.data())
def test_kernels_of_random_cells(trace: Trace, extent: tuple[int, int], seed: int, data: st.DataObject) -> None:
    rng, sizes = np.random.default_rng(seed), data.draw(axis_sizes(trace))
    pair = save(simplify(trace))
    chosen = data.draw(st.sampled_from([pair.forward, pair.backward, vjp(pair.backward)]))
    if plannable(chosen):
        check(draw(chosen, sizes, *extent, rng), data.draw(st.sampled_from(FORMS)))


def check(problem: Given, form: LoopForm) -> None:
    """Hold all kernels of a Program to the reference."""
    check_program(problem, without_loop(plan(problem.trace)), form=form)


@gw.cell
def constant(x, h, c, m, b):
    """States that become numbers, or what all rows share; one lies along the axis of the input."""
    return gw.tanh(c) + gw.relabel(x, like=h), 0.0 * c, b.m


@pytest.mark.parametrize("form", FORMS)
def test_states_that_become_numbers(form: LoopForm, rng: np.random.Generator) -> None:
    pair = save(simplify(trace_cell(constant)))
    for trace in (pair.forward, pair.backward, vjp(pair.backward)):
        check(draw(trace, {"input": 3, "hidden": 3}, 2, 2, rng), form)


@gw.cell
def chosen(x, h, U):
    """Choices of numbers, times a number that float32 does not hold."""
    n = gw.where(h < 0.3, 1.0, -1.0) * 0.1 + gw.hard_sigmoid_theano(h) * gw.where(h < 0.5, 0.2, 0.7)
    return (U.n @ n) * 0.3 + gw.relabel(x, like=h)


@pytest.mark.parametrize("form", FORMS)
def test_numbers_have_the_type_of_the_sums(form: LoopForm, rng: np.random.Generator) -> None:
    pair = save(simplify(trace_cell(chosen)))
    for trace in (pair.forward, pair.backward, vjp(pair.backward)):
        check(draw(trace, {"input": 3, "hidden": 3}, 2, 2, rng), form)
