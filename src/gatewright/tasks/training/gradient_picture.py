"""A picture of gradient norms in training: by step and iteration, by lag and iteration, and by lag at the end."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gatewright.tasks.picture import new_figure
from gatewright.tasks.training.curves import count_axis
from gatewright.tasks.training.gradient_records import EXPLODED, VANISHED, GradientTrouble, WatchedGradients

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DECADES = 6  # of the colour map, below its highest value
_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")  # Okabe & Ito: told apart by everyone


def gradient_figure(
    measurements: Sequence[WatchedGradients], title: str, troubles: Sequence[GradientTrouble] = ()
) -> "Figure":
    """A row for each layer: heat maps of its output state by step and by lag, and all states and gates by lag.

    Measurements of shorter batches are left out of the heat maps: their steps are others.
    """
    from matplotlib.ticker import MaxNLocator

    last = measurements[-1]
    figure = new_figure(14.0, 0.8 + 3.4 * len(last.layers))
    grid = figure.subplots(len(last.layers), 3, squeeze=False)
    alike = [measurement for measurement in measurements if np.array_equal(measurement.steps, last.steps)]
    for row, (layer, norms) in enumerate(last.layers.items()):
        state = next(iter(norms.states))
        by_step = np.array([measurement.layers[layer].states[state].by_step for measurement in alike])
        by_lag = np.array([measurement.layers[layer].states[state].by_lag for measurement in alike])
        iterations = [measurement.iteration for measurement in alike]
        by_step_axes, by_lag_axes, lines_axes = grid[row]
        _draw_map(figure, by_step_axes, by_step, iterations, last.steps)
        by_step_axes.set(title=f"{layer}: loss by state {state} at each step", ylabel="step of the batch")
        _draw_map(figure, by_lag_axes, by_lag, iterations, last.lags)
        by_lag_axes.set(title=f"{layer}: flowing back from the last step", ylabel="lag: steps before the last")
        by_lag_axes.invert_yaxis()
        for axis in (by_step_axes.yaxis, by_lag_axes.yaxis, lines_axes.xaxis):
            axis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
        _draw_lines(lines_axes, last, layer)
        for trouble in troubles:
            if trouble.layer != layer:
                continue
            verb = "vanishes" if trouble.is_vanishing else "explodes"
            lines_axes.axvline(trouble.lag, color="#555555", linewidth=1.0, linestyle="--")
            lines_axes.annotate(
                f"{verb} from lag {trouble.lag}",
                (trouble.lag, EXPLODED),  # below that line: above it stands its own name
                xytext=(-4, -4),
                textcoords="offset points",
                rotation=90,
                va="top",
                ha="right",
                fontsize=8,
            )
    figure.suptitle(title, fontsize=11)
    return figure


def _draw_map(
    figure: Any, axes: Any, norms: NDArray[np.float64], iterations: Sequence[int], places: NDArray[np.int64]
) -> None:
    """Norms (iterations, places) in colours of their logarithm; what is 0 or not finite stays grey."""
    from matplotlib.colors import LogNorm

    positive = norms[np.isfinite(norms) & (norms > 0)]
    top = float(positive.max()) if positive.size else 1.0
    scale = LogNorm(max(top * 10.0**-_DECADES, float(positive.min()) * 0.999 if positive.size else 0.1), top)
    shown = np.ma.masked_where(~np.isfinite(norms), np.clip(norms, scale.vmin, None))
    mesh = axes.pcolormesh(
        np.maximum(_edges(np.asarray(iterations)), -0.5), _edges(places), shown.T, norm=scale, cmap="viridis"
    )
    axes.set_facecolor("#bbbbbb")
    axes.set_xlabel("iteration")
    count_axis(axes)
    figure.colorbar(mesh, ax=axes, label="gradient norm", extend="min" if positive.size else "neither")


def _draw_lines(axes: Any, last: WatchedGradients, layer: str) -> None:
    """Every state and gate by lag, as a share of what it is at lag 0, with the limits of vanishing and exploding."""
    norms = last.layers[layer]
    curves = {f"state {name}": own for name, own in norms.states.items()}
    curves |= {f"gate {name}": own for name, own in norms.gates.items()}
    for index, (name, own) in enumerate(curves.items()):
        if own.by_lag[0] > 0:
            style = "-" if name.startswith("state") else "--"
            share = np.where(own.by_lag > 0, own.by_lag, np.nan) / own.by_lag[0]
            colour = _COLOURS[index % len(_COLOURS)]
            axes.plot(last.lags, share, label=name, linestyle=style, linewidth=1.4, color=colour)
    for limit, name, side in ((VANISHED, "vanished below", "top"), (EXPLODED, "exploded above", "bottom")):
        axes.axhline(limit, color="#999999", linewidth=0.8)
        axes.annotate(
            name, (1.0, limit), xycoords=("axes fraction", "data"), ha="right", va=side, fontsize=8, color="#555555"
        )
    axes.set_yscale("log")
    bottom, top = axes.get_ylim()
    axes.set_ylim(max(bottom, 1e-9), max(top, EXPLODED * 5))
    axes.set(title=f"{layer}: iteration {last.iteration}", xlabel="lag", ylabel="gradient norm / that at lag 0")
    axes.grid(visible=True, alpha=0.25)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8, loc="lower left", ncols=2)


def _edges(places: NDArray[np.int64]) -> NDArray[np.float64]:
    """The edges of cells around places that may be unevenly spaced."""
    if len(places) == 1:
        return np.array([places[0] - 0.5, places[0] + 0.5])
    between = (places[1:] + places[:-1]) / 2
    return np.concatenate([[places[0] - (between[0] - places[0])], between, [places[-1] + (places[-1] - between[-1])]])
