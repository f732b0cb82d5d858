"""NaN and infinity have no dynamics: an error in place of a number."""

import numpy as np
import pytest

pytest.importorskip("torch")
import torch
from torch import nn

from gatewright import inspect
from gatewright.errors import DataError, OptionError, ShapeError


def test_inputs_and_states_must_be_finite() -> None:
    layer = nn.GRU(2, 3)
    for x in ([0.0, np.nan], [np.inf, 0.0]):
        with pytest.raises(OptionError, match="the input must be finite"):
            inspect.fixed_points(layer, x)
        with pytest.raises(OptionError, match="the input must be finite"):
            inspect.eigenvalues(layer, x)
        with pytest.raises(OptionError, match="the inputs must be finite"):
            inspect.lyapunov_spectrum(layer, [x])
    with pytest.raises(OptionError, match="the states must be finite"):
        inspect.fixed_points(layer, [0.0, 0.0], starts=np.full((2, 3), np.nan))


def test_a_state_that_grows_beyond_all_numbers() -> None:
    layer = nn.RNN(1, 2, nonlinearity="relu", bias=False)
    with torch.no_grad():
        layer.weight_hh_l0.copy_(4 * torch.eye(2))
        layer.weight_ih_l0.fill_(1.0)
    spectrum = inspect.lyapunov_spectrum(layer, np.ones((500, 1)), warm_up=1)  # the first step begins at the kink
    np.testing.assert_allclose(spectrum.exponents, np.log(4), rtol=1e-12)
    # (4^n - 1) / 3 after n steps: 512 of them fit below 2^1024.
    with pytest.raises(DataError, match="the state has grown beyond all numbers after 513 steps"):
        inspect.lyapunov_spectrum(layer, np.ones((600, 1)))


def test_starts() -> None:
    layer = nn.GRU(2, 3)
    by_number = inspect.fixed_points(layer, [0.0, 0.0], starts=np.int64(4))
    np.testing.assert_array_equal(by_number.points, inspect.fixed_points(layer, [0.0, 0.0], starts=4).points)
    with pytest.raises(OptionError, match="there is nothing to start from"):
        inspect.fixed_points(layer, [0.0, 0.0], starts=np.zeros((0, 3)))
    with pytest.raises(ShapeError, match="eigenvalues are those at one state"):
        inspect.eigenvalues(layer, [0.0, 0.0], np.zeros((2, 3)))
