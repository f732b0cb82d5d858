"""The picture of a run's curves. What it looks like was judged by eye; here it is made of what a run may hold."""

import io
from typing import Any
from unittest import mock

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from gatewright.tasks.training.curves import draw_curves

LONG = [
    {"epoch": n, "iteration": 10 * n, "train_loss": 3 / n, "train_perplexity": 2.0**n}
    | ({"validation_loss": 3.5 / n, "validation_perplexity": 3.0**n} if n % 5 == 0 else {})
    for n in range(1, 41)
]


SERIES = [
    {
        "epoch": n,
        "iteration": 4 * n,
        "train_loss": 2 / n,
        "validation_loss": 3 / n,
        "validation_mae": 1 / n,
        "validation_mse": 1 / n**2,
        "validation_naive_mae": 0.7,  # of the data alone
        "validation_coverage": 0.8,
        "validation_skill": 1 - 1 / n,
    }
    for n in range(1, 6)
]


def picture(rows: list[dict[str, float]], kept: int | None = None) -> np.ndarray:
    with Image.open(io.BytesIO(draw_curves(rows, "a run", kept=kept))) as found:
        assert found.format == "PNG"
        return np.asarray(found.convert("RGB"))


def drawn(rows: list[dict[str, float]], kept: int | None = None) -> list[Any]:
    """The panels of the picture."""
    with mock.patch.object(Figure, "savefig", autospec=True) as saved:
        draw_curves(rows, "a run", kept=kept)
    (figure, _), _ = saved.call_args
    figure.draw_without_rendering()
    return [axes for axes in figure.axes if axes.axison]


@pytest.mark.parametrize(
    ("rows", "measures"),
    [
        ([{"epoch": 1, "iteration": 1, "train_loss": 1.0}], ["loss"]),
        ([{"epoch": 1, "iteration": 1, "train_loss": 0.0}], ["loss"]),  # has no logarithm
        (
            [{"epoch": 1, "iteration": 1, "train_loss": 0.5, "validation_loss": 0.5, "validation_exact": 0.0}],
            ["loss", "exact"],
        ),
        (LONG, ["perplexity"]),  # which says what the loss would
        (SERIES, ["loss", "mae", "mse", "coverage", "skill"]),
    ],
)
def test_a_panel_for_each_measure_that_changes(rows: list[dict[str, float]], measures: list[str]) -> None:
    assert [one.get_ylabel() for one in drawn(rows)] == measures
    found = picture(rows)
    assert found.shape[0] <= 900
    assert found.shape[1] <= 1700
    assert (found < 128).any(), "nothing was drawn"


@pytest.mark.parametrize("rows", [LONG, SERIES, LONG[:1], LONG[:2]])
def test_ticks_are_whole_iterations(rows: list[dict[str, float]]) -> None:
    for axes in drawn(rows):
        ticks = axes.get_xticks()
        assert len(ticks)
        assert np.array_equal(ticks, np.round(ticks))
        assert all("." not in label.get_text() for label in axes.get_xticklabels())


def test_the_network_that_was_kept_is_named() -> None:
    legends = [one.get_legend() for one in drawn(SERIES, 3)]
    assert [[text.get_text() for text in one.get_texts()][-1] for one in legends] == ["kept: epoch 3"] * 5
    assert not np.array_equal(picture(LONG), picture(LONG, 20))
