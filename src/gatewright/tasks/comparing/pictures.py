"""Pictures of several cells: their curves, or a measure against a setting; the mean over the seeds, and their range."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from gatewright.tasks.picture import new_figure, picture
from gatewright.tasks.training.curves import count_axis, measure_axis
from gatewright.tasks.training.history import ITERATION, Row

Points = Mapping[str, Mapping[Any, Sequence[float]]]
"""By cell and value of a setting, what the runs have measured."""
_WIDE = 8  # from this ratio of the largest value to the smallest on, an axis is logarithmic
_AXES = {ITERATION: "iteration", "seconds": "seconds"}


def draw_comparison(curves: Mapping[str, Sequence[Sequence[Row]]], measure: str, *, title: str) -> bytes:
    """A measure on the validation part, or on the training part where there is none: against iterations and seconds.

    `curves` has the rows of each run, by cell. A point is the mean over the runs that have come as far.
    """
    column = _column(curves, measure)
    figure = new_figure(10.8, 4.2)
    for axes, (across, label) in zip(figure.subplots(1, len(_AXES), sharey=True), _AXES.items(), strict=True):
        for place, (cell, runs) in enumerate(curves.items()):
            _draw(axes, runs, across, column, colour=f"C{place % 10}", label=cell)
        measure_axis(axes, measure)
        if across == ITERATION:
            count_axis(axes)
        axes.set_xlabel(label)
        axes.grid(visible=True, which="both", alpha=0.25)
        axes.label_outer()
    first = figure.axes[0]
    first.set_ylabel(column.replace("_", " "))
    first.legend(frameon=False)
    figure.suptitle(title, fontsize=11)
    return picture(figure)


def _column(curves: Mapping[str, Sequence[Sequence[Row]]], measure: str) -> str:
    """What is drawn: the measure, or the loss where it was not taken."""
    there = {name for runs in curves.values() for rows in runs for row in rows for name in row}
    wanted = (f"validation_{measure}", f"train_{measure}", "validation_loss")
    return next((name for name in wanted if name in there), "train_loss")


def _draw(axes: Any, runs: Sequence[Sequence[Row]], across: str, column: str, *, colour: str, label: str) -> None:
    epochs: dict[float, list[Row]] = {}
    for row in (row for rows in runs for row in rows if math.isfinite(row.get(column, math.nan))):
        epochs.setdefault(row["epoch"], []).append(row)
    if not epochs:
        return
    by_epoch = [epochs[epoch] for epoch in sorted(epochs)]
    places = [statistics.fmean(row[across] for row in rows) for rows in by_epoch]
    values = [[row[column] for row in rows] for rows in by_epoch]
    _draw_range(axes, places, values, colour, label, marker="o" if len(places) < 30 else None, markersize=3)


def _draw_range(
    axes: Any, places: Sequence[float], values: Sequence[Sequence[float]], colour: str, label: str, **style: Any
) -> None:
    """A line through the means of the values at each place, and the range that they lie in."""
    means, lowest, highest = (list(map(over, values)) for over in (statistics.fmean, min, max))
    axes.plot(places, means, color=colour, label=label, **{"marker": "o", "markersize": 4, **style})
    axes.fill_between(places, lowest, highest, color=colour, alpha=0.15, linewidth=0)


def draw_over(points: Points, setting: str, measure: str, *, title: str, kind: str = "png") -> bytes:
    """A measure against a setting, a line for each cell, as PNG or SVG.

    Values that are no numbers stand side by side.
    """
    figure = new_figure(6.4, 4.2)
    axes: Any = figure.subplots()
    values = sorted({value for by_value in points.values() for value in by_value}, key=_in_order)
    places = dict(zip(values, values if all(map(_is_number, values)) else range(len(values)), strict=True))
    for place, (cell, by_value) in enumerate(points.items()):
        there = [value for value in values if value in by_value]
        _draw_range(
            axes, [places[value] for value in there], [by_value[value] for value in there], f"C{place % 10}", cell
        )
    lowest, highest = min(places.values(), default=0), max(places.values(), default=0)
    if lowest > 0 and highest >= _WIDE * lowest:
        axes.set_xscale("log")
    axes.set_xticks(list(places.values()), list(map(str, places)))
    axes.minorticks_off()
    measure_axis(axes, measure.rpartition(" ")[2])
    axes.set_xlabel(setting.replace("_", " "))
    axes.set_ylabel(measure.replace("_", " "))
    axes.grid(visible=True, alpha=0.25)
    axes.legend(frameon=False)
    figure.suptitle(title, fontsize=11)
    content = picture(figure, kind, **{"svg.hashsalt": title, "svg.fonttype": "none"})
    # In an SVG, Matplotlib leaves spaces at the ends of lines.
    return b"\n".join(map(bytes.rstrip, content.split(b"\n"))) if kind == "svg" else content


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _in_order(value: Any) -> tuple[bool, Any, str]:
    """Numbers by their size, then whatever else there is."""
    return (False, value, "") if _is_number(value) else (True, 0, str(value))
