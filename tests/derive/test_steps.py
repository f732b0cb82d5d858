"""One step: forward mode agrees with differences, reverse mode is its transpose; of cells, and of their derivatives."""

from collections.abc import Callable

import numpy as np
import pytest

from gatewright import cells, lang
from gatewright.derive import jvp, vjp
from gatewright.lang import Cell, cell, tanh
from gatewright.trace import Trace, trace_cell
from tests.derive.one_step import OneStep, inner

SIZES = {"input": 3, "hidden": 4, "projection": 2, "context": 5}
CELLS = [
    cells.elman,
    cells.gru,
    cells.lstm,
    cells.lstm_projected,
    cells.antisymmetric_rnn,
    cells.scrn,
    cells.minlstm,
    cells.fastrnn,
    lang.layer_norm(cells.gru),
    lang.zoneout(0.3)(cells.lstm),
    lang.masked(cells.elman),
]
DERIVATIVES: dict[str, Callable[[Trace], Trace]] = {
    "the cell": lambda trace: trace,
    "vjp": vjp,
    "jvp": jvp,
    "vjp of vjp": lambda trace: vjp(vjp(trace)),
    "jvp of vjp": lambda trace: jvp(vjp(trace)),
    "vjp of jvp": lambda trace: vjp(jvp(trace)),
}


def step(cell: Cell, derivative: str, rng: np.random.Generator) -> OneStep:
    return OneStep(DERIVATIVES[derivative](trace_cell(cell)), SIZES).draw(rng)


@pytest.mark.parametrize("derivative", DERIVATIVES)
@pytest.mark.parametrize("one", CELLS, ids=lambda one: one.label)
def test_forward_mode_agrees_with_differences(one: Cell, derivative: str, rng: np.random.Generator) -> None:
    point = step(one, derivative, rng)
    directions = point.directions(rng)
    moved, estimated = point.push(directions), point.differences(directions)
    assert moved.keys() == estimated.keys()
    for name, along in moved.items():
        np.testing.assert_allclose(along, estimated[name], rtol=1e-8, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("derivative", DERIVATIVES)
@pytest.mark.parametrize("one", CELLS, ids=lambda one: one.label)
def test_reverse_mode_is_the_transpose_of_forward_mode(one: Cell, derivative: str, rng: np.random.Generator) -> None:
    point = step(one, derivative, rng)
    directions, weights = point.directions(rng), point.weights(rng)
    pushed, pulled = inner(weights, point.push(directions)), inner(point.pull(weights), directions)
    assert pushed != 0
    assert pulled == pytest.approx(pushed, rel=1e-10)


def test_a_value_that_is_used_twice_takes_both_flows(rng: np.random.Generator) -> None:
    @cell
    def square(x, h, W):
        return (W.h @ x) * (W.h @ x) + h * h

    point = OneStep(trace_cell(square), SIZES).draw(rng)
    weight = {"next h": rng.normal(size=4)}
    pulled, v = point.pull(weight), point.values
    np.testing.assert_allclose(pulled["h"], 2 * v["h"] * weight["next h"], rtol=1e-14)
    by_product = 2 * (v["W.h"] @ v["x"]) * weight["next h"]
    np.testing.assert_allclose(pulled["W.h"], np.outer(by_product, v["x"]), rtol=1e-14)
    np.testing.assert_allclose(pulled["x"], v["W.h"].T @ by_product, rtol=1e-14)


def test_a_state_that_is_two_states_takes_the_flow_of_both(rng: np.random.Generator) -> None:
    @cell
    def twin(x, h, c, W):
        h = c = tanh(W.h @ x) + h + c
        return h, c

    point = OneStep(trace_cell(twin), SIZES).draw(rng)
    weights = {"next h": rng.normal(size=4), "next c": rng.normal(size=4)}
    np.testing.assert_allclose(point.pull(weights)["c"], weights["next h"] + weights["next c"], rtol=1e-14)


def test_a_scalar_beside_a_vector_takes_the_sum_of_the_flow(rng: np.random.Generator) -> None:
    @cell(spaces={"a": ()})
    def scaled(x, h, W, a):
        return a.s * (W.h @ x) + a.t

    point = OneStep(trace_cell(scaled), SIZES).draw(rng)
    weight = {"next h": rng.normal(size=4)}
    pulled = point.pull(weight)
    assert pulled["a.t"] == pytest.approx(weight["next h"].sum(), rel=1e-14)
    assert pulled["a.s"] == pytest.approx(weight["next h"] @ point.values["W.h"] @ point.values["x"], rel=1e-14)


def test_a_sum_gives_every_element_the_flow(rng: np.random.Generator) -> None:
    @cell(spaces={"a": ()})
    def summed(x, h, W, a):
        return h * 0.5 + a.s * lang.sum(W.h @ x) + lang.mean(h)

    point = OneStep(trace_cell(summed), SIZES).draw(rng)
    weight = {"next h": rng.normal(size=4)}
    pulled = point.pull(weight)
    np.testing.assert_allclose(pulled["h"], 0.5 * weight["next h"] + weight["next h"].sum() / 4, rtol=1e-14)
    by_product = np.full(4, weight["next h"].sum() * point.values["a.s"])
    np.testing.assert_allclose(pulled["W.h"], np.outer(by_product, point.values["x"]), rtol=1e-14)
