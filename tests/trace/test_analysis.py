"""What is told of a trace: what depends on what, what leaves the loop, what a step costs."""

import pytest
from hypothesis import given

import gatewright as gw
from gatewright.derive import vjp
from gatewright.errors import OptionError
from gatewright.trace import (
    Trace,
    depends_on_state,
    flops,
    parameter_count,
    reads,
    shared,
    split,
    trace_cell,
)
from tests.properties.strategies import Problem, problems, traces

SIZES = {"input": 3, "hidden": 5}


@gw.cell
def unit(x, h, c, m, W, U, b):
    """`m` is not read, `c` does not reach itself, and one product is of parameters only."""
    a = W.a @ x
    s = gw.tanh(b.s * b.s)
    f = gw.sigmoid(a + U.f @ h)
    g = f * s
    o = gw.tanh(g) * a
    return g, c * a + b.c, o


TRACE = trace_cell(unit)


def _targets(equations) -> list[str]:
    return [equation.target.name for equation in equations]


def test_what_depends_on_a_state() -> None:
    names = {"h", "c", "m", "%1", "%2", "f", "h'", "%3", "m'", "%4", "c'"}
    assert depends_on_state(TRACE) == names


def test_what_is_the_same_for_all_rows() -> None:
    assert shared(TRACE) == {"W.a", "U.f", "b.s", "b.c", "%0", "s"}


def test_the_number_of_features_is_the_same_for_all_rows() -> None:
    trace = trace_cell(gw.cell(lambda x, h, U: h / gw.size(x)))
    assert shared(trace) == {"%0"}


def test_a_random_value_is_not_the_same_for_all_rows() -> None:
    trace = trace_cell(gw.cell(lambda x, h, U: gw.bernoulli(0.5, like=h, per="sequence") * 0.5))
    assert shared(trace) == frozenset()


def test_which_states_are_read() -> None:
    assert reads(TRACE) == {"h", "c"}
    assert reads(trace_cell(gw.cells.sru)) == {"c"}
    assert reads(vjp(trace_cell(gw.cells.sru))) == {"d(c)", "d(h)"}


def test_a_state_that_is_handed_on_is_read() -> None:
    def keep(x, h, c, U):
        return U.h @ x, c

    trace = trace_cell(gw.cell(spaces={"U": ("hidden", "input")})(keep))
    assert reads(trace) == {"c"}


def test_what_leaves_the_loop() -> None:
    parts = split(TRACE)
    assert _targets(parts.before) == ["a", "%0", "s"]
    assert _targets(parts.loop) == ["%1", "%2", "f", "h'", "%4", "c'"]
    assert _targets(parts.after) == ["%3", "m'"]


def test_the_weight_gradients_leave_the_loop() -> None:
    trace = vjp(trace_cell(gw.cells.gru))
    parts = split(trace)
    sums = {value.name for name, value in trace.sums if name.startswith(("d(W", "d(U"))}
    assert sums <= set(_targets(parts.after))
    assert len(parts.loop) < len(trace.equations) / 2


def test_the_cost_of_a_step() -> None:
    # 2 * 5 * 3 for W.a @ x, 2 * 5 * 5 for U.f @ h; add, sigmoid, mul, tanh, mul, mul, add of 5; s once for all rows
    assert flops(TRACE, SIZES) == 30 + 50 + 7 * 5


@pytest.mark.parametrize(
    ("expression", "cost"),
    [
        (lambda x, h, U: gw.mean(h) * h, 5 + 5),
        (lambda x, h, U: h / gw.size(h), 5),
        (lambda x, h, U: U.h.T @ h, 50),
        (lambda x, h, U: gw.relabel(h, like=h), 0),
        (lambda x, h, U: (U.a * gw.sum(h)) @ h, 5 + 25 + 50),
        (lambda x, h, U: (U.a * U.b) @ h, 50),
    ],
)
def test_the_cost_of_an_op(expression, cost: int) -> None:
    assert flops(trace_cell(gw.cell(expression)), SIZES) == cost


def test_an_outer_product_costs_its_elements() -> None:
    trace = vjp(trace_cell(gw.cell(lambda x, h, W: W.h @ x)))
    assert [str(equation.op) for equation in trace.equations] == ["add", "outer", "transpose", "matmul"]
    assert flops(trace, SIZES) == 5 + 15 + 30


def test_how_many_parameters_there_are() -> None:
    assert parameter_count(TRACE, SIZES) == 15 + 25 + 5 + 5
    assert parameter_count(trace_cell(gw.cells.lstm), SIZES) == 4 * (15 + 25 + 5)


def test_an_axis_without_a_size_is_named() -> None:
    with pytest.raises(OptionError) as raised:
        flops(TRACE, {"input": 3})
    assert str(raised.value) == (
        "the size of axis 'hidden' is not known\n  expected: a size for every axis that the cell uses\n  got: input=3"
        "\n  do: pass sizes={'hidden': ...}"
    )


@given(traces())
def test_the_parts_are_the_whole(trace: Trace) -> None:
    parts = split(trace)
    whole = [*parts.before, *parts.loop, *parts.after]
    assert sorted(whole, key=trace.equations.index) == list(trace.equations)
    known = {leaf.name for leaf in trace.leaves()}
    for equation in whole:  # each part needs nothing of a later one
        assert {getattr(arg, "name", "") for arg in equation.args} <= known | {""}
        known.add(equation.target.name)


@given(problems())
def test_what_depends_on_no_state_is_the_same_for_all_states(problem: Problem) -> None:
    free = [name for name, value in problem.trace.gates if value.name not in depends_on_state(problem.trace)]
    other = {name: value + 1.0 for name, value in problem.states.items()}
    moved = Problem(problem.trace, problem.sizes, problem.inputs, problem.params, other, problem.noises).run()
    want = problem.run()
    assert [name for name in free if not (moved.gates[name] == want.gates[name]).all()] == []
