"""Pictures of forecasts: recent history, what is forecast, and the interval around it."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gatewright.tasks.answers.predictor import run_network
from gatewright.tasks.forecasting.settings import ForecastSettings
from gatewright.tasks.formatting import picture_text
from gatewright.tasks.picture import new_figure, picture
from gatewright.tasks.run_data import Panel

if TYPE_CHECKING:
    from pandas import DataFrame
    from torch import nn

    from gatewright.tasks.forecasting.windows import ForecastData, SeriesWindow

_PANELS = 12  # at most, since more cannot be read
_HISTORY = 4  # horizons of it
_COLOURS = {"history": "#333333", "forecast": "#1f5fa8", "naive": "#b06000"}


def draw_forecasts(
    windows: "Sequence[SeriesWindow]", answers: "DataFrame", middle: str, signature: Mapping[str, Any], suffix: str
) -> bytes:
    """A PNG or SVG with a panel for each variable of each series, up to a limit."""
    names = signature["columns"]["target"]
    pairs = [(window, place) for window in windows for place in range(len(names))][:_PANELS]
    across = 1 if len(pairs) == 1 else 2
    down = -(-len(pairs) // across)
    figure = new_figure(8 if across == 1 else 11, 0.8 + 2.7 * down)
    panels = list(figure.subplots(down, across, squeeze=False).flat)
    for axes, (window, place) in zip(panels, pairs, strict=False):
        chosen = answers.query("variable == @name", local_dict={"name": names[place]})
        chosen = chosen.query("id == @id", local_dict={"id": window.id}) if "id" in chosen.columns else chosen
        _draw(axes, window, place, chosen, middle)
        title = f"{names[place]}, {window.id}" if window.id else names[place]
        axes.set_title(picture_text(title), fontsize=10)
    for axes in panels[len(pairs) :]:
        axes.set_axis_off()
    left_out = len(windows) * len(names) - len(pairs)
    if left_out:
        figure.suptitle(f"the first {len(pairs)} of {len(pairs) + left_out}", fontsize=10)
    return picture(figure, suffix.removeprefix("."))


def _draw(axes: Any, window: "SeriesWindow", place: int, rows: "DataFrame", middle: str) -> None:
    steps = len(rows)
    kept = min(len(window.values), max(_HISTORY * steps, 1))
    past = window.values[-kept:, place]
    dated = window.times is not None and window.times.is_dated and bool(window.times.frequency)
    before: Any = window.times.values[-kept:] if dated and window.times else np.arange(1 - kept, 1)
    after: Any = window.times_to_come(steps).values if dated else np.arange(1, steps + 1)
    axes.plot(before, past, color=_COLOURS["history"], linewidth=1.2, label="history")
    joined = np.concatenate([before[-1:], after])
    low, mid, high = (np.append(past[-1], rows[name].to_numpy()) for name in ("low", middle, "high"))
    axes.fill_between(joined, low, high, color=_COLOURS["forecast"], alpha=0.2, linewidth=0, label="interval")
    axes.plot(joined, mid, color=_COLOURS["forecast"], linewidth=1.5, label=f"forecast ({middle})")
    if not dated:
        axes.set_xlabel("steps after the last one")
    axes.grid(visible=True, alpha=0.25)
    axes.legend(frameon=False, fontsize=8)
    if dated:
        from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

        locator = AutoDateLocator()
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))


def back_test(network: "nn.Module", data: "ForecastData", recipe: ForecastSettings) -> Panel:
    """A panel with the last forecast of the first variable in the test part, beside the measured values."""
    batches, scaling = data.parts["test"], data.tracks[-1].scaling
    last = batches.batch(0, len(batches) - 1)
    outputs = run_network(network, last.inputs[:, -1:])[0].numpy()

    def measured(values: Any) -> Any:
        return values * scaling.deviation[0] + scaling.mean[0]

    read, naive = np.split(measured(last.inputs[:, -1, 0]), [recipe.history])
    actual, (low, middle, high) = measured(last.targets[:, -1, 0]), measured(outputs[:, 0, 0].T)

    def draw(axes: Any) -> None:
        before, after = np.arange(1 - len(read), 1), np.arange(1, len(actual) + 1)
        axes.plot(np.append(before, after), np.append(read, actual), color=_COLOURS["history"], linewidth=1.2)
        axes.plot(after, naive, color=_COLOURS["naive"], linewidth=1, linestyle="--", label="seasonal naive")
        axes.plot(after, middle, color=_COLOURS["forecast"], linewidth=1.5, label="forecast")
        axes.fill_between(after, low, high, color=_COLOURS["forecast"], alpha=0.2, linewidth=0)
        axes.set_xlabel("steps from the last test forecast on")
        axes.set_ylabel(picture_text((data.sizes.variables or ("",))[0]))
        axes.grid(visible=True, alpha=0.25)
        axes.legend(frameon=False, fontsize=8)

    return draw
