"""Figures of a layer's dynamics: eigenvalues, Lyapunov spectrum, paths of the state, drift, and copied inputs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from gatewright.inspect.dynamics.copied_input import CopiedInput
from gatewright.inspect.dynamics.drift import Drift
from gatewright.inspect.dynamics.fixed_points import FixedPoints, JacobianEigenvalues
from gatewright.inspect.dynamics.lyapunov import LyapunovSpectrum
from gatewright.inspect.dynamics.state_space import StatePlane, Values
from gatewright.tasks.picture import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe & Ito: told apart by everyone.
_BLUE, _ORANGE, _GREEN, _GREY = "#0072b2", "#d55e00", "#009e73", "#666666"
_FEW_UNITS = 32  # that are named one by one


def eigenvalue_figure(spectrum: JacobianEigenvalues) -> "Figure":
    """The eigenvalues of one step in the complex plane: inside the unit circle a change dies out."""
    figure = new_figure(5.4, 5.0)
    axes: Any = figure.subplots()
    angle = np.linspace(0, 2 * np.pi, 361)
    axes.plot(np.cos(angle), np.sin(angle), color=_GREY, linewidth=1.0)
    is_inside = np.abs(spectrum.values) < 1
    for inside, colour, marker, label in (
        (True, _BLUE, "o", "inside: dies out"),
        (False, _ORANGE, "^", "on or outside: stays or grows"),
    ):
        values = spectrum.values[is_inside == inside]
        if values.size:
            axes.scatter(values.real, values.imag, s=26, c=colour, marker=marker, alpha=0.8, label=label)
    for half_life in (5, 20):
        radius = 0.5 ** (1 / half_life)
        axes.plot(radius * np.cos(angle), radius * np.sin(angle), color=_GREY, linewidth=0.6, linestyle=":")
        axes.annotate(f"{half_life} steps", (0, -radius), ha="center", va="bottom", fontsize=7, color=_GREY)
    axes.axhline(0, color="#dddddd", linewidth=0.6, zorder=0)
    axes.axvline(0, color="#dddddd", linewidth=0.6, zorder=0)
    axes.set_aspect("equal")
    axes.set(xlabel="real part", ylabel="imaginary part")
    axes.set_title(f"Eigenvalues of one step; largest modulus {spectrum.radius:.3f}\ndotted: half-life of a change")
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    return figure


def lyapunov_figure(spectrum: LyapunovSpectrum) -> "Figure":
    """The exponents in order, and how each levels off along the sequence."""
    figure = new_figure(10.0, 3.8)
    left, right = figure.subplots(1, 2)
    exponents = spectrum.exponents
    finite = np.isfinite(exponents)
    place = np.arange(1, len(exponents) + 1)
    for part, colour, label in (
        (finite & (exponents > 0), _ORANGE, "above 0: changes grow"),
        (finite & (exponents <= 0), _BLUE, "0 and below: changes do not grow"),
    ):
        if part.any():
            left.plot(place[part], exponents[part], "o", markersize=4, color=colour, label=label)
    left.axhline(0, color=_GREY, linewidth=0.8)
    missing = int((~finite).sum())
    note = f"; {missing} more at minus infinity" if missing else ""
    left.set(xlabel="exponent, in order", ylabel="growth a step (log)", title=f"Lyapunov spectrum{note}")
    left.legend(frameon=False, fontsize=8)
    from matplotlib import colormaps

    shades = colormaps["viridis"](np.linspace(0, 0.9, spectrum.running.shape[1]))
    steps = np.arange(1, len(spectrum.running) + 1)
    for index in np.flatnonzero(finite)[::-1]:
        right.plot(steps, spectrum.running[:, index], color=shades[index], linewidth=0.9)
    right.axhline(0, color=_GREY, linewidth=0.8)
    right.set(xlabel="steps", ylabel="mean growth so far", title="Whether it has levelled off; dark: the largest")
    for axes in (left, right):
        axes.grid(visible=True, alpha=0.25)
    return figure


def trajectory_figure(
    plane: StatePlane,
    points: Sequence[FixedPoints] = (),
    *,
    names: Sequence[str] | None = None,
    values: ArrayLike | None = None,
    label: str = "step",
    rows: int = 8,
) -> "Figure":
    """The paths of the first rows in the plane of the first two principal components, and fixed points in it.

    `points` are those of several constant inputs, and `names` what these are called. A stable point is filled. States
    are coloured by `values` (time, batch), which `label` names, such as the carry of an addition; by step without.
    """
    from matplotlib import colormaps

    figure = new_figure(6.6, 5.4)
    axes: Any = figure.subplots()
    paths = plane.paths[:rows]
    for path in paths:
        axes.plot(*path.T, color="#bbbbbb", linewidth=0.7, zorder=1)
    by_row = None if values is None else np.asarray(values, np.float64).T
    colour = [np.arange(len(path)) if by_row is None else by_row[row][: len(path)] for row, path in enumerate(paths)]
    shown = axes.scatter(*np.concatenate(paths).T, c=np.concatenate(colour), cmap="cividis", s=14, zorder=2)
    figure.colorbar(shown, ax=axes, label=label)
    colours = colormaps["plasma"](np.linspace(0.15, 0.8, max(len(points), 1)))
    for index, group in enumerate(points):
        name = names[index] if names else f"input {np.array2string(group.input, precision=2)}"
        places = plane.project(group.points)
        for is_stable in (True, False):
            part = places[group.stable == is_stable]
            face = colours[index] if is_stable else "white"
            kind = "stable" if is_stable else "unstable"
            if len(part):
                axes.scatter(
                    *part.T, s=110, marker="*" if is_stable else "X", facecolors=[face], edgecolors=[colours[index]],
                    linewidths=1.3, zorder=3, label=f"{name}: {kind}",
                )  # fmt: skip
    first, second = plane.shares
    axes.set(
        xlabel=f"first principal component ({first:.0%} of the variance)",
        ylabel=f"second ({second:.0%})",
        title=f"{plane.layer}: paths of the state" + (", and its fixed points" if points else ""),
    )
    if points:
        axes.legend(frameon=False, fontsize=8)
    return figure


def drift_figure(drift: Drift) -> "Figure":
    """The length of the state by step, the range of its units, and the share of units outside it."""
    figure = new_figure(10.0, 3.8)
    left, right = figure.subplots(1, 2)
    steps = np.arange(len(drift.norms))
    left.plot(steps, drift.norms, color=_BLUE, label="length of the state, mean over rows")
    left.set(xlabel="step", ylabel="length", title=f"{drift.layer}: state {drift.state} by step")
    left.set_ylim(0, None)
    right.plot(steps, drift.outside, color=_ORANGE)
    right.set(
        xlabel="step",
        ylabel="share of units",
        ylim=(-0.02, 1.02),
        title="Units outside their range in training",
    )
    for axes in (left, right):
        axes.axvspan(-0.5, drift.trained - 0.5, color="#dddddd", alpha=0.6, zorder=0)
        axes.annotate(
            f"grey: the {drift.trained} steps of training",
            (0.01, 0.02),
            xycoords="axes fraction",
            fontsize=8,
            color=_GREY,
        )
        axes.grid(visible=True, alpha=0.25)
        if drift.first is not None:
            axes.axvline(drift.first, color=_GREEN, linestyle="--", linewidth=1.0)
            axes.annotate(
                f"first unit leaves at step {drift.first}",
                (drift.first, 0.6),
                xycoords=("data", "axes fraction"),
                rotation=90,
                fontsize=8,
                ha="left",
                va="center",
                xytext=(3, 0),
                textcoords="offset points",
            )
    return figure


def copied_input_figure(copied: CopiedInput, gate: Values, *, symbols: Sequence[str] | None = None) -> "Figure":
    """What keeps an input: the gate at every step and unit, and the share of the input that is left.

    `gate` (steps, units) is the gate over the whole row; units are ordered by what is left at the end.
    """
    from matplotlib.ticker import MaxNLocator

    order = np.argsort(-copied.copied[-1], kind="stable")
    figure = new_figure(11.0, 4.2)
    left, right = figure.subplots(1, 2)
    first, shares = copied.step, copied.copied[:, order]
    begin = 0 if copied.is_backward else first
    shares = shares[::-1] if copied.is_backward else shares  # in the order of time
    for axes, values, start, title in (
        (left, gate[:, order], 0, f"Gate {copied.gate}"),
        (right, shares, begin, f"Share of the input of step {first} in the state"),
    ):
        extent = (start - 0.5, start + len(values) - 0.5, values.shape[1] - 0.5, -0.5)
        image = axes.imshow(values.T, cmap="viridis", vmin=0, vmax=1, aspect="auto", extent=extent)
        axes.axvline(first, color="white", linestyle=":", linewidth=1.2)
        axes.set(xlabel="step", ylabel="units in the order of what is left at the end", title=title)
        axes.set_yticks(range(len(order)), order) if len(order) <= _FEW_UNITS else axes.set_yticks([])
        axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
        figure.colorbar(image, ax=axes)
        if symbols is not None:
            shown = range(start, start + len(values))
            axes.set_xticks(list(shown), [symbols[step] for step in shown], fontsize=7)
    return figure
