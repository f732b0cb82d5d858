"""Lyapunov exponents of systems that are known: linear ones, and a scalar net along its own path."""

import numpy as np
import pytest

pytest.importorskip("torch")
import torch
from torch import nn

import gatewright as gw
from gatewright.errors import OptionError, ShapeError
from tests.inspect.dynamics.test_fixed_points import linear_layer, tanh_layer


def test_a_linear_contraction() -> None:
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    matrix = basis @ np.diag([0.9, 0.5, 0.1]) @ basis.T
    spectrum = gw.inspect.lyapunov_spectrum(linear_layer(matrix), rng.normal(size=(200, 3)), warm_up=50)
    np.testing.assert_allclose(spectrum.exponents, np.log([0.9, 0.5, 0.1]), atol=1e-9)
    np.testing.assert_allclose(spectrum.half_lives, np.log(0.5) / np.log([0.9, 0.5, 0.1]))
    assert spectrum.running.shape == (150, 3)
    assert (spectrum.dimension, spectrum.entropy_rate) == (0.0, 0.0)


def test_a_linear_expansion_has_a_dimension() -> None:
    layer, inputs = linear_layer(np.diag([2.0, 0.25])), np.zeros((40, 2))
    spectrum = gw.inspect.lyapunov_spectrum(layer, inputs, warm_up=30)
    np.testing.assert_allclose(spectrum.exponents, [np.log(2), np.log(0.25)], atol=1e-9)
    assert spectrum.dimension == pytest.approx(1.5)  # 1 + log 2 / log 4
    assert spectrum.entropy_rate == pytest.approx(np.log(2))
    largest = gw.inspect.lyapunov_spectrum(layer, inputs, warm_up=30, count=1)
    np.testing.assert_allclose(largest.exponents, [np.log(2)], atol=1e-9)
    assert np.isnan(largest.dimension)


def test_the_exponent_of_a_scalar_net_is_the_mean_logarithm_of_its_slope() -> None:
    weight, rows = 1.7, np.random.default_rng(0).normal(size=(60, 2, 1))
    spectrum = gw.inspect.lyapunov_spectrum(tanh_layer([[weight]]), rows, states=[[0.1], [-0.4]], warm_up=10)
    for row, h in enumerate((0.1, -0.4)):
        growth = []
        for x in rows[:, row, 0]:
            h = np.tanh(weight * h + x)  # noqa: PLW2901
            growth.append(np.log(weight * (1 - h**2)))
        assert spectrum.by_row[row, 0] == pytest.approx(np.mean(growth[10:]))
    assert spectrum.exponents[0] == pytest.approx(spectrum.by_row.mean())


def test_the_sum_of_all_exponents_is_the_mean_logarithm_of_the_determinant() -> None:
    torch.manual_seed(0)
    layer, inputs = nn.GRU(2, 3), np.random.default_rng(0).normal(size=(30, 2))
    spectrum = gw.inspect.lyapunov_spectrum(layer, inputs)
    state, logarithms = np.zeros(3), []
    for x in inputs:
        jacobian = gw.inspect.eigenvalues(layer, x, state).jacobian
        logarithms.append(np.log(abs(np.linalg.det(jacobian))))
        after, _ = layer(torch.tensor(x[None, None]).float(), torch.tensor(state[None, None]).float())
        state = after.detach().double().numpy()[0, 0]
    assert spectrum.exponents.sum() == pytest.approx(np.mean(logarithms), abs=1e-5)


def test_what_is_forgotten_at_once() -> None:
    spectrum = gw.inspect.lyapunov_spectrum(linear_layer(np.diag([0.5, 0.0])), np.zeros((20, 2)), warm_up=10)
    assert spectrum.exponents[0] == pytest.approx(np.log(0.5), abs=1e-9)
    assert spectrum.exponents[1] < -15


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"count": 0}, "there are no so many exponents"),
        ({"count": 5}, "there are no so many exponents"),
        ({"warm_up": 7}, "no step is left after the warm-up"),
    ],
)
def test_options_that_cannot_be(options: dict[str, int], match: str) -> None:
    with pytest.raises(OptionError, match=match):
        gw.inspect.lyapunov_spectrum(nn.GRU(3, 4), np.zeros((7, 3)), **options)


def test_arrays_that_do_not_fit() -> None:
    with pytest.raises(ShapeError, match="the inputs do not fit the layer"):
        gw.inspect.lyapunov_spectrum(nn.GRU(3, 4), np.zeros((7, 2)))
    with pytest.raises(ShapeError, match="there is not one state a sequence"):
        gw.inspect.lyapunov_spectrum(nn.GRU(3, 4), np.zeros((7, 2, 3)), states=np.zeros((3, 4)))
