"""What of an input is still in the state at later steps."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
import torch
from torch import nn

import gatewright as gw
from gatewright.errors import OptionError


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


@pytest.mark.parametrize("row", [0, 1])
def test_a_layer_that_reads_from_the_end_has_read_the_step_before_it(row: int) -> None:
    torch.manual_seed(0)
    x, lengths = torch.randn(7, 2, 3), [7, 5]
    both = gw.nn.Recurrent("gru", 3, 4, bidirectional=True)
    activations = gw.inspect.record(both, x, None, lengths)
    copied = gw.inspect.copied_input(activations, 3, row=row, layer="l0_reverse")
    z = activations.layer("l0_reverse").gates["z"][:, row].astype(float)
    expected = (1 - z[3]) * np.array([np.ones(4), z[2], z[2] * z[1], z[2] * z[1] * z[0]])
    np.testing.assert_allclose(copied.copied, expected, rtol=1e-6)
    assert copied.is_backward
    figure = gw.inspect.copied_input_figure(copied, z[: lengths[row]])
    drawn: Any = figure.axes[1].images[0]
    assert tuple(drawn.get_extent())[:2] == (-0.5, 3.5)
    shown = np.asarray(drawn.get_array()).T  # (steps, units), in the order of time
    np.testing.assert_allclose(np.sort(shown[0]), np.sort(expected[-1]), rtol=1e-6)


@gw.cell
def leaky(x, h, W, U, b):
    f = gw.sigmoid(W.f @ x + b.f)
    return f * h + gw.tanh(W.n @ x + U.n @ h + b.n)


def test_a_candidate_that_comes_in_whole() -> None:
    torch.manual_seed(0)
    activations = gw.inspect.record(gw.nn.Recurrent(leaky, 3, 4), torch.randn(6, 1, 3))
    copied = gw.inspect.copied_input(activations, 2)
    f = activations.layer().gates["f"][:, 0].astype(float)
    np.testing.assert_allclose(copied.copied, [np.ones(4), f[3], f[3] * f[4], f[3] * f[4] * f[5]], rtol=1e-6)


def test_two_gates_that_share_out_the_state() -> None:
    torch.manual_seed(0)
    activations = gw.inspect.record(gw.nn.Recurrent("minlstm", 3, 4), torch.randn(5, 1, 3))
    copied = gw.inspect.copied_input(activations, 2)
    f, i = (activations.layer().gates[name][:, 0].astype(float) for name in "fi")
    kept = f / (f + i)
    written = i[2] / (f[2] + i[2])
    np.testing.assert_allclose(copied.copied, [written, written * kept[3], written * kept[3] * kept[4]], rtol=1e-6)


def test_gates_that_let_in_something_else() -> None:
    activations = gw.inspect.record(gw.nn.Recurrent("fastgrnn", 3, 4), torch.randn(5, 1, 3))
    with pytest.raises(OptionError, match="how much the gates z of 'fastgrnn' let in cannot be told"):
        gw.inspect.copied_input(activations, 2)
