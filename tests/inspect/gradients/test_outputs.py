"""Outputs of models that have no axis of rows, one number a row, or other steps than the layer."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
import torch
from torch import Tensor, nn

from gatewright import inspect
from gatewright.errors import OptionError, ShapeError
from tests.inspect.recorded import Halving


class Scores(nn.Module):
    """Scores by step: as they are, with time and rows in one axis, with rows first, or one number a row."""

    def __init__(self, form: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.rnn, self.out, self.form = nn.GRU(3, 4), nn.Linear(4, 5), form

    def forward(self, x: Tensor) -> Tensor:
        scores = self.out(self.rnn(x)[0])
        match self.form:
            case "flat":
                return scores.reshape(-1, 5)
            case "rows first":
                return scores.transpose(0, 1)
            case "by step":
                return scores
            case "one a step":
                return scores[..., 2]
            case "rows read one another":
                return scores + scores.mean((0, 1))
            case _:
                return scores[..., 2].mean(0)


FUNCTIONS = [
    inspect.saliency,
    inspect.integrated_gradients,
    inspect.saliency_by_lag,
    lambda model, x: inspect.effective_memory(model, x, of="output"),
]


@pytest.mark.parametrize(("form", "steps"), [("flat", 2), ("flat", 6), ("rows read one another", 2)])
@pytest.mark.parametrize("measure", FUNCTIONS)
def test_outputs_without_an_axis_of_rows_are_refused(measure: Any, form: str, steps: int) -> None:
    with pytest.raises(OptionError, match="the Scores gives no outputs by row"):
        measure(Scores(form), torch.randn(steps, 2, 3))


@pytest.mark.parametrize("steps", [2, 6])
@pytest.mark.parametrize("form", ["rows first", "one a step"])
def test_the_axes_of_outputs_are_told_apart(form: str, steps: int) -> None:
    """Also where there are as many rows as steps."""
    torch.manual_seed(1)
    x, place = torch.randn(steps, 2, 3), 2 if form == "rows first" else 0
    saliency = inspect.saliency(Scores(form), x, output=place, step=1)
    expected = inspect.saliency(Scores("by step"), x, output=2, step=1)
    np.testing.assert_array_equal(saliency.outputs, expected.outputs)
    np.testing.assert_array_equal(saliency.gradient, expected.gradient)
    shares = inspect.integrated_gradients(Scores(form), x, output=place, step=1)
    assert np.abs(shares.error).max() < 1e-5
    memory = inspect.effective_memory(Scores(form), x, of="output", lags=1)
    assert memory.by_unit.shape == (2, 5 if form == "rows first" else 1)


def test_one_number_a_row() -> None:
    model, x = Scores("number").double(), torch.randn(4, 2, 3, dtype=torch.float64)
    saliency = inspect.saliency(model, x)
    np.testing.assert_allclose(saliency.outputs, model(x).detach())
    moved = x.clone()
    moved[1, 0, 2] += 1e-6
    change = (model(moved) - model(x))[0].item() / 1e-6
    np.testing.assert_allclose(saliency.gradient[1, 0, 2], change, rtol=1e-4)


def test_a_layer_with_other_steps_has_no_memory_by_lag() -> None:
    with pytest.raises(OptionError, match="the layer 'above' has 4 steps where the model reads 8"):
        inspect.effective_memory(Halving(), torch.randn(8, 2, 3), lags=20)
    assert inspect.effective_memory(Halving(), torch.randn(8, 2, 3), lags=3, layer="below").ends.all()


def test_every_run_of_a_stateful_model_begins_as_the_first() -> None:
    class Stateful(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.rnn, self.state = nn.GRU(3, 4), None

        def forward(self, x: Tensor) -> Tensor:
            output, self.state = self.rnn(x, self.state)
            return output

    model, x = Stateful(), torch.randn(5, 2, 3)
    stateful = inspect.integrated_gradients(model, x, output=1)
    plain = inspect.integrated_gradients(model.rnn, x, output=1)
    np.testing.assert_array_equal(stateful.values, plain.values)


def test_padding_that_is_not_a_number_does_not_spread() -> None:
    torch.manual_seed(0)
    layer, x = nn.GRU(3, 4), torch.randn(6, 2, 3)
    padded = x.clone()
    padded[3:, 1] = torch.nan
    saliency = inspect.saliency(layer, padded, lengths=[6, 3], output=1)
    alone = inspect.saliency(layer, x[:3, 1:], output=1)
    np.testing.assert_allclose(saliency.gradient[:3, 1], alone.gradient[:, 0], atol=1e-7)
    shares = inspect.integrated_gradients(layer, padded, lengths=[6, 3], output=1)
    assert np.abs(shares.error).max() < 1e-5
    memory = inspect.effective_memory(layer, padded, lengths=[6, 3], lags=2, ends=100)
    assert np.isfinite(memory.norms).all()


def test_what_does_not_fit() -> None:
    layer, x = nn.GRU(3, 4), torch.randn(6, 2, 3)
    with pytest.raises(OptionError, match="the labels do not fit the outputs"):
        inspect.saliency(layer, x, labels="ab")
    with pytest.raises(OptionError, match="row 0 has fewer symbols than steps"):
        inspect.saliency(layer, x, symbols="abcdef")
    with pytest.raises(OptionError, match="there is no step to look at"):
        inspect.saliency_by_lag(layer, x, steps=0)
    with pytest.raises(ShapeError, match="the baseline does not fit"):
        inspect.integrated_gradients(layer, x, baseline=np.zeros(7))
