"""The figure of a pattern search shows the marked span, its units and the like spans, computed here by hand."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("matplotlib")

import gatewright as gw
from gatewright.errors import OptionError
from gatewright.inspect import Activations, LayerActivations, find_pattern, pattern_figure
from gatewright.trace import trace_cell

ROWS = "ab(cd)e", "x(y)zw(", "none"


def bracketed(*, numbers: bool = False) -> Activations:
    """Unit 0 is on within brackets, unit 1 is low there, unit 2 is always on, and unit 3 is on at a closing one."""
    states = np.full((7, len(ROWS), 4), np.nan, np.float32)
    series = np.full((7, len(ROWS), 2), np.nan)
    for row, text in enumerate(ROWS):
        is_open = False
        for step, symbol in enumerate(text):
            is_open |= symbol == "("
            states[step, row] = (0.9 * is_open, -0.8 * is_open, 0.7, 0.6 * (symbol == ")"))
            series[step, row] = step, 10 * row
            is_open &= symbol != ")"
    lengths = np.array([len(text) for text in ROWS])
    layer = LayerActivations("l0", trace_cell(gw.cells.gru), np.zeros(0), {}, {"h": states}, lengths)
    if numbers:
        return Activations({"l0": layer}, lengths, series=series, variables=["speed", "load"])
    return Activations({"l0": layer}, lengths, [list(text) for text in ROWS])


def check_drawn(figure: Any) -> list[Any]:
    figure.canvas.draw()
    return [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]


def frames(axes: Any) -> list[tuple[float, float]]:
    """The first step and the number of steps of each frame."""
    return [(patch.get_x() + 0.5, patch.get_width()) for patch in axes.patches]


def test_the_marked_span_its_units_and_like_spans() -> None:
    activations = bracketed()
    pattern = find_pattern(activations, (2, 6))
    units, matches = check_drawn(pattern_figure(activations, pattern))
    assert units.get_title(loc="left") == "the 2 units of layer l0 with |h| > 0.3 only in steps 2 to 5 of row 0"
    assert [label.get_text() for label in units.get_yticklabels()] == ["0", "1"]
    assert [label.get_text() for label in units.get_xticklabels()] == list(ROWS[0])
    assert [line.get_xdata()[0] for line in units.lines] == [-0.5, 3.5]
    on = np.array([0, 0, 1, 1, 1, 1, 0])
    np.testing.assert_allclose(units.images[0].get_array(), np.array([0.9 * on, -0.8 * on]), rtol=1e-6)
    assert units.images[0].get_extent() == [-2.5, 4.5, 1.5, -0.5]
    # row 0: ( at step 2; row 1: ( at step 1, and at step 6. Aligned, row 1 begins 6 steps before its last bracket.
    shown = matches.images[0].get_array().filled(np.nan)
    blank = np.nan
    expected = [
        [blank] * 4 + [0, 0, 1, 1, 1, 1, 0] + [blank],
        [blank] * 5 + [0, 1, 1, 1, 0, 0, 1],
        [0, 1, 1, 1, 0, 0, 1] + [blank] * 5,
    ]
    np.testing.assert_array_equal(shown, expected)
    assert matches.images[0].get_extent() == [-6.5, 5.5, 2.5, -0.5]
    assert frames(matches) == [(0, 4), (0, 3), (0, 1)]
    assert [label.get_text() for label in matches.get_yticklabels()] == [
        "row 0, step 2",
        "row 1, step 1",
        "row 1, step 6",
    ]
    letters = {(round(text.get_position()[0]), text.get_position()[1]): text.get_text() for text in matches.texts}
    assert [letters[step, 1] for step in range(-1, 6)] == list(ROWS[1])
    assert units.get_xlim() == matches.get_xlim() == (-6.5, 5.5)


def test_numbers_are_drawn_over_one_another() -> None:
    activations = bracketed(numbers=True)
    pattern = find_pattern(activations, (2, 6), context=2)
    _, matches, speed, load = check_drawn(pattern_figure(activations, pattern))
    assert not matches.texts
    assert (speed.get_ylabel(), load.get_ylabel()) == ("speed", "load")
    *like, marked = ((line.get_xdata().tolist(), np.asarray(line.get_ydata()).tolist()) for line in speed.lines)
    assert marked == ([-2, -1, 0, 1, 2, 3, 4], [0, 1, 2, 3, 4, 5, 6])
    assert like == [
        ([-2, -1, 0, 1, 2, 3, 4], [0, 1, 2, 3, 4, 5, 6]),
        ([-1, 0, 1, 2, 3, 4], [0, 1, 2, 3, 4, 5]),
        ([-2, -1, 0], [4, 5, 6]),
    ]
    assert set(load.lines[1].get_ydata()) == {10}


def test_like_spans_of_a_corpus_are_named_by_their_batch() -> None:
    marked = bracketed()
    pattern = find_pattern(marked, (2, 6), corpus=iter([bracketed(), bracketed()]), limit=2)
    _, matches = check_drawn(pattern_figure(marked, pattern))
    labels = [label.get_text() for label in matches.get_yticklabels()]
    assert labels == ["batch 0, row 0, step 2", "batch 1, row 0, step 2"]


def test_without_like_spans_the_units_alone_are_drawn() -> None:
    activations = bracketed()
    pattern = find_pattern(activations, (2, 6), corpus=[])
    assert len(check_drawn(pattern_figure(activations, pattern))) == 1


def test_errors() -> None:
    activations = bracketed()
    with pytest.raises(OptionError, match="no unit is on only within the span\n  do: mark another span, or lower"):
        pattern_figure(activations, find_pattern(activations, (3, 5)))
    pattern = find_pattern(activations, (2, 6))
    lengths = np.array([4, 4, 4])
    short = Activations({"l0": replace(activations.layer(), lengths=lengths)}, lengths, activations.symbols)
    with pytest.raises(OptionError, match="the span lies outside of the activations\n  do: give those in which it was"):
        pattern_figure(short, pattern)
