"""A picture of a run's curves."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

from gatewright.tasks.picture import new_figure, picture
from gatewright.tasks.run_data import Panel
from gatewright.tasks.training.history import ITERATION, Row

_LABELS = {"train": "training", "validation": "validation"}
_COLOURS = {"train": "#7f7f7f", "validation": "#1f5fa8"}
_SHARES = ("accuracy", "exact", "coverage")  # from 0 to 1, shown on a plain axis
_ACROSS = 3  # panels side by side
_FEW = 30  # points that are marked one by one


def draw_curves(rows: Sequence[Row], title: str, *, kept: int | None = None, panels: Sequence[Panel] = ()) -> bytes:
    """The loss, and beside it each further measure that changes, against the iterations: a PNG.

    A thin line marks the epoch `kept` if it is not the last one. `panels` are drawn to the right.
    """
    measures = _measures(rows)
    across = min(len(measures) + len(panels), _ACROSS)
    down = math.ceil((len(measures) + len(panels)) / across)
    figure = new_figure(1.2 + 4.2 * across, 0.6 + 3.2 * down)
    places = list(figure.subplots(down, across, squeeze=False).flat)
    draws = [*(partial(_draw, rows=rows, measure=measure, kept=kept) for measure in measures), *panels]
    for axes, draw in zip(places, draws, strict=False):
        draw(axes)
    for axes in places[len(draws) :]:
        axes.set_axis_off()
    figure.suptitle(title, fontsize=11)
    return picture(figure)


def _measures(rows: Sequence[Row]) -> list[str]:
    """The measures to draw: the loss (or the perplexity in its place), then all others that change."""
    values_by_measure: dict[str, set[float]] = {}
    for part, measure, value in ((*name.partition("_")[::2], value) for row in rows for name, value in row.items()):
        if part in _LABELS:
            values_by_measure.setdefault(measure, set()).add(value)
    is_single = len(rows) == 1  # where nothing can have changed yet
    changing = [name for name, values in values_by_measure.items() if len(values) > 1 or name in _SHARES or is_single]
    drawn = list(dict.fromkeys(["loss", *changing]))
    return drawn[1:] if "perplexity" in drawn else drawn


def _draw(axes: Any, rows: Sequence[Row], measure: str, kept: int | None) -> None:
    for part, label in _LABELS.items():
        points = [
            (row[ITERATION], row[name]) for row in rows if math.isfinite(row.get(name := f"{part}_{measure}", math.nan))
        ]
        if points:
            marker = "o" if len(points) < _FEW else None
            axes.plot(*zip(*points, strict=True), label=label, color=_COLOURS[part], marker=marker, markersize=3)
    measure_axis(axes, measure)
    count_axis(axes)
    for iteration in (int(row[ITERATION]) for row in rows if row["epoch"] == kept):
        style = {"color": _COLOURS["validation"], "linewidth": 0.8, "linestyle": ":"}
        axes.axvline(iteration, label=f"kept: epoch {kept}", **style)
    axes.set_xlabel("iteration")
    axes.set_ylabel(measure.replace("_", " "))
    axes.grid(visible=True, which="both", alpha=0.25)
    if axes.get_lines():
        axes.legend(frameon=False)


def count_axis(axes: Any) -> None:
    """Whole numbers only as ticks of the x axis: iterations are whole."""
    from matplotlib.ticker import MaxNLocator, StrMethodFormatter

    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))


def measure_axis(axes: Any, measure: str) -> None:
    """A logarithmic axis with plain numbers if all values are positive; a linear one for shares."""
    from matplotlib.ticker import NullFormatter, StrMethodFormatter

    lowest = min((value for line in axes.get_lines() for value in line.get_ydata()), default=0.0)
    if measure not in _SHARES and lowest > 0:
        axes.set_yscale("log")
        bottom, top = axes.get_ylim()
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_formatter(StrMethodFormatter("{x:g}") if top < 10 * bottom else NullFormatter())
