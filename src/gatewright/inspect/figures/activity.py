"""Figures of gates and states: over time, over a data set, saturation and half-lives."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gatewright.errors import OptionError
from gatewright.inspect.activity.activations import Activations
from gatewright.inspect.figures.scales import GREY, SERIES, name_steps, part_of_row, scale_of
from gatewright.inspect.measures.half_life import HalfLife
from gatewright.inspect.measures.mean_and_spread import MeanCourse
from gatewright.inspect.measures.saturation import GateSaturation
from gatewright.tasks.picture import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_UNITS, _MOST_STEPS = 64, 400
_LINES = 3


def gates_figure(
    activations: Activations,
    value: str,
    *,
    layer: str | None = None,
    row: int = 0,
    units: Sequence[int] | None = None,
    steps: tuple[int, int] | None = None,
) -> "Figure":
    """A gate or state over time: what was read, all units as a heat map, and the units that vary most as lines.

    `units`: which units, in this order; by default up to 64, those that vary most first. `steps`: the first step and
    the one after the last, by default the first 400. Raises OptionError for what does not exist.
    """
    activity = activations.layer(layer)
    start, stop = part_of_row(activity, row, steps, _MOST_STEPS)
    values = activity.values(value)[start:stop, row]
    most_varied: list[int] = np.argsort(-values.var(0), kind="stable")[:_MOST_UNITS].tolist()
    order = most_varied if units is None else list(units)
    if not order:
        raise OptionError("there is no unit to draw")
    shown = np.stack([activity.unit(value, unit)[start:stop, row] for unit in order])
    scale = scale_of(activity, value, shown)
    is_named = activations.patch == 1 and activations.has_steps_of(activity)
    numbers = activations.series is not None and is_named
    heights = [*([1.1] if numbers else []), max(1.0, 0.07 * len(order)), 1.4]
    figure = new_figure(10.0, 1.4 + sum(heights))
    panels: list[Any] = list(figure.subplots(len(heights), 1, sharex=True, height_ratios=heights, squeeze=False)[:, 0])
    if numbers and activations.series is not None:
        panels[0].plot(np.arange(start, stop), activations.series[start:stop, row], linewidth=1.0)
        panels[0].set_ylabel("input")
    heat, lines = panels[-2:]
    image = heat.imshow(
        shown, aspect="auto", interpolation="nearest", extent=(start - 0.5, stop - 0.5, len(order) - 0.5, -0.5), **scale
    )
    heat.set_ylabel("units, sorted")
    stride = max(1, len(order) // 8)
    heat.set_yticks(range(0, len(order), stride), order[::stride], fontsize=7)
    figure.colorbar(image, ax=heat, fraction=0.03, pad=0.01, label="0: shut, 1: open" if scale["vmin"] == 0 else value)
    for unit, course, colour in zip(order[:_LINES], shown, SERIES, strict=False):
        lines.plot(np.arange(start, stop), course, color=colour, linewidth=1.2, label=f"unit {unit}")
    lines.set(ylim=(1.05 * scale["vmin"] - 0.05, 1.05 * scale["vmax"]), xlim=(start - 0.5, stop - 0.5), ylabel=value)
    lines.legend(frameon=False, fontsize=8, ncols=_LINES, loc="lower right", bbox_to_anchor=(1.0, 0.98))
    symbols = None if activations.symbols is None or not is_named else activations.symbols[row]
    name_steps(lines, symbols, start, stop)
    panels[0].set_title(f"{value} of layer {activity.name}{_role(activations, activity.name, value)}", loc="left")
    return figure


def course_figure(course: MeanCourse, *, units: Sequence[int] | None = None) -> "Figure":
    """Mean and spread at each step, of all units together, or of some units each on its own.

    Raises OptionError for a unit that does not exist.
    """
    figure = new_figure(8.0, 4.2)
    axes: Any = figure.subplots()
    lines: list[tuple[str, Any, Any]] = []
    if units is None:
        # Variance over rows and units: the mean of the variances and the variance of the means.
        spread = np.sqrt((course.deviation**2).mean(1) + course.mean.var(1))
        lines.append((f"mean of {course.mean.shape[1]} units", course.mean.mean(1), spread))
    for unit in units or ():
        if not 0 <= unit < course.mean.shape[1]:
            raise OptionError(f"{course.value!r} has no unit {unit}", expected=f"0 to {course.mean.shape[1] - 1}")
        lines.append((f"unit {unit}", course.mean[:, unit], course.deviation[:, unit]))
    for place, (label, mean, deviation) in enumerate(lines):
        colour = SERIES[place % len(SERIES)]
        axes.fill_between(course.steps, mean - deviation, mean + deviation, color=colour, alpha=0.2, linewidth=0)
        axes.plot(course.steps, mean, color=colour, linewidth=1.6, label=label)
    axes.set(xlabel="step from the end of each row" if course.steps[0] < 0 else "step", ylabel=course.value)
    axes.set_title(
        f"{course.value} of layer {course.layer} over {course.rows.max():,} rows\nband: one standard deviation",
        loc="left",
        fontsize=11,
    )
    axes.legend(frameon=False, fontsize=9)
    _bare(axes)
    return figure


def saturation_figure(tables: Sequence[GateSaturation]) -> "Figure":
    """Each unit of each gate by how often it is shut and how often open: Karpathy et al. 2015, figure 3.

    On the diagonal lie units that are always saturated, at 0 those that never are.
    """
    if not tables:
        raise OptionError("there is no gate between 0 and 1 to draw")
    gates = list(dict.fromkeys(table.gate for table in tables))
    layers = list(dict.fromkeys(table.layer for table in tables))
    figure = new_figure(3.1 * len(gates) + 0.8, 3.7)
    panels: Any = figure.subplots(1, len(gates), squeeze=False, sharex=True, sharey=True)[0]
    for gate, axes in zip(gates, panels, strict=True):
        axes.plot([0, 1], [1, 0], color=GREY, linewidth=0.8, linestyle=":")
        for table in tables:
            if table.gate == gate:
                place = layers.index(table.layer)
                axes.scatter(
                    table.right,
                    table.left,
                    s=22,
                    alpha=0.55,
                    linewidth=0,
                    color=SERIES[place % len(SERIES)],
                    marker="osD^v"[place % 5],
                    label=table.layer,
                    clip_on=False,
                )
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xlabel="share of steps above 0.9 (open)")
        axes.set_title(f"gate {gate}", fontsize=11)
        _bare(axes)
    panels[0].set_ylabel("share of steps below 0.1 (shut)")
    panels[-1].legend(frameon=False, fontsize=8, title="layer" if len(layers) > 1 else None)
    return figure


def half_life_figure(tables: Sequence[HalfLife]) -> "Figure":
    """How many units have which half-life, in steps, on a logarithmic axis."""
    if not tables:
        raise OptionError("no gate keeps or replaces the state: units have no half-life")
    known = np.concatenate([table.steps[np.isfinite(table.steps) & (table.steps > 0)] for table in tables])
    if not known.size:
        raise OptionError("no unit forgets: its gate is always 1, and half-lives are infinite")
    low, high = np.log10(known.min()), np.log10(known.max())
    bins = np.logspace(low - 0.02, max(high, low + 0.1) + 0.02, 31)
    figure = new_figure(7.6, 1.0 + 2.0 * len(tables))
    panels: Any = figure.subplots(len(tables), 1, squeeze=False, sharex=True)[:, 0]
    for table, axes, colour in zip(tables, panels, SERIES * len(tables), strict=False):
        finite = table.steps[np.isfinite(table.steps)]
        axes.hist(finite, bins=bins, color=colour, alpha=0.85)
        median = float(np.median(table.steps))
        if np.isfinite(median):
            axes.axvline(median, color="black", linewidth=1.0, linestyle="--")
            axes.annotate(f" median {median:.3g}", (median, 0.9), xycoords=("data", "axes fraction"), fontsize=9)
        endless = f"; {len(table.steps) - len(finite)} never forget" if len(finite) < len(table.steps) else ""
        axes.set_title(
            f"gate {table.gate} of layer {table.layer}, {len(table.steps)} units{endless}", fontsize=10, loc="left"
        )
        axes.set(xscale="log", ylabel="units")
        _bare(axes)
    panels[-1].xaxis.set_major_formatter("{x:g}")
    panels[-1].set_xlabel("half-life by the gate: steps until half of the state is left")
    return figure


def _role(activations: Activations, layer: str, value: str) -> str:
    """What a gate does, for the title."""
    roles = activations.layer(layer).roles
    if value in roles.keeps:
        return ": at 1 the old state is kept"
    if value in roles.replaces:
        return ": at 1 the old state is replaced"
    return ": at 1 the new value is written" if value in roles.writes else ""


def _bare(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
