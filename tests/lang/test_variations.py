"""Variations of cells: each is held to its formula, and the equations of the cell are left as they are."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from gatewright.backends import numpy_ref
from gatewright.errors import CellError, OptionError
from gatewright.lang import Cell, Op, cell, layer_norm, masked, recurrent_dropout, residual, sigmoid, tanh, zoneout
from gatewright.trace import trace_cell
from tests.properties.strategies import Problem, problem

SIZES = {"input": 3, "hidden": 3}


@cell
def unit(x, h, c, W, U, b, p):
    """Two states, a peephole, and a state that goes into a product only after an elementwise operation."""
    f = sigmoid(W.f @ x + U.f @ h + b.f + p.f * c)
    g = tanh(W.g @ x + U.g @ (f * h))
    c = f * c + (1 - f) * g
    return tanh(c), c


def _problem(varied: Cell, seed: int) -> Problem:
    return problem(trace_cell(varied), SIZES, seed, steps=4, batch=2)


def _check_steps(
    made: Problem, step: Callable[[np.ndarray, dict[str, np.ndarray], int], dict[str, np.ndarray]]
) -> None:
    """Hold that each step of the varied cell follows `step`, a function of the input, the states and the time."""
    result = made.run()
    states = dict(made.states)
    for t, x in enumerate(made.inputs["x"]):
        states = step(x, states, t)
        for name, value in states.items():
            np.testing.assert_allclose(result.sequences[name][t], value, rtol=0, atol=1e-14)


def _unit(made: Problem, x: np.ndarray, states: dict[str, np.ndarray], **params: np.ndarray) -> dict[str, np.ndarray]:
    """One step of the plain cell."""
    only = {name: states[name] for name in ("h", "c")}
    trace = trace_cell(unit)
    known = {param.name: made.params[param.name] for param in trace.params}
    return numpy_ref.run(trace, {"x": x[None]}, {**known, **params}, only).finals


def test_masked_keeps_the_state_where_the_mask_is_0(seed: int) -> None:
    made = _problem(masked(unit), seed)
    mask = made.inputs["mask"][..., None]
    assert set(mask.ravel()) == {0.0, 1.0}

    def step(x, states, t):
        new = _unit(made, x, states)
        return {name: mask[t] * new[name] + (1 - mask[t]) * states[name] for name in new}

    _check_steps(made, step)


def test_zoneout_keeps_units_of_the_state(seed: int) -> None:
    made = _problem(zoneout({"c": 0.5})(unit), seed)
    (keep,) = made.noises.values()
    assert set(keep.ravel()) == {0.0, 1.0}

    def step(x, states, t):
        new = _unit(made, x, states)
        return {"h": new["h"], "c": keep[t] * states["c"] + (1 - keep[t]) * new["c"]}

    _check_steps(made, step)


def test_zoneout_in_evaluation_is_the_mean(seed: int) -> None:
    made = replace(_problem(zoneout(0.25)(unit), seed), noises=None)

    def step(x, states, t):
        new = _unit(made, x, states)
        return {name: 0.25 * states[name] + 0.75 * new[name] for name in new}

    _check_steps(made, step)


def test_recurrent_dropout_drops_what_the_recurrent_matrices_multiply(seed: int) -> None:
    made = _problem(recurrent_dropout(0.5)(unit), seed)
    (mask,) = made.noises.values()
    assert set(mask.ravel()) == {0.0, 1.0}
    assert (mask == mask[0]).all(), "one mask for a sequence"
    U = {name: value for name, value in made.params.items() if name.startswith("U.")}

    def step(x, states, t):
        rows = [
            _unit(
                made,
                x[row : row + 1],
                {name: value[row : row + 1] for name, value in states.items()},
                **{name: value * mask[t, row] / 0.5 for name, value in U.items()},
            )
            for row in range(len(x))
        ]
        return {name: np.concatenate([one[name] for one in rows]) for name in states}

    _check_steps(made, step)


def test_recurrent_dropout_per_step_draws_anew() -> None:
    (noise,) = trace_cell(recurrent_dropout(0.5, per="step")(unit)).noises
    assert (noise.probability, noise.per) == (0.5, "step")


def test_residual_adds_the_input_to_what_is_emitted(seed: int) -> None:
    made = _problem(residual(unit), seed)

    def step(x, states, t):
        new = _unit(made, x, states)
        return {"out": new["h"] + x, **new}

    _check_steps(made, step)
    assert next(iter(residual(unit).states)) == "out"


def test_layer_norm_normalises_the_products_and_adds_the_rest_after(seed: int) -> None:
    made = _problem(layer_norm(unit), seed)
    assert layer_norm(unit).spaces["gain"].initial == 1.0

    def norm(a):
        return (a - a.mean(-1, keepdims=True)) / np.sqrt(a.var(-1, keepdims=True) + 1e-5)

    def step(x, states, t):
        P, h, c = made.params, states["h"], states["c"]
        f = norm(x @ P["W.f"].T + h @ P["U.f"].T) * P["gain.f"] + P["b.f"] + P["p.f"] * c
        f = 1 / (1 + np.exp(-f))
        c = f * c + (1 - f) * np.tanh(norm(x @ P["W.g"].T + (f * h) @ P["U.g"].T) * P["gain.g"])
        return {"h": np.tanh(c), "c": c}

    _check_steps(made, step)


def test_variations_can_be_put_around_each_other(seed: int) -> None:
    varied = masked(zoneout(0.25)(recurrent_dropout(0.5)(layer_norm(unit))))
    assert varied.name == "masked(zoneout(0.25)(recurrent_dropout(0.5, per='sequence')(layer_norm(unit))))"
    assert [noise.per for noise in trace_cell(varied).noises] == ["sequence", "step", "step"]
    assert np.isfinite(_problem(varied, seed).run().output).all()


@pytest.mark.parametrize("vary", [masked, zoneout(0.5), recurrent_dropout(0.5), residual, layer_norm])
def test_gates_keep_their_names(vary: Callable[[Cell], Cell]) -> None:
    assert [name for name, _ in trace_cell(vary(unit)).gates] == ["f", "g"]


def test_a_rate_of_zero_changes_nothing() -> None:
    assert trace_cell(zoneout(0.0)(unit)).equations == trace_cell(unit).equations


@pytest.mark.parametrize(
    ("vary", "kind", "text"),
    [
        (lambda: masked(masked(unit)), CellError, "cell 'masked(unit)' is masked already\n  do: use masked once"),
        (
            lambda: residual(residual(unit)),
            CellError,
            "cell 'residual(unit)' already has a state 'out'\n  do: use residual once",
        ),
        (
            lambda: zoneout(1.0),
            OptionError,
            "zoneout has a rate that cannot be\n  expected: 0 <= rate < 1\n  got: 1.0",
        ),
        (
            lambda: zoneout({"h": -0.1}),
            OptionError,
            "zoneout has a rate that cannot be\n  expected: 0 <= rate < 1\n  got: -0.1",
        ),
        (
            lambda: zoneout({"m": 0.1})(unit),
            OptionError,
            "zoneout names a state that cell 'unit' does not have\n  expected: h, c\n  got: m",
        ),
        (
            lambda: recurrent_dropout(1),
            OptionError,
            "recurrent_dropout has a rate that cannot be\n  expected: 0 <= rate < 1\n  got: 1",
        ),
    ],
)
def test_a_variation_that_cannot_be_is_refused(vary: Callable[[], object], kind: type[Exception], text: str) -> None:
    with pytest.raises(kind) as raised:
        vary()
    assert str(raised.value) == text


def test_where_a_mask_is_0_nothing_that_is_not_finite_comes_through(seed: int) -> None:
    made = _problem(masked(unit), seed)
    inputs = {"x": np.full_like(made.inputs["x"], np.nan), "mask": np.zeros_like(made.inputs["mask"])}
    result = numpy_ref.run(made.trace, inputs, made.params, made.states)
    np.testing.assert_array_equal(result.finals["c"], made.states["c"])
    assert Op.WHERE in {equation.op for equation in made.trace.equations}
