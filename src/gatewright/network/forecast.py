"""What a network that corrects a linear forecast has around its layers, as numbers."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from gatewright.network.part import Array, Flow, Part, Signal


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """A window (history, batch, variables) -> (horizon, batch, variables, 3): low, middle and high.

    Both are in the units of the series; where several series were trained on together, in deviations of each one's
    training part. Beside the window stands what is known beforehand (history + horizon, batch, known), if anything.

    The window, less the effects of what is known, goes through a linear forecast. The layers read the window and that
    forecast by the level and the spread of the window, with what is known and with which steps are to come. They give
    a change of the forecast, in spreads, and how wide the interval is beside the usual error.
    """

    mean: Array  # (variables,) of the training part
    deviation: Array
    history: int
    horizon: int
    weight: Array  # (variables, history + 3, horizon): on the window about its level, its spread, its level, and 1
    width: Array  # (horizon, 1, variables, 1): half of the usual interval, in spreads
    widening: Array  # (variables, 2): of the lower and the upper half
    share: float  # of the change that is used
    trust: float  # of what is learned of the width
    at_first: float  # what a width begins with, before softplus
    logarithm: Array  # (variables,): which are forecast by their logarithm
    inner_mean: Array  # (variables,): of the logarithms
    inner_deviation: Array
    least: Array  # (variables,): what a logarithm is taken of at least
    lowest: Array  # (variables,): the least value that is possible
    least_spread: float  # of a window, in deviations of the training part
    known_mean: Array  # (known,)
    known_deviation: Array
    effect: Array  # (known, variables)
    values: tuple[str, ...]  # what each value of a forecast is
    is_measured: bool  # whether windows are in the units of the series
    about: Mapping[str, Any]  # what a person must know beside it

    @property
    def steps(self) -> int:
        """How many steps the layers read."""
        return self.history + self.horizon

    @property
    def to_come(self) -> Array:
        """1 where a step that the layers read is to come, 0 where it is past; (steps, 1, 1)."""
        return np.repeat([0.0, 1.0], [self.history, self.horizon])[:, None, None].astype(self.mean.dtype)


@dataclass(frozen=True, slots=True)
class WindowView:
    """A window as the layers see it: by its own level and spread, beside its linear forecast."""

    away: Array  # (history, batch, variables), about the level
    base: Array  # (horizon, batch, variables): the linear forecast
    level: Array  # (batch, variables)
    spread: Array
    known: Array  # (history + horizon, batch, known)
    effect: Array  # (history + horizon, batch, variables), of what is known


def view_of(forecast: Forecast, signal: Signal) -> WindowView:
    """What the network reads, by its own level and spread, with its linear forecast."""
    window, known = signal.inputs, signal.known
    if known is None:
        known = np.zeros((forecast.steps, window.shape[1], 0), window.dtype)
    known = (known - forecast.known_mean) / forecast.known_deviation
    effect = known @ forecast.effect
    logs = (np.log(np.maximum(window, forecast.least)) - forecast.inner_mean) / forecast.inner_deviation
    scaled = (window - forecast.mean) / forecast.deviation
    past = np.where(forecast.logarithm, logs, scaled) - effect[: forecast.history]
    level, spread = past.mean(0), np.maximum(past.std(0), forecast.least_spread)
    features = np.concatenate([past - level, [spread, level, np.ones_like(level)]])
    base = level + np.einsum("tbv,vth->hbv", features, forecast.weight)
    return WindowView(past - level, base, level, spread, known, effect)


@dataclass(frozen=True, slots=True)
class ForecastWindow(Part):
    """What the layers of a forecast read: window, linear forecast, what is known, and which steps are to come."""

    needs_steps: ClassVar[bool] = True
    forecast: Forecast

    def apply(self, signal: Signal) -> Signal:
        """(history, batch, variables) -> (history + horizon, batch, variables + known + 1)."""
        view = view_of(self.forecast, signal)
        steps = np.concatenate([view.away, view.base - view.level]) / view.spread
        to_come = np.broadcast_to(self.forecast.to_come, (*steps.shape[:2], 1))
        return signal.with_values(np.concatenate([steps, view.known, to_come], -1))

    @property
    def width(self) -> int:
        return len(self.forecast.mean)

    def gives(self, given: Flow) -> Flow:
        return Flow(self.width + len(self.forecast.known_mean) + 1, True)


@dataclass(frozen=True, slots=True)
class ForecastSteps(Part):
    """The steps to come alone."""

    needs_steps: ClassVar[bool] = True
    forecast: Forecast

    def apply(self, signal: Signal) -> Signal:
        """(history + horizon, ...) -> (horizon, ...)."""
        return signal.with_values(signal.values[self.forecast.history :])


@dataclass(frozen=True, slots=True)
class ForecastOutput(Part):
    """The linear forecast, changed by what the layers say of the steps to come, with its interval."""

    needs_steps: ClassVar[bool] = True
    forecast: Forecast

    def apply(self, signal: Signal) -> Signal:
        """(horizon, batch, 3 * variables) -> (horizon, batch, variables, 3), in the units of the series."""
        forecast, view = self.forecast, view_of(self.forecast, signal)
        base, spread = view.base, view.spread
        change, *learned = np.moveaxis(signal.values.reshape(*base.shape, -1), -1, 0)
        middle = base + forecast.share * spread * change
        learned = np.logaddexp(0, forecast.trust * np.stack(learned, -1) + forecast.at_first)
        widths = spread[..., None] * forecast.width * learned * forecast.widening
        ends = np.stack([middle - widths[..., 0], middle, middle + widths[..., 1]], -1)
        return replace(signal, values=self._measured(ends + view.effect[forecast.history :, ..., None]))

    def _measured(self, ends: Array) -> Array:
        """In the units of the series."""
        forecast = self.forecast
        logarithm, deviation, mean = (
            array[:, None] for array in (forecast.logarithm, forecast.inner_deviation, forecast.inner_mean)
        )
        powers = np.exp(np.where(logarithm, ends, 0) * deviation + mean)
        measured = ends * forecast.deviation[:, None] + forecast.mean[:, None]
        return np.maximum(np.where(logarithm, powers, measured), forecast.lowest[:, None])
