"""Figures of activations show the numbers that they are given."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("matplotlib")
import torch
from torch import nn

import gatewright as gw
from gatewright.errors import OptionError
from gatewright.inspect import (
    Activations,
    HalfLife,
    compare_memory,
    course_figure,
    effective_memory,
    gates_figure,
    half_life,
    half_life_figure,
    integrated_gradients,
    mean_and_spread,
    memory_figure,
    record,
    saliency,
    saliency_by_lag,
    saliency_figure,
    saturation,
    saturation_figure,
    text_figure,
)

TEXT = "to be, or not\nto be $x$"


@pytest.fixture
def model() -> Any:
    torch.manual_seed(0)
    return nn.Sequential(nn.Embedding(128, 3), gw.nn.GRU(3, 5))


@pytest.fixture
def activations(model: Any) -> Activations:
    return record(model, symbols_of(TEXT), symbols=[list(TEXT)])


def symbols_of(text: str) -> torch.Tensor:
    return torch.tensor([[ord(letter)] for letter in text])


def drawn_text(figure: Any) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def check_drawn(figure: Any) -> Any:
    figure.canvas.draw()
    return figure.axes


def test_each_letter_has_the_colour_of_its_value(activations: Activations) -> None:
    figure = text_figure(activations, "z", 2, columns=12)
    axes = check_drawn(figure)[0]
    (background,) = axes.collections
    np.testing.assert_array_equal(background.get_array(), activations.layer().gates["z"][:, 0, 2])
    assert background.get_clim() == (0, 1)
    assert "".join(drawn_text(figure)) == TEXT.replace(" ", "").replace("\n", "↵").replace("$", r"\$")
    places = [text.get_position() for text in axes.texts]
    assert places[TEXT.index("\n") + 1] == (0.5, places[TEXT.index("\n")][1] + 1)
    assert max(column for column, _ in places) < 12


def test_words_have_room(model: Any) -> None:
    words = ["Gated", "recurrent", "networks"]
    activations = record(model, symbols_of("abc"), symbols=[words])
    figure = text_figure(activations, "h", 0)
    assert drawn_text(figure) == words
    assert [text.get_position()[0] for text in check_drawn(figure)[0].texts] == [3, 11, 20.5]


def test_gates_over_time(activations: Activations) -> None:
    figure = gates_figure(activations, "z", units=[3, 1], steps=(2, 9))
    heat, lines, *_ = check_drawn(figure)
    values = activations.layer().gates["z"][2:9, 0]
    np.testing.assert_array_equal(heat.images[0].get_array(), values[:, [3, 1]].T)
    np.testing.assert_array_equal(lines.lines[0].get_ydata(), values[:, 3])
    assert [tick.get_text() for tick in lines.get_xticklabels()] == list("␣be,␣or")
    assert heat.get_title(loc="left") == "z of layer 1.l0: at 1 the old state is kept"


def test_units_are_sorted_by_how_much_they_vary(activations: Activations) -> None:
    figure = gates_figure(activations, "h")
    spread = check_drawn(figure)[0].images[0].get_array().var(1)
    assert (np.diff(spread) <= 0).all()


def test_a_series_is_drawn_above_its_gates() -> None:
    torch.manual_seed(0)
    x = torch.randn(12, 1, 2)
    figure = gates_figure(record(nn.LSTM(2, 4), x, series=x.numpy()), "f")
    np.testing.assert_array_equal(check_drawn(figure)[0].lines[1].get_ydata(), x[:, 0, 1])


def test_a_course_has_its_mean_and_its_band(activations: Activations) -> None:
    course = mean_and_spread(activations, "z")
    (together,) = check_drawn(course_figure(course))[0].lines
    np.testing.assert_allclose(together.get_ydata(), activations.layer().gates["z"][:, 0].mean(1), atol=1e-6)
    lines = check_drawn(course_figure(course, units=[4, 0]))[0].lines
    np.testing.assert_array_equal(lines[0].get_ydata(), course.mean[:, 4])
    with pytest.raises(OptionError, match="'z' has no unit 5\n  expected: 0 to 4"):
        course_figure(course, units=[5])


def test_saturation_and_half_lives(activations: Activations) -> None:
    tables = saturation(activations)
    panels = check_drawn(saturation_figure(tables))
    np.testing.assert_array_equal(
        panels[0].collections[0].get_offsets(), np.stack([tables[0].right, tables[0].left], 1)
    )
    half_lives = half_life(activations)
    bars = check_drawn(half_life_figure(half_lives))[0].patches
    assert sum(bar.get_height() for bar in bars) == 5


def test_curves_of_memory(model: Any) -> None:
    x = symbols_of(TEXT)
    memory = effective_memory(model, x, lags=6)
    axes = check_drawn(memory_figure(memory, units=True))[0]
    np.testing.assert_array_equal(axes.lines[-1].get_ydata(), memory.norms)
    assert len(axes.lines) == 6
    compared = check_drawn(memory_figure(compare_memory({"one": model, "two": model}, x, lags=6)))[0]
    assert [text.get_text() for text in compared.get_legend().get_texts()] == ["one", "two"]


def test_bars_and_heat_maps_of_saliency(model: Any) -> None:
    network, x = nn.Sequential(model[0], _Output(model[1])), symbols_of(TEXT)
    bars = check_drawn(saliency_figure(saliency(network, x)))[0].patches
    np.testing.assert_allclose([bar.get_height() for bar in bars], saliency(network, x).norms[:, 0])
    shares = integrated_gradients(network, x)
    bars = check_drawn(saliency_figure(shares))[0].patches
    np.testing.assert_allclose([bar.get_height() for bar in bars], shares.by_step[:, 0])
    lagged = saliency_by_lag(network, x, lags=4)
    (image,) = check_drawn(saliency_figure(lagged))[0].images
    largest = np.nanmax(lagged.values, 1)
    np.testing.assert_allclose(image.get_array()[1, 1:], lagged.values[1:, 1] / largest[1:])
    with pytest.raises(OptionError, match="there is no row 1"):
        saliency_figure(shares, row=1)


class _Output(nn.Module):
    """The output of a recurrent layer alone."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)[0]


def test_errors_name_what_there_is(activations: Activations) -> None:
    with pytest.raises(OptionError, match="'z' of layer '1.l0' has no unit 9"):
        text_figure(activations, "z", 9)
    with pytest.raises(OptionError, match="there is no row 1\n  expected: 0 to 0"):
        gates_figure(activations, "z", row=1)
    with pytest.raises(OptionError, match=r"row 0 has no steps \(5, 99\)\n  expected: two numbers from 0 to 23"):
        text_figure(activations, "z", 0, steps=(5, 99))
    with pytest.raises(OptionError, match="the steps have no symbols to colour"):
        text_figure(Activations(activations.layers, activations.lengths), "z", 0)
    with pytest.raises(OptionError, match="no gate keeps or replaces the state"):
        half_life_figure([])
    with pytest.raises(OptionError, match="no unit forgets"):
        half_life_figure([HalfLife("l0", "z", np.array([np.inf]))])
    with pytest.raises(OptionError, match="there is no gate between 0 and 1"):
        saturation_figure([])
    with pytest.raises(OptionError, match="there is no model to draw"):
        memory_figure({})
