"""Whether a cell is parallel in time is told for every cell of the catalogue, with the reason why not."""

import re

import numpy as np
import pytest
from hypothesis import given

import gatewright as gw
from gatewright.backends import numpy_ref
from gatewright.derive import jvp, tangent, vjp
from gatewright.trace import Recurrence, Trace, recurrence, trace_cell
from tests.properties.strategies import Problem, problems

PARALLEL = {
    "sru": ("c",), "qrnn": ("c",), "mingru": ("h",), "minlstm": ("h",), "hgrn": ("h",),
    "trnn": ("h",), "tgru": ("vz", "vf", "vo", "h"), "tlstm": ("vz", "vf", "vo", "c"),
}  # fmt: skip


@pytest.mark.parametrize("name", gw.cells.CATALOGUE)
def test_the_catalogue(name: str) -> None:
    told = recurrence(trace_cell(gw.cells.CATALOGUE[name]))
    assert told.is_parallel == (name in PARALLEL)
    if name in PARALLEL:
        assert (told.order, told.reason) == (PARALLEL[name], "")
    else:
        assert re.match(r"\w+ reaches (its own update|the update of \w+) through [\w. ]+, line \d+", told.reason)


def _told(expression) -> Recurrence:
    return recurrence(trace_cell(gw.cell(expression)))


AFFINE = [
    lambda x, h, W: h,
    lambda x, h, W: 0.5 * h + W.h @ x,
    lambda x, h, W: gw.sigmoid(W.f @ x) * h + (1 - gw.sigmoid(W.f @ x)) * (W.h @ x),
    lambda x, h, W: W.h @ x - h,
    lambda x, h, W: -h / (1.5 + gw.tanh(W.h @ x)),
    lambda x, h, W: gw.where(W.h @ x, h, 0.0),
    lambda x, h, W: gw.where(W.h @ x, W.h @ x, h) + h,
    lambda x, h, W: gw.tanh(W.h @ x),
    lambda x, h, W: gw.relabel(h, like=h) + h,
    lambda x, h, W: gw.bernoulli(0.5, like=h) * h,
    lambda x, h, W: gw.mean(x) * h,
]


@pytest.mark.parametrize("expression", AFFINE)
def test_an_affine_state_is_parallel(expression) -> None:
    assert _told(expression).is_parallel


OTHER = {
    "matmul U.h": lambda x, h, U: U.h @ h,
    "tanh": lambda x, h, U: 0.5 * gw.tanh(h),
    "mul": lambda x, h, U: h * h,
    "div": lambda x, h, U: 1 / h,
    "maximum": lambda x, h, U: gw.maximum(h, 0.5),
    "mean": lambda x, h, U: gw.mean(h) + 0.5 * h,
    "where": lambda x, h, U: gw.where(h, 0.5, h),
    "matmul": lambda x, h, U: U.h.T @ h,
}


@pytest.mark.parametrize("through", OTHER)
def test_another_state_is_not_parallel(through: str) -> None:
    told = _told(OTHER[through])
    line = OTHER[through].__code__.co_firstlineno
    assert told.reasons == {"h": f"h reaches its own update through {through}, line {line}"}
    assert not told.is_parallel
    assert told.order == ()


def test_states_that_are_affine_one_after_the_other_are_parallel() -> None:
    def chain(x, h, c, m, W):
        c_next = gw.sigmoid(W.c @ x) * c + W.c @ x
        m_next = gw.sigmoid(c) * m + c
        return h * gw.tanh(c) + m, c_next, m_next

    assert recurrence(trace_cell(gw.cell(chain))) == Recurrence(("c", "m", "h"), {})


def test_states_that_need_each_other_are_not() -> None:
    def pair(x, h, c, W):
        return 0.5 * h + c, 0.5 * c - h

    told = recurrence(trace_cell(gw.cell(pair)))
    assert list(told.reasons) == ["h", "c"]
    assert told.reasons["h"].startswith("c reaches the update of h through add, line ")
    assert told.reason == "; ".join(told.reasons.values())


def test_a_state_that_is_not_read_counts_for_nothing() -> None:
    def output(x, h, c, W, U):
        c = gw.sigmoid(W.c @ x) * c
        return gw.tanh(U.h @ c), c

    assert recurrence(trace_cell(gw.cell(output))) == Recurrence(("c",), {})


def test_what_is_known_of_some_states_is_told() -> None:
    told = recurrence(trace_cell(gw.cells.scrn))
    assert told.order == ("s",)
    assert list(told.reasons) == ["h"]


def test_the_gradient_of_a_parallel_cell_is_parallel() -> None:
    for name in PARALLEL:
        assert recurrence(vjp(trace_cell(gw.cells.CATALOGUE[name]))).is_parallel, name


def test_without_lines_none_is_named() -> None:
    trace = gw.trace.parse(gw.trace.to_text(trace_cell(gw.cells.elman)))
    assert recurrence(trace).reason == "h reaches its own update through matmul U.h"


@given(problems())
def test_an_affine_state_has_a_coefficient_that_depends_on_no_state(problem: Problem) -> None:
    """For the first state of the order: its derivative by itself, element by element, is the same for all states."""
    trace = problem.trace
    order = recurrence(trace).order
    first = order[0] if order else None
    coefficients = [_coefficient(problem, trace, first, shift) for shift in (0.0, 1.0)] if first else [0.0, 0.0]
    np.testing.assert_allclose(coefficients[0], coefficients[1], rtol=0, atol=1e-12)


def _coefficient(problem: Problem, trace: Trace, state: str, shift: float) -> np.ndarray:
    inputs = {name: value[:1] for name, value in problem.inputs.items()}
    states = {name: value + shift for name, value in problem.states.items()}
    zeros = {tangent(name): np.zeros_like(value) for name, value in {**problem.params, **states}.items()}
    zeros |= {tangent(name): np.zeros_like(value) for name, value in inputs.items()}
    moving = {**zeros, tangent(state): np.ones_like(states[state])}
    given_ = {**inputs, **{tangent(name): moving[tangent(name)] for name in inputs}}
    known = {**problem.params, **{tangent(name): moving[tangent(name)] for name in problem.params}}
    start = {**states, **{tangent(name): moving[tangent(name)] for name in states}}
    noises = {name: value[:1] for name, value in (problem.noises or {}).items()}
    return numpy_ref.run(jvp(trace), given_, known, start, noises=noises).finals[tangent(state)]
