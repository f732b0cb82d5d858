"""Figures of what states and outputs depend on: effective memory, saliency and shares of inputs."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from gatewright.errors import OptionError
from gatewright.inspect.figures.scales import SERIES, name_steps, visible
from gatewright.inspect.gradients.memory import EffectiveMemory
from gatewright.inspect.gradients.saliency import Attribution, LaggedSaliency, Saliency
from gatewright.tasks.picture import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LEAST = 1e-7  # of the largest norm: below it, curves in float32 are rounding
_STEPS = 160


def memory_figure(memories: EffectiveMemory | Mapping[str, EffectiveMemory], *, units: bool = False) -> "Figure":
    """Curves of the effective memory of one or several models, by their names, on a logarithmic axis.

    With `units` also the curve of each unit.
    """
    named = {"the network": memories} if isinstance(memories, EffectiveMemory) else dict(memories)
    if not named:
        raise OptionError("there is no model to draw")
    figure = new_figure(8.0, 4.6)
    axes: Any = figure.subplots()
    top = max(float(np.nanmax(memory.norms)) for memory in named.values())
    lowest = top
    for place, (name, memory) in enumerate(named.items()):
        colour, dashes = SERIES[place % len(SERIES)], ("-", "--", "-.", ":")[place % 4]
        if units:
            axes.plot(memory.lags, memory.by_unit, color=colour, alpha=0.15, linewidth=0.6)
        axes.plot(memory.lags, memory.norms, color=colour, linestyle=dashes, linewidth=2.0, label=name)
        shown = memory.by_unit if units else memory.norms
        lowest = min(lowest, float(np.nanquantile(np.where(shown > 0, shown, np.nan), 0.1 if units else 0.0)))
    axes.set(yscale="log", ylim=(max(lowest / 2, _LEAST * top), 2 * top), xlim=(0, None))
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel("lag: steps back from T")
    axes.set_ylabel("norm of d h(T) / d x(T - lag)")
    axes.set_title("How much what was read so many steps ago still moves the state", loc="left", fontsize=11)
    axes.legend(frameon=False)
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def saliency_figure(saliency: Saliency | Attribution | LaggedSaliency, *, row: int = 0) -> "Figure":
    """What an output looked at: bars by step, or for a `LaggedSaliency` a heat map of steps and lags.

    Raises OptionError for a row that does not exist.
    """
    if isinstance(saliency, LaggedSaliency):
        return _lagged(saliency)
    if not 0 <= row < len(saliency.lengths):
        raise OptionError(f"there is no row {row}", expected=f"0 to {len(saliency.lengths) - 1}")
    length = int(saliency.lengths[row])
    shares = isinstance(saliency, Attribution)
    values = (saliency.by_step if shares else saliency.norms)[:length, row]
    figure = new_figure(10.0, 3.2)
    axes: Any = figure.subplots()
    colours = np.where(values < 0, SERIES[1], SERIES[0])
    axes.bar(np.arange(length), values, color=colours, width=0.9)
    axes.axhline(0, color="black", linewidth=0.6)
    axes.set(xlim=(-0.6, length - 0.4), ylabel="share of the output" if shares else "norm of the gradient")
    name_steps(axes, None if saliency.symbols is None else saliency.symbols[row], 0, length)
    chosen = int(saliency.chosen[row])
    name = f"output {chosen}" if saliency.labels is None else f"'{visible(saliency.labels[chosen])}'"
    when = "" if saliency.steps is None else f" at step {int(saliency.steps[row])}"
    what = "What makes the score of" if shares else "What moves the score of"
    axes.set_title(f"{what} {name}{when} ({saliency.outputs[row]:.3g})", loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _lagged(saliency: LaggedSaliency) -> "Figure":
    values = saliency.values[:_STEPS]
    largest = np.nanmax(values, 1, keepdims=True)
    shares = values / np.where(largest > 0, largest, 1)
    steps, lags = values.shape
    figure = new_figure(10.0, 1.8 + 0.09 * max(lags, 12))
    axes: Any = figure.subplots()
    image = axes.imshow(
        shares.T, aspect="auto", origin="lower", cmap="cividis", vmin=0, vmax=1, interpolation="nearest"
    )
    figure.colorbar(image, ax=axes, fraction=0.03, pad=0.01, label="of the step's largest")
    axes.set_ylabel("lag: steps back")
    name_steps(axes, saliency.symbols, 0, steps)
    axes.set_title("How far back the output after each step looks: norm of the gradient", loc="left", fontsize=11)
    return figure
