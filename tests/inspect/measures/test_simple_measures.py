"""Measures of units, against the numbers of a loop over steps and rows."""

import numpy as np
import pytest

pytest.importorskip("torch")
import torch

import gatewright as gw
from gatewright.inspect import Activations, half_life, record, saturation
from gatewright.inspect.measures.steps import by_value
from tests.inspect.recorded import LENGTHS, recorded_lstm


@pytest.fixture
def activations() -> Activations:
    return recorded_lstm()


def steps_of(activations: Activations, name: str) -> np.ndarray:
    values = activations.layer().values(name)
    return np.array([values[step, row] for row, length in enumerate(LENGTHS) for step in range(length)], np.float64)


def test_saturation_counts_steps(activations: Activations) -> None:
    tables = {table.gate: table for table in saturation(activations)}
    assert tables.keys() == {"i", "f", "o"}
    for gate, table in tables.items():
        values = steps_of(activations, gate)
        np.testing.assert_array_equal(table.left, (values < 0.1).mean(0))
        np.testing.assert_array_equal(table.right, (values > 0.9).mean(0))
        assert table.steps == sum(LENGTHS)


def test_half_lives_are_those_of_products(activations: Activations) -> None:
    (found,) = half_life(activations)
    assert (found.layer, found.gate) == ("l0", "f")
    values = steps_of(activations, "f")
    kept_in_one_step = values.prod(0) ** (1 / len(values))
    np.testing.assert_allclose(kept_in_one_step**found.steps, 0.5)


def test_a_gate_that_replaces_is_taken_from_one() -> None:
    torch.manual_seed(0)
    x = torch.randn(6, 3, 3)
    layer = gw.nn.Recurrent(gw.cells.gru(update="replaces"), 3, 5)
    (found,) = half_life(record(layer, x))
    kept = 1 - record(layer, x).layer().gates["z"].astype(np.float64).reshape(-1, 5)
    np.testing.assert_allclose(kept.prod(0) ** (found.steps / len(kept)), 0.5)


def test_moments_of_a_stream_are_those_of_the_whole(activations: Activations) -> None:
    moments = by_value([activations, activations])["l0", "c"]
    values = np.concatenate([steps_of(activations, "c")] * 2)
    np.testing.assert_allclose(moments.mean, values.mean(0))
    np.testing.assert_allclose(moments.variance, values.var(0))


def test_a_gate_that_is_always_open_never_forgets() -> None:
    layer = gw.nn.Recurrent("lstm", 3, 2)
    for name, parameter in layer.gate_parameters().items():
        torch.nn.init.constant_(parameter.detach(), 1000.0 if name == "l0.b.f" else 0.0)
    assert half_life(record(layer, torch.zeros(4, 1, 3)))[0].steps.tolist() == [np.inf, np.inf]


def halved(shares: np.ndarray) -> np.ndarray:
    """Steps until half is left, of shares (steps, units) that are kept one after the other."""
    return np.log(0.5) / np.log(shares).mean(0)


def test_a_share_that_two_gates_decide() -> None:
    """A minLSTM keeps f / (f + i) of its state, not f."""
    torch.manual_seed(0)
    activations = record(gw.nn.Recurrent("minlstm", 3, 4), torch.randn(7, 2, 3))
    (found,) = half_life(activations)
    gates = {name: values.astype(np.float64).reshape(-1, 4) for name, values in activations.layer().gates.items()}
    assert found.gate == "f, i"
    np.testing.assert_allclose(found.steps, halved(gates["f"] / (gates["f"] + gates["i"])))


def test_a_share_that_several_steps_within_a_step_decide() -> None:
    """A recurrent highway network goes through three levels in a step, each with a gate of its own."""
    torch.manual_seed(0)
    activations = record(gw.nn.Recurrent("rhn", 3, 4), torch.randn(7, 2, 3))
    (found,) = half_life(activations)
    gates = {name: values.astype(np.float64).reshape(-1, 4) for name, values in activations.layer().gates.items()}
    assert found.gate == "t1, t2, t3"
    np.testing.assert_allclose(found.steps, halved((1 - gates["t1"]) * (1 - gates["t2"]) * (1 - gates["t3"])))


@gw.cell
def growing(x, h, W, U, b):
    f = gw.exp(W.f @ x + b.f)
    return f * h + gw.tanh(W.n @ x + U.n @ h + b.n)


def test_a_share_above_one_never_halves() -> None:
    layer = gw.nn.Recurrent(growing, 3, 2)
    with torch.no_grad():
        for name, parameter in layer.gate_parameters().items():
            parameter.copy_(torch.tensor([0.5, -0.5]) if name == "l0.b.f" else torch.zeros(parameter.shape))
    (found,) = half_life(record(layer, torch.zeros(4, 1, 3)))
    np.testing.assert_allclose(found.steps, [np.inf, np.log(2) / 0.5], rtol=1e-6)


@gw.cell
def weighted(x, h, W, U, b, p):
    z = gw.sigmoid(W.z @ x + b.z)
    return p.a * z * h + gw.tanh(W.n @ x + U.n @ h + b.n)


def test_a_share_that_a_parameter_decides_as_well_has_no_half_life() -> None:
    assert half_life(record(gw.nn.Recurrent(weighted, 3, 2), torch.zeros(4, 1, 3))) == []
