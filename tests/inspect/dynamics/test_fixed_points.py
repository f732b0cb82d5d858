"""Fixed points and eigenvalues: of nets that can be solved by hand, and the Jacobian against difference quotients."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
import torch
from torch import nn

import gatewright as gw
from gatewright.errors import OptionError, ShapeError
from gatewright.inspect.dynamics.state_map import state_map


def linear_layer(matrix: Any) -> Any:
    """H' = matrix @ h + x."""

    @gw.cell
    def linear(x: Any, h: Any, W: Any, U: Any, b: Any) -> Any:
        return W.h @ x + U.h @ h

    size = len(matrix)
    layer = gw.nn.Recurrent(linear, size, size, dtype=torch.float64)
    parameters = layer.gate_parameters()
    with torch.no_grad():
        parameters["l0.W.h"].copy_(torch.eye(size))
        parameters["l0.U.h"].copy_(torch.as_tensor(matrix))
    return layer


def tanh_layer(recurrent: list[list[float]]) -> nn.RNN:
    """H' = tanh(recurrent @ h + x)."""
    size = len(recurrent)
    layer = nn.RNN(size, size, dtype=torch.float64)
    with torch.no_grad():
        layer.weight_ih_l0.copy_(torch.eye(size))
        layer.weight_hh_l0.copy_(torch.tensor(recurrent, dtype=torch.float64))
        layer.bias_ih_l0.zero_()
        layer.bias_hh_l0.zero_()
    return layer


LAYERS = {
    "gru": lambda: nn.GRU(3, 4, 2),
    "lstm": lambda: nn.LSTM(3, 4),
    "projected": lambda: nn.LSTM(3, 5, proj_size=2),
    "zoneout": lambda: gw.nn.Recurrent(gw.zoneout(0.3)(gw.cells.gru()), 3, 4),
    "two states and levels": lambda: gw.nn.Recurrent("lstm", 3, 4, 2, batch_first=True),
}


@pytest.mark.parametrize("name", LAYERS)
def test_the_jacobian_is_that_of_difference_quotients(name: str) -> None:
    torch.manual_seed(0)
    system, rng = state_map(LAYERS[name]()), np.random.default_rng(0)
    states, inputs = rng.normal(size=(2, system.size)), rng.normal(size=(2, 3))
    step = 1e-6
    quotients = [
        (system.step(states + step * unit, inputs) - system.step(states - step * unit, inputs)) / (2 * step)
        for unit in np.eye(system.size)
    ]
    np.testing.assert_allclose(system.jacobian(states, inputs), np.stack(quotients, -1), atol=1e-8)


def test_a_step_is_that_of_the_layer() -> None:
    torch.manual_seed(0)
    layer = nn.LSTM(3, 4, 2, dtype=torch.float64)
    system, rng = state_map(layer), np.random.default_rng(0)
    x, h, c = rng.normal(size=(1, 5, 3)), rng.normal(size=(2, 5, 4)), rng.normal(size=(2, 5, 4))
    _, (h_after, c_after) = layer(torch.tensor(x), (torch.tensor(h), torch.tensor(c)))
    states = np.concatenate([h[0], c[0], h[1], c[1]], -1)
    assert list(system.parts) == ["l0.h", "l0.c", "l1.h", "l1.c"]
    expected = torch.cat([h_after[0], c_after[0], h_after[1], c_after[1]], -1).detach().numpy()
    np.testing.assert_allclose(system.step(states, x[0]), expected, atol=1e-12)


def test_eigenvalues_of_a_linear_net() -> None:
    angle = 0.7
    turned = 0.9 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = np.zeros((3, 3))
    matrix[:2, :2], matrix[2, 2] = turned, -0.5
    spectrum = gw.inspect.eigenvalues(linear_layer(matrix), np.zeros(3))
    np.testing.assert_allclose(spectrum.jacobian, matrix, atol=1e-12)
    expected = [0.9 * np.exp(1j * angle), 0.9 * np.exp(-1j * angle), -0.5]
    np.testing.assert_allclose(spectrum.values, expected, atol=1e-12)
    assert spectrum.radius == pytest.approx(0.9)
    np.testing.assert_allclose(spectrum.half_lives, np.log(0.5) / np.log([0.9, 0.9, 0.5]))


