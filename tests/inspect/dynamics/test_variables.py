"""Which unit or direction holds a variable, and which gates carry an input on."""

import numpy as np
import pytest

pytest.importorskip("torch")
import torch
from torch import nn

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


@pytest.mark.parametrize(("cell", "gate", "writes"), [("gru", "z", "z"), ("lstm", "f", "i"), ("mgu", "f", "f")])
def test_the_share_of_an_input_that_is_left(cell: str, gate: str, writes: str) -> None:
    torch.manual_seed(0)
    activations = gw.inspect.record(gw.nn.Recurrent(cell, 3, 4), torch.randn(8, 2, 3), lengths=[8, 6])
    layer = activations.layer()
    copied = gw.inspect.copied_input(activations, 2, row=1)
    assert (copied.gate, copied.writes) == (gate, writes)
    keeping = layer.gates[gate][:, 1] if layer.roles.signs()[gate] > 0 else 1 - layer.gates[gate][:, 1]
    share = layer.gates["i"][2, 1].astype(float) if writes == "i" else 1 - keeping[2].astype(float)
    assert copied.copied.shape == (4, 4)  # to the end of the row
    for step in range(2, 6):
        share = share * keeping[step] if step > 2 else share
        np.testing.assert_allclose(copied.copied[step - 2], share, rtol=1e-6)


def test_an_input_that_a_gate_carries_whole() -> None:
    """Exercise 2: to use the input of step t' at step t, z is 0 at t' and 1 from there to t."""
    layer = gw.nn.Recurrent("gru", 2, 1, dtype=torch.float64)  # reads a value, and a mark that opens the gate
    parameters = layer.gate_parameters()
    with torch.no_grad():
        for tensor in parameters.values():
            tensor.zero_()
        parameters["l0.W.z"].copy_(torch.tensor([[0.0, -60.0]]))
        parameters["l0.b.z"].fill_(30.0)
        parameters["l0.W.n"].copy_(torch.tensor([[1.0, 0.0]]))
    x = torch.zeros(9, 1, 2, dtype=torch.float64)
    x[:, 0, 0] = torch.linspace(-1, 1, 9)
    x[3, 0, 1] = 1
    activations = gw.inspect.record(layer, x)
    np.testing.assert_allclose(gw.inspect.copied_input(activations, 3).copied, 1, atol=1e-10)
    np.testing.assert_allclose(gw.inspect.copied_input(activations, 2).copied, 0, atol=1e-10)
    np.testing.assert_allclose(activations.layer().states["h"][3:, 0, 0], np.tanh(float(x[3, 0, 0])), atol=1e-10)


def test_inputs_that_nothing_copies() -> None:
    recorded = gw.inspect.record(nn.GRU(3, 4), torch.zeros(5, 2, 3))
    with pytest.raises(OptionError, match="there is no row 2"):
        gw.inspect.copied_input(recorded, 0, row=2)
    with pytest.raises(OptionError, match="row 0 has no step 5"):
        gw.inspect.copied_input(recorded, 5)
    with pytest.raises(OptionError, match="no gate of layer 'l0' keeps or replaces its state"):
        gw.inspect.copied_input(gw.inspect.record(nn.RNN(3, 4), torch.zeros(5, 2, 3)), 0)
