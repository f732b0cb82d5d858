"""Derivatives of random cells: over whole sequences, with kinks and ragged rows; and of their derivatives."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatewright.derive import jvp, vjp
from gatewright.inspect import gradcheck
from gatewright.inspect.derivatives import derived
from gatewright.inspect.derivatives.point import default_sizes, draw_point
from gatewright.trace import Trace
from tests.derive.one_step import OneStep, inner
from tests.properties.strategies import axis_sizes, traces

seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=60)
@given(traces())
def test_random_cells_pass_the_gradient_check(trace: Trace) -> None:
    gradcheck(trace, steps=3, batch=3, input_size=2, hidden_size=3).raise_if_failed()


@given(traces(), seeds)
def test_both_modes_are_transposes_over_a_sequence(trace: Trace, seed: int) -> None:
    """<weights, forward mode along the direction> == <reverse mode, direction>, over rows with lengths."""
    sizes = default_sizes(trace, 2, 3)
    point = draw_point(trace, sizes, steps=4, batch=3, seed=seed, initial={})
    forward = derived.forward(trace, point)
    pushed = {
        leaf: sum(np.sum(weight * forward[f"{leaf} -> {output}"]) for output, weight in point.weights.items())
        for leaf in point.direction
    }
    gradient = derived.gradient(trace, point)
    pulled = {leaf: np.sum(gradient[leaf] * along) for leaf, along in point.direction.items()}
    scale = max(map(abs, pushed.values()), default=0.0)
    assert pulled == pytest.approx(pushed, rel=1e-10, abs=1e-10 * max(scale, 1e-3))


@pytest.mark.parametrize("derivative", [vjp, jvp], ids=["vjp", "jvp"])
@settings(max_examples=40)
@given(data=st.data())
def test_the_derivatives_of_a_derivative_are_transposes(
    derivative: Callable[[Trace], Trace], data: st.DataObject
) -> None:
    trace = data.draw(traces(lines=5))
    sizes = data.draw(axis_sizes(trace))
    rng = np.random.default_rng(data.draw(seeds))
    point = OneStep(derivative(trace), sizes).draw(rng)
    directions, weights = point.directions(rng), point.weights(rng)
    pushed, pulled = inner(weights, point.push(directions)), inner(point.pull(weights), directions)
    assert pulled == pytest.approx(pushed, rel=1e-10, abs=1e-10)
