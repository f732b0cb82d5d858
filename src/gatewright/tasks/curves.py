"""A picture of a run's curves."""

import io
import math
from collections.abc import Sequence
from typing import Any

from gatewright.tasks.history import ITERATION, Row

_LABELS = {"train": "training", "validation": "validation"}
_COLOURS = {"train": "#7f7f7f", "validation": "#1f5fa8"}
_SHARES = ("accuracy", "exact")  # from 0 to 1, shown on a plain axis


def draw_curves(rows: Sequence[Row], title: str, *, best: int | None = None) -> bytes:
    """The loss, and beside it each further measure, against the iterations: a PNG.

    `best` is the iteration of the network that was kept, which a thin line marks.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    measures = _measures(rows)
    figure = Figure(figsize=(1.2 + 4.8 * len(measures), 4.0), dpi=120, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    for axes, measure in zip(figure.subplots(1, len(measures), squeeze=False)[0], measures, strict=True):
        _draw(axes, rows, measure)
        if best is not None:
            axes.axvline(best, color=_COLOURS["validation"], linewidth=0.8, linestyle=":")
    figure.suptitle(title, fontsize=11)
    picture = io.BytesIO()
    canvas.print_png(picture)
    return picture.getvalue()


def _measures(rows: Sequence[Row]) -> list[str]:
    """What is drawn: the loss, or the perplexity, which says the same; then whatever else was measured."""
    found = dict.fromkeys(name.partition("_")[2] for row in rows for name in row if name.partition("_")[0] in _LABELS)
    drawn = list(dict.fromkeys(["loss", *found]))
    return drawn[1:] if "perplexity" in drawn else drawn


def _draw(axes: Any, rows: Sequence[Row], measure: str) -> None:
    for part, label in _LABELS.items():
        points = [
            (row[ITERATION], row[name]) for row in rows if math.isfinite(row.get(name := f"{part}_{measure}", math.nan))
        ]
        if points:
            marker = "o" if len(points) < 30 else None
            axes.plot(*zip(*points, strict=True), label=label, color=_COLOURS[part], marker=marker, markersize=3)
    measure_axis(axes, measure)
    axes.set_xlabel("iteration")
    axes.set_ylabel(measure)
    axes.grid(visible=True, which="both", alpha=0.25)
    if axes.get_lines():
        axes.legend(frameon=False)


def measure_axis(axes: Any, measure: str) -> None:
    """A logarithmic axis with plain numbers, where what was drawn allows it; a plain one for a share."""
    from matplotlib.ticker import NullFormatter, StrMethodFormatter

    lowest = min((value for line in axes.get_lines() for value in line.get_ydata()), default=0.0)
    if measure not in _SHARES and lowest > 0:
        axes.set_yscale("log")
        bottom, top = axes.get_ylim()
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_formatter(StrMethodFormatter("{x:g}") if top < 10 * bottom else NullFormatter())
