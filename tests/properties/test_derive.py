"""Derivatives of random cells: both modes agree with each other and with differences, and can be derived again."""

import numpy as np
from hypothesis import given

from gatewright.backends import numpy_ref
from gatewright.derive import jvp, tangent, vjp
from gatewright.lang.ops import OPS
from gatewright.trace import Trace
from tests.properties.strategies import Arrays, Problem, problems, traces


@given(traces(lines=5))
def test_a_derivative_is_in_the_language_and_can_be_derived_again(trace: Trace) -> None:
    for derivative in (vjp(trace), jvp(trace), vjp(jvp(trace)), jvp(vjp(trace)), vjp(vjp(trace))):
        assert {equation.op for equation in derivative.equations} <= OPS.keys()


@given(problems())
def test_reverse_and_forward_mode_are_transposes_of_each_other(problem: Problem) -> None:
    generator = np.random.default_rng(0)
    directions = [_random(generator, group) for group in (problem.inputs, problem.params, problem.states)]
    first = problem.trace.states[0].name
    weight = _random(generator, {first: problem.run().output})
    forward = _tangents(problem, *directions)[tangent(first)]
    gradients = numpy_ref.gradient(
        problem.trace, problem.inputs, problem.params, problem.states, d_outputs=weight, noises=problem.noises
    )
    pairs = list(zip(directions, (gradients.inputs, gradients.params, gradients.states), strict=True))
    assert [_shapes(gradient) for _, gradient in pairs] == [_shapes(group) for group, _ in pairs]
    backward = sum(np.vdot(group[name], gradient[name]) for group, gradient in pairs for name in group)
    np.testing.assert_allclose(backward, np.vdot(weight[first], forward), rtol=1e-9, atol=1e-9)


@given(problems(smooth=True))
def test_forward_mode_agrees_with_differences(problem: Problem) -> None:
    generator = np.random.default_rng(0)
    directions = [_random(generator, group) for group in (problem.inputs, problem.params, problem.states)]
    step = 1e-5
    up, down = _moved(problem, directions, step), _moved(problem, directions, -step)
    tangents = _tangents(problem, *directions)
    for state in problem.trace.states:
        difference = (up[state.name] - down[state.name]) / (2 * step)
        np.testing.assert_allclose(tangents[tangent(state.name)], difference, rtol=1e-5, atol=1e-5)


def _random(generator: np.random.Generator, arrays: Arrays) -> dict[str, np.ndarray]:
    """A direction for every array; none for a mask, which has no derivative where it is 0."""
    return {name: generator.uniform(-1, 1, array.shape) * (name != "mask") for name, array in arrays.items()}


def _shapes(arrays: Arrays) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in arrays.items()}


def _tangents(problem: Problem, inputs: Arrays, params: Arrays, states: Arrays) -> dict[str, np.ndarray]:
    """The tangents of all states after every step, in the given direction."""
    groups = ((problem.inputs, inputs), (problem.params, params), (problem.states, states))
    both = [{**values, **{tangent(name): one for name, one in moving.items()}} for values, moving in groups]
    return numpy_ref.run(jvp(problem.trace), *both, noises=problem.noises).sequences


def _moved(problem: Problem, directions: list[dict[str, np.ndarray]], step: float) -> dict[str, np.ndarray]:
    """All states after every step, where everything that goes in is moved a little."""
    groups = zip((problem.inputs, problem.params, problem.states), directions, strict=True)
    moved = [{name: array + step * direction[name] for name, array in group.items()} for group, direction in groups]
    return numpy_ref.run(problem.trace, *moved, noises=problem.noises).sequences
