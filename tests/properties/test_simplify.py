"""A simplified trace computes the same numbers, to the last bit, with no more operations."""

import numpy as np
from hypothesis import given

from gatewright.backends import numpy_ref
from gatewright.derive import vjp
from gatewright.trace import Trace, simplify, trace_cell, without
from tests.properties.strategies import Problem, cells, problems, traces


@given(problems())
def test_no_number_changes(problem: Problem) -> None:
    _assert_equal(problem.run(simplify(problem.trace)), problem.run())


@given(traces())
def test_simplifying_again_changes_nothing(trace: Trace) -> None:
    once = simplify(trace)
    assert simplify(once) == once


@given(traces(lines=5))
def test_a_derivative_is_simple_already(trace: Trace) -> None:
    derivative = vjp(trace)
    assert simplify(derivative) == derivative


@given(traces())
def test_what_goes_in_and_out_stays(trace: Trace) -> None:
    simple = simplify(trace)
    assert (simple.name, simple.inputs, simple.states) == (trace.name, trace.inputs, trace.states)
    assert set(simple.params) <= set(trace.params)
    assert set(simple.noises) <= set(trace.noises)
    assert {name for name, _ in simple.gates} <= {name for name, _ in trace.gates}
    shapes = [
        (state.shape, getattr(value, "value", None))
        for state, value in zip(trace.states, simple.next_states, strict=True)
    ]
    assert all(
        number is not None or value.shape == shape
        for (shape, number), value in zip(shapes, simple.next_states, strict=True)
    )


@given(traces())
def test_nothing_is_computed_in_vain(trace: Trace) -> None:
    simple = simplify(trace)
    used = {arg for equation in simple.equations for arg in equation.args} | set(simple.outputs())
    used |= {value for _, value in simple.gates}
    assert [equation for equation in simple.equations if equation.target not in used] == []
    assert [param for param in simple.params if param not in used] == []
    whole = [(equation.op, equation.args, equation.attrs) for equation in simple.equations]
    assert len(set(map(repr, whole))) == len(whole)


@given(traces())
def test_no_operation_is_added_but_to_give_scalars_their_shape(trace: Trace) -> None:
    simple = simplify(trace)
    expanded = sum(equation.op == "expand" for equation in simple.equations)
    assert len(simple.equations) - expanded <= len(trace.equations)


@given(problems())
def test_without_is_the_cell_with_parameters_of_zero(problem: Problem) -> None:
    bare = without(problem.trace, "b")
    assert not any(param.name.startswith("b.") for param in bare.params)
    zeros = {name: np.zeros_like(value) for name, value in problem.params.items() if name.startswith("b.")}
    want = numpy_ref.run(
        problem.trace, problem.inputs, {**problem.params, **zeros}, problem.states, noises=problem.noises
    )
    got = problem.run(bare)
    for name, values in want.sequences.items():
        np.testing.assert_allclose(got.sequences[name], values, rtol=0, atol=1e-12)


@given(cells())
def test_a_space_that_is_not_there_can_be_left_out(cell) -> None:
    trace = trace_cell(cell)
    assert without(trace, "nothing") == simplify(trace)


def _assert_equal(got: numpy_ref.ReferenceRun, want: numpy_ref.ReferenceRun) -> None:
    np.testing.assert_array_equal(got.output, want.output, strict=True)
    for name, values in want.sequences.items():
        np.testing.assert_array_equal(got.sequences[name], values, strict=True)
    for name, values in got.gates.items():
        np.testing.assert_array_equal(values, want.gates[name], strict=True)
