"""The picture of a run's curves. What it looks like was judged by eye; here it is made of what a run may hold."""

import io

import numpy as np
import pytest
from PIL import Image

from gatewright.tasks.curves import draw_curves

LONG = [
    {"epoch": n, "iteration": 10 * n, "train_loss": 3 / n, "train_perplexity": 2.0**n}
    | ({"validation_loss": 3.5 / n, "validation_perplexity": 3.0**n} if n % 5 == 0 else {})
    for n in range(1, 41)
]


def picture(rows: list[dict[str, float]], best: int | None = None) -> np.ndarray:
    with Image.open(io.BytesIO(draw_curves(rows, "a run", best=best))) as found:
        assert found.format == "PNG"
        return np.asarray(found.convert("RGB"))


@pytest.mark.parametrize(
    ("rows", "panels"),
    [
        ([{"epoch": 1, "iteration": 1, "train_loss": 1.0}], 1),
        ([{"epoch": 1, "iteration": 1, "train_loss": 0.0}], 1),  # has no logarithm
        ([{"epoch": 1, "iteration": 1, "train_loss": 0.5, "validation_loss": 0.5, "validation_exact": 0.0}], 2),
        (LONG, 1),  # the perplexity says what the loss would
    ],
)
def test_one_panel_a_measure(rows: list[dict[str, float]], panels: int) -> None:
    found = picture(rows)
    assert found.shape == (480, round(120 * (1.2 + 4.8 * panels)), 3)
    assert (found < 128).any(), "nothing was drawn"


def test_the_best_is_marked() -> None:
    assert not np.array_equal(picture(LONG), picture(LONG, best=200))
