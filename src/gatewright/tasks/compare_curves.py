"""A picture of the curves of several cells: the mean over the seeds, and between which values they lie."""

import io
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from gatewright.tasks.curves import measure_axis
from gatewright.tasks.history import ITERATION, Row

_AXES = {ITERATION: "iteration", "seconds": "seconds"}


def draw_comparison(curves: Mapping[str, Sequence[Sequence[Row]]], measure: str, *, title: str) -> bytes:
    """A measure on the validation part, or on the training part where there is none: against iterations and seconds.

    `curves` has the rows of each run, by cell. A point is the mean over the runs that have come as far.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    column = _column(curves, measure)
    figure = Figure(figsize=(10.8, 4.2), dpi=120, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    for axes, (across, label) in zip(figure.subplots(1, len(_AXES), sharey=True), _AXES.items(), strict=True):
        for place, (cell, runs) in enumerate(curves.items()):
            _draw(axes, runs, across, column, colour=f"C{place % 10}", label=cell)
        measure_axis(axes, measure)
        axes.set_xlabel(label)
        axes.grid(visible=True, which="both", alpha=0.25)
        axes.label_outer()
    first = figure.axes[0]
    first.set_ylabel(column.replace("_", " "))
    first.legend(frameon=False)
    figure.suptitle(title, fontsize=11)
    picture = io.BytesIO()
    canvas.print_png(picture)
    return picture.getvalue()


def _column(curves: Mapping[str, Sequence[Sequence[Row]]], measure: str) -> str:
    """What is drawn: the measure, or the loss where it was not taken."""
    there = {name for runs in curves.values() for rows in runs for row in rows for name in row}
    wanted = (f"validation_{measure}", f"train_{measure}", "validation_loss")
    return next((one for one in wanted if one in there), "train_loss")


def _draw(axes: Any, runs: Sequence[Sequence[Row]], across: str, column: str, *, colour: str, label: str) -> None:
    epochs: dict[float, list[Row]] = {}
    for row in (row for rows in runs for row in rows if math.isfinite(row.get(column, math.nan))):
        epochs.setdefault(row["epoch"], []).append(row)
    if not epochs:
        return
    found = [epochs[epoch] for epoch in sorted(epochs)]
    places = [statistics.fmean(row[across] for row in rows) for rows in found]
    values = [[row[column] for row in rows] for rows in found]
    marker = "o" if len(places) < 30 else None
    axes.plot(places, list(map(statistics.fmean, values)), color=colour, label=label, marker=marker, markersize=3)
    axes.fill_between(places, list(map(min, values)), list(map(max, values)), color=colour, alpha=0.15, linewidth=0)
