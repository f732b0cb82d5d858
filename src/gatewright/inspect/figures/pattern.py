"""The figure of a pattern search: the marked span with the units that are on only there, and like spans below it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import OptionError
from gatewright.inspect.activity.activations import Activations
from gatewright.inspect.figures.scales import GREY, SERIES, scale_of, visible
from gatewright.inspect.measures.pattern import PatternMatch, UnitPattern
from gatewright.tasks.picture import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_UNITS, _MOST_MATCHES, _MOST_VARIABLES = 40, 24, 3
_CONTEXT = 12  # steps beside the marked span
_LETTERED = 60  # steps up to which each has its letter


def pattern_figure(activations: Activations, pattern: UnitPattern) -> "Figure":
    """A marked span with its units, and like spans, aligned at their first steps.

        figure = gw.inspect.pattern_figure(activations, pattern)

    - `activations`: those in which the span was marked. The like spans may come from others.
    - Above: each unit of the pattern around the marked span, which is between the lines.
    - Below: a line for each like span, framed, with what is around it. The colour is the share of the pattern's units
      that is on at a step.
    - For numbers: the marked span and all like spans over one another, for up to three variables.

    Raises OptionError where the pattern has no units, or is not one of these activations.
    """
    if not len(pattern.units):
        raise OptionError("no unit is on only within the span", do="mark another span, or lower the threshold")
    lengths = activations.layer(pattern.layer).lengths
    if pattern.row >= len(lengths) or pattern.span[1] > lengths[pattern.row]:
        raise OptionError("the span lies outside of the activations", do="give those in which it was marked")
    matches = pattern.matches[:_MOST_MATCHES]
    units = pattern.units[:_MOST_UNITS]
    numbers = min(_MOST_VARIABLES, len(matches[0].read[0])) if matches and matches[0].read else 0
    heights = [max(0.8, 0.16 * len(units)), *([max(0.6, 0.2 * len(matches))] if matches else []), *[1.2] * numbers]
    figure = new_figure(9.0, 1.5 + sum(heights) + 0.35 * len(heights))
    panels: list[Any] = list(figure.subplots(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0])
    _draw_units(figure, panels[0], activations, pattern, units)
    if matches:
        _draw_matches(figure, panels[1], matches, pattern.patch)
    for variable, axes in enumerate(panels[2:]):
        _draw_numbers(axes, activations, pattern, matches, variable)
    limits = [axes.get_xlim() for axes in panels]
    for axes in panels:  # so that the spans of all panels are below one another
        axes.set_xlim(min(low for low, _ in limits[:2]), max(high for _, high in limits[:2]))
    return figure


def _draw_units(
    figure: Any, axes: Any, activations: Activations, pattern: UnitPattern, units: NDArray[np.int64]
) -> None:
    """The units of the pattern (rows) in the steps around the marked span."""
    start, stop = pattern.span
    layer = activations.layer(pattern.layer)
    first, last = max(0, start - _CONTEXT), min(int(layer.lengths[pattern.row]), stop + _CONTEXT)
    values = layer.values(pattern.value)[first:last, pattern.row, units].T
    scale = scale_of(layer, pattern.value, values)
    image = axes.imshow(
        values,
        aspect="auto",
        interpolation="nearest",
        extent=(first - start - 0.5, last - start - 0.5, len(units) - 0.5, -0.5),
        **scale,
    )
    for edge in (-0.5, stop - start - 0.5):
        axes.axvline(edge, color="black", linewidth=1.6)
    stride = max(1, len(units) // 12)
    axes.set_yticks(range(0, len(units), stride), units[::stride].tolist(), fontsize=7)
    axes.set_ylabel("unit")
    is_named = activations.patch == 1 and activations.has_steps_of(layer)
    if activations.symbols is not None and is_named and last - first <= _LETTERED:
        names = [visible(symbol) for symbol in activations.symbols[pattern.row][first:last]]
        rotation = 90 if max(map(len, names)) > 1 else 0
        axes.set_xticks(range(first - start, last - start), names, fontsize=8, rotation=rotation)
        axes.tick_params(axis="x", length=0)
    else:
        axes.xaxis.get_major_locator().set_params(integer=True)
    figure.colorbar(image, ax=axes, fraction=0.03, pad=0.01, label=f"{pattern.value} after the step")
    count = f"the {len(pattern.units)} units" if len(pattern.units) > 1 else "the unit"
    shown = f" (the first {len(units)} are shown)" if len(units) < len(pattern.units) else ""
    axes.set_title(
        f"{count} of layer {pattern.layer} with |{pattern.value}| > {pattern.threshold:g} only in steps {start} to "
        f"{stop - 1} of row {pattern.row}{shown}",
        loc="left",
        fontsize=10,
    )


def _draw_matches(figure: Any, axes: Any, matches: Sequence[PatternMatch], patch: int) -> None:
    """A line for each match, aligned so that its first step is step 0."""
    from matplotlib.patches import Rectangle

    left = min(match.first - match.start for match in matches)
    right = max(match.first - match.start + len(match.on) for match in matches)
    shares = np.full((len(matches), right - left), np.nan)
    for place, match in enumerate(matches):
        begin = match.first - match.start - left
        shares[place, begin : begin + len(match.on)] = match.on
    extent = (left - 0.5, right - 0.5, len(matches) - 0.5, -0.5)
    image = axes.imshow(shares, aspect="auto", interpolation="nearest", extent=extent, cmap="cividis", vmin=0, vmax=1)
    for place, match in enumerate(matches):
        frame = Rectangle(
            (-0.5, place - 0.44), match.stop - match.start, 0.88, fill=False, edgecolor=SERIES[1], linewidth=1.8
        )
        axes.add_patch(frame)
        if right - left > _LETTERED or match.read:  # of numbers, symbols are times
            continue
        for step, symbol in _symbols_by_step(match, patch):
            ink = "black" if shares[place, step - left] > 0.5 else "white"  # cividis is light above its middle
            axes.text(step, place, symbol, ha="center", va="center", fontsize=7.5, family="monospace", color=ink)
    labels = [f"row {match.row}, step {match.start}" for match in matches]
    if any(match.batch for match in matches):
        labels = [f"batch {match.batch}, {label}" for match, label in zip(matches, labels, strict=True)]
    axes.set_yticks(range(len(matches)), labels, fontsize=7)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel("steps from the beginning of each span")
    figure.colorbar(image, ax=axes, fraction=0.03, pad=0.01, label="share of units on")
    axes.set_title("like spans, framed, the most alike first", loc="left", fontsize=10)


def _symbols_by_step(match: PatternMatch, patch: int) -> list[tuple[int, str]]:
    """What each step read, by its distance to the first step of the span. With a patch a step has several symbols."""
    symbols = (*match.before, *match.within, *match.after)
    begin = len(match.before)
    by_step: dict[int, str] = {}
    for place, symbol in enumerate(symbols):
        step = (place - begin) // patch
        by_step[step] = by_step.get(step, "") + visible(symbol)
    return list(by_step.items())


def _draw_numbers(
    axes: Any, activations: Activations, pattern: UnitPattern, matches: Sequence[PatternMatch], variable: int
) -> None:
    """A variable in the marked span, in colour, and in all like ones, over one another."""
    for match in matches:
        steps = np.arange(len(match.read)) + match.first - match.start
        axes.plot(steps, [numbers[variable] for numbers in match.read], color=GREY, alpha=0.5, linewidth=1.0)
    start, stop = pattern.span
    is_scaled = activations.measured is None
    series = activations.series if is_scaled else activations.measured
    names = (activations.variables if is_scaled else activations.measured_names) or ()
    if series is not None:
        first, last = max(0, start - _CONTEXT), min(int(activations.lengths[pattern.row]), stop + _CONTEXT)
        values = series[first:last, pattern.row].reshape(last - first, -1)[:, variable]
        axes.plot(np.arange(first, last) - start, values, color=SERIES[1], linewidth=1.8, label="the marked span")
        axes.legend(frameon=False, fontsize=8, loc="upper right")
    axes.axvspan(-0.5, stop - start - 0.5, color=SERIES[0], alpha=0.12, linewidth=0)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_ylabel(names[variable] if variable < len(names) else f"variable {variable}")
    axes.set_xlabel("steps from the beginning of each span")
    axes.spines[["top", "right"]].set_visible(False)
