"""Which unit or direction holds a variable."""

import numpy as np
import pytest

pytest.importorskip("torch")

import gatewright as gw
from gatewright.errors import OptionError, ShapeError
from tests.inspect.dynamics.test_state_space import activations_of

RNG = np.random.default_rng(0)


def test_the_unit_that_holds_a_bit() -> None:
    bits = RNG.integers(0, 2, (30, 8))
    states = RNG.normal(size=(30, 8, 5))
    states[..., 3] = 0.2 - 0.7 * bits + 0.05 * RNG.normal(size=bits.shape)
    held = gw.inspect.find_variable(activations_of(states), bits)
    assert (held.unit, held.unit_score, held.is_bit) == (3, 1.0, True)
    assert held.direction_score == 1.0
    assert held.direction[3] < 0
    assert np.abs(held.direction).argmax() == 3
    others = np.delete(held.unit_scores, 3)
    assert others.max() < 0.65
    np.testing.assert_array_equal(held.read(states) > 0.5, bits == 1)
    assert held.baseline == pytest.approx(max(bits[:, 4:].mean(), 1 - bits[:, 4:].mean()))


def test_a_direction_where_no_unit_holds_the_bit() -> None:
    bits, noise = RNG.integers(0, 2, (50, 6)), RNG.normal(size=(50, 6))
    states = np.stack([noise + bits, noise - bits], -1)
    held = gw.inspect.find_variable(activations_of(states), bits)
    assert held.direction_score == 1.0
    assert held.unit_score < 0.8
    np.testing.assert_allclose(held.read(states), bits, atol=1e-3)


def test_a_rare_bit_is_not_outvoted() -> None:
    bits = (RNG.random((400, 2)) < 0.05).astype(float)
    states = np.stack([bits, RNG.normal(size=bits.shape)], -1)
    held = gw.inspect.find_variable(activations_of(states), bits)
    assert held.direction_score == 1.0
    assert held.baseline > 0.9


def test_the_direction_of_a_number_is_that_of_least_squares() -> None:
    states = RNG.normal(size=(40, 4, 3))
    numbers = states @ [0.5, -2.0, 0.0] + 1.5 + 0.1 * RNG.normal(size=(40, 4))
    numbers[5, 2] = np.nan
    held = gw.inspect.find_variable(activations_of(states, [40, 30, 20, 40]), numbers)
    fitted = np.concatenate([states[:40, 0], states[:30, 1]])
    wanted = np.concatenate([numbers[:40, 0], numbers[:30, 1]])
    slopes, *_ = np.linalg.lstsq(np.column_stack([fitted, np.ones(len(fitted))]), wanted)
    np.testing.assert_allclose([*held.direction, held.offset], slopes, atol=1e-4)
    asked = np.concatenate([np.delete(np.arange(20), 5), np.arange(40)])
    rows = np.array([2] * 19 + [3] * 40)
    errors = numbers[asked, rows] - (states[asked, rows] @ held.direction + held.offset)
    spread = numbers[asked, rows] - numbers[asked, rows].mean()
    assert held.direction_score == pytest.approx(1 - (errors**2).sum() / (spread**2).sum())
    assert held.unit == 1
    assert not held.is_bit


def test_a_single_row_is_measured_at_its_end() -> None:
    bits = np.zeros((20, 1))
    bits[::2] = 1
    states = np.stack([bits, 1 - bits], -1)
    states[10:] = 0.5  # what was fitted does not hold later
    held = gw.inspect.find_variable(activations_of(states), bits)
    assert held.unit_score == 0.5


def test_what_cannot_be_found() -> None:
    activations = activations_of(RNG.normal(size=(6, 4, 2)))
    with pytest.raises(ShapeError, match="there is not one value a step"):
        gw.inspect.find_variable(activations, np.zeros((4, 6)))
    with pytest.raises(OptionError, match="the values do not vary where they are fitted"):
        gw.inspect.find_variable(activations, np.zeros((6, 4)))
    with pytest.raises(OptionError, match="held_out is a share"):
        gw.inspect.find_variable(activations, np.zeros((6, 4)), held_out=1.0)
    bits = RNG.integers(0, 2, (6, 4))
    with pytest.raises(OptionError, match=r"layer 'rnn\.l0' has no gate or state 'c'"):
        gw.inspect.find_variable(activations, bits, state="c")
    with pytest.raises(OptionError, match="the model has no recurrent layer 'l7'"):
        gw.inspect.find_variable(activations, bits, layer="l7")