def test_the_fixed_point_of_a_linear_net() -> None:
    matrix, x = np.array([[0.5, 0.2], [0.0, 0.8]]), np.array([1.0, -2.0])
    points = gw.inspect.fixed_points(linear_layer(matrix), x, starts=5)
    np.testing.assert_allclose(points.points, [np.linalg.solve(np.eye(2) - matrix, x)], atol=1e-8)
    assert points.stable.tolist() == [True]
    assert points.starts.tolist() == [5]
    assert points.unfinished == 0


def test_the_fixed_points_of_two_tanh_units() -> None:
    # Uncoupled: each unit solves h = tanh(2 h), so h is 0 or plus or minus 0.95750402407...; nine points together.
    side = 0.9575040240772687
    assert side == pytest.approx(np.tanh(2 * side), abs=1e-12)
    points = gw.inspect.fixed_points(tanh_layer([[2.0, 0.0], [0.0, 2.0]]), np.zeros(2), starts=200)
    expected = sorted((a, b) for a in (-side, 0.0, side) for b in (-side, 0.0, side))
    found = sorted(map(tuple, np.round(points.points, 9) + 0.0))
    np.testing.assert_allclose(found, expected, atol=1e-8)
    is_corner = np.abs(points.points).min(1) > 0.5
    np.testing.assert_array_equal(points.stable, is_corner)
    slopes = np.sort(2 * (1 - points.points**2), axis=1)[:, ::-1]  # the Jacobian is diagonal
    np.testing.assert_allclose(points.eigenvalues, slopes, atol=1e-7)
    assert (points.residuals < 1e-9).all()
    assert points.starts.sum() + points.unfinished == 200


def test_starts_of_ones_own_and_slow_points() -> None:
    # h' = tanh(h + x): with a small x there is no fixed point near 0, but h moves slowly there.
    layer = tanh_layer([[1.0]])
    near = gw.inspect.fixed_points(layer, [1e-3], starts=[[0.0], [0.5]])
    root = near.points[0, 0]
    assert len(near) == 1
    assert root == pytest.approx(np.tanh(root + 1e-3), abs=1e-9)
    np.testing.assert_array_equal(near.state("h"), near.points)
    # Above its threshold tanh(1.5 h + x) has one fixed point; what is left of the others is a slow point.
    slow = gw.inspect.fixed_points(tanh_layer([[1.5]]), [0.3], starts=[[-0.55]], slow=0.2)
    assert len(slow) == 1
    h = slow.points[0, 0]
    assert 1.5 * (1 - np.tanh(1.5 * h + 0.3) ** 2) == pytest.approx(1, abs=1e-4)  # the residual's slope is 0
    assert slow.residuals[0] == pytest.approx(abs(np.tanh(1.5 * h + 0.3) - h))
    none = gw.inspect.fixed_points(tanh_layer([[1.5]]), [0.3], starts=[[-0.55]])
    assert (len(none), none.unfinished) == (0, 1)
    assert none.points.shape == (0, 1)


def test_a_model_with_one_layer_serves() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Dropout(0.5), nn.GRU(3, 4)).train()
    points = gw.inspect.fixed_points(model, np.zeros(3), starts=4)
    np.testing.assert_array_equal(points.points, gw.inspect.fixed_points(model[1], np.zeros(3), starts=4).points)
    assert model.training


@pytest.mark.parametrize(
    ("layer", "match"),
    [
        (nn.GRU(3, 4, bidirectional=True), "a bidirectional layer reads from both ends"),
        (nn.Sequential(nn.GRU(3, 4), nn.GRU(4, 4)), "the Sequential has 2 recurrent layers"),
        (nn.Linear(3, 4), "the Linear has no recurrent layers"),
    ],
)
def test_what_is_no_map(layer: nn.Module, match: str) -> None:
    with pytest.raises(OptionError, match=match):
        gw.inspect.fixed_points(layer, np.zeros(3))


def test_what_does_not_fit() -> None:
    layer = nn.GRU(3, 4)
    with pytest.raises(ShapeError, match="the input does not fit the layer"):
        gw.inspect.fixed_points(layer, np.zeros(2))
    with pytest.raises(ShapeError, match="the states do not fit the layer"):
        gw.inspect.eigenvalues(layer, np.zeros(3), np.zeros(5))
    with pytest.raises(OptionError, match="there is nothing to start from"):
        gw.inspect.fixed_points(layer, np.zeros(3), starts=0)
    with pytest.raises(OptionError, match="the layer has no state 'c'"):
        gw.inspect.fixed_points(layer, np.zeros(3), starts=1).state("c")
