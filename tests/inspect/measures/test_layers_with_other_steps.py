"""Measures of layers that have fewer steps than the rows, and of states that are not finite."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
import torch
from torch import nn

import gatewright as gw
from gatewright import inspect
from gatewright.errors import DataError, OptionError
from gatewright.inspect import Activations, record
from tests.inspect.recorded import Halving


@pytest.fixture
def activations() -> Activations:
    """All gates are open."""
    model = Halving()
    with torch.no_grad():
        for layer in (model.below, model.above):
            layer.bias_hh_l0.fill_(9.0)
    torch.manual_seed(1)
    return record(model, torch.randn(10, 3, 3), symbols=[list("abcdefghij")] * 3)


def test_saturation_counts_the_steps_of_each_layer(activations: Activations) -> None:
    tables = {(table.layer, table.gate): table for table in inspect.saturation(activations)}
    assert tables["above.l0", "z"].steps == 15
    np.testing.assert_array_equal(tables["above.l0", "z"].right, np.ones(4))
    np.testing.assert_array_equal(tables["below.l0", "z"].right, np.ones(4))


def test_measures_take_the_steps_of_each_layer(activations: Activations) -> None:
    states = activations.layer("above.l0").states["h"].astype(np.float64)
    course = inspect.mean_and_spread(activations, "h", layer="above.l0", align="end")
    np.testing.assert_allclose(course.mean, states.mean(1), atol=1e-12)
    order = next(o for o in inspect.unit_order(activations) if (o.layer, o.value) == ("above.l0", "h"))
    np.testing.assert_allclose(order.variance, states.reshape(-1, 4).var(0))
    assert np.isnan(order.selectivity).all(), "symbols name the steps of the layer below"
    plane = inspect.state_plane(activations, "above.l0")
    assert [path.shape for path in plane.paths] == [(5, 2)] * 3
    held = inspect.find_variable(activations, states[..., 1], layer="above.l0")
    assert held.unit == 1
    assert held.unit_score > 0.999
    assert {held.layer for held in [inspect.find_variable(activations, np.random.default_rng(0).random((10, 3)))]} == {
        "below.l0"
    }


def test_spans_and_steps_beyond_a_layers_own_are_refused(activations: Activations) -> None:
    with pytest.raises(OptionError, match=r"row 0 has no span \(6, 8\)"):
        inspect.find_pattern(activations, (6, 8), layer="above.l0")
    with pytest.raises(OptionError, match="row 0 has no step 7"):
        inspect.copied_input(activations, 7, layer="above.l0")
    with pytest.raises(OptionError, match="no symbols to colour"):
        inspect.text_figure(activations, "h", 0, layer="above.l0")


def test_a_page_shows_the_layers_with_the_steps_of_the_rows(activations: Activations) -> None:
    html = gw.look.page(activations).html
    assert '"name":"below.l0"' in html
    assert '"name":"above.l0"' not in html


def test_a_state_that_is_not_finite_is_not_left_out() -> None:
    torch.manual_seed(0)
    layer, x = nn.GRU(3, 4), torch.randn(6, 2, 3)
    x[3, 0] = torch.nan
    activations = record(layer, x)
    for table in inspect.saturation(activations):
        assert np.isnan(table.left).all()
    assert np.isnan(inspect.half_life(activations)[0].steps).all()
    assert np.isnan(inspect.unit_order(activations)[0].variance).all()
    assert np.isnan(inspect.mean_and_spread(activations, "h").mean[3:]).all()
    (drift,) = inspect.drift(activations, 2, margin=1e9)
    np.testing.assert_array_equal(drift.outside, [0, 0, 0, 1, 1, 1])
    with pytest.raises(DataError, match="not finite"):
        inspect.state_rank(activations)
    with pytest.raises(DataError, match="not finite"):
        inspect.state_plane(activations)
    with pytest.raises(DataError, match="not finite"):
        inspect.find_variable(activations, np.arange(12.0).reshape(6, 2))


MEASURES = [inspect.saturation, inspect.half_life, inspect.unit_order, inspect.state_rank, inspect.dead_units]


@pytest.mark.parametrize("measure", MEASURES)
def test_a_source_that_is_no_activations(measure: Any) -> None:
    with pytest.raises(OptionError, match="a str is no activations"):
        measure("runs/text")
    with pytest.raises(OptionError, match="a GRU is no activations"):
        measure(nn.GRU(3, 4))
    with pytest.raises(DataError, match="there is no step to measure"):
        measure([])


def test_numbers_that_cannot_be(activations: Activations) -> None:
    with pytest.raises(OptionError, match="a limit of 1 or more"):
        inspect.find_pattern(activations, (0, 1), limit=0)
    with pytest.raises(OptionError, match="steps of 1 or more"):
        inspect.mean_and_spread(activations, "h", steps=0)
    with pytest.raises(OptionError, match="margin is a share of the range"):
        inspect.drift(activations, 3, margin=-0.1)
    with pytest.raises(OptionError, match="there is no unit to draw"):
        inspect.gates_figure(activations, "h", units=[])
    with pytest.raises(OptionError, match="the values are not finite"):
        inspect.find_variable(activations, np.full((10, 3), np.inf))
