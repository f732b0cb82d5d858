"""The fitted parts of a forecaster: its linear forecast before training, its calibration after."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gatewright.tasks.data.forecasting.linear import Floats, LinearForecast, RegressionSettings, linear_forecast
from gatewright.tasks.data.forecasting.seasons import best_season
from gatewright.tasks.data.forecasting.windows import Cuts
from gatewright.tasks.data.scaling import Scaling
from gatewright.tasks.forecasting.network import Forecaster, LocatedForecast
from gatewright.tasks.forecasting.settings import ForecastSettings
from gatewright.tasks.forecasting.windows import LEAST_SPREAD, ForecastData
from gatewright.tasks.training.tensor_batches import tensor_batch

if TYPE_CHECKING:
    from gatewright.tasks.run_data import Batches

SHARES = 0.0, 0.25, 0.5, 0.75, 1.0
_GAIN = 0.02  # share of the error that the correction must save on one validation window; less on more of them
_HALF_SHARE, _HALF_TRUST = 2, 20  # independent validation windows at which half of what they say is believed
_EFFECT_PENALTY = 1e-2


def fit(network: Forecaster, data: ForecastData, recipe: ForecastSettings) -> None:
    """Fit the linear forecast to the training parts, and store it with its scaling in the network.

    Each variable has one of three forms: as it is, minus the effect of the covariates, or, if it is above 0 in all of
    the training part, its logarithm. The form with the least error on the steps after the fitted ones is chosen.
    Several series have a scale each, and never logarithms.
    """
    tracks, cuts = data.tracks, [track.cuts for track in data.tracks]
    trained = [track.values[: track.cuts.train] for track in tracks]
    season = data.season
    if season > recipe.history:
        scaled = [track.scaled[: track.cuts.train].astype(np.float64) for track in tracks]
        season, _ = best_season(scaled, recipe.horizon, recipe.history)
    how = RegressionSettings(recipe.history, recipe.horizon, season, LEAST_SPREAD, recipe.interval)
    values = [(track.values - track.scaling.mean) / track.scaling.deviation for track in tracks]
    linear = linear_forecast(values, cuts, how)
    variables = len(linear.error)
    effect, logarithm = np.zeros((network.known, variables)), np.zeros(variables, bool)
    if data.known.columns:
        effects = _effects(values, [track.known for track in tracks], cuts, len(data.known.columns))
        without = [series - track.known[: len(series)] @ effects for series, track in zip(values, tracks, strict=True)]
        linear, better = _better(linear_forecast(without, cuts, how), linear)
        effect = np.where(better, effects, 0)
    least = np.ones(variables)
    if len(tracks) == 1 and (positive := trained[0].min(0) > 0).any():
        least = np.where(positive, trained[0].min(0) / 10, 1.0)
        logs = np.log(np.maximum(tracks[0].values, least))
        inner = Scaling.of(logs[: cuts[0].train])
        outer = [partial(_outer, inner=inner, scaling=tracks[0].scaling, place=place) for place in range(variables)]
        scaled = [(logs - inner.mean) / inner.deviation]
        linear, logarithm = _better(linear_forecast(scaled, cuts, how, outer), linear, positive)
        effect = np.where(logarithm, 0, effect)
        network.inner.take(inner)
    network.season.fill_(data.season)
    for buffer, array in (
        (network.weight, linear.weight),
        (network.rest, linear.rest),
        (network.residual, linear.residual),
        (network.effect, effect),
        (network.widening, linear.ends.T),
        (network.logarithm, logarithm),
        (network.least, least),
        (network.lowest, _lowest(data)),
    ):
        buffer.copy_(torch.from_numpy(np.ascontiguousarray(array)))
    if data.scaling is not None:
        network.scaling.take(data.scaling)
    if data.known.scaling is not None:
        network.known_scaling.take(data.known.scaling)


def _outer(values: Floats, inner: Scaling, scaling: Scaling, place: int) -> Floats:
    """Scaled logarithms of a variable as deviations of its training part."""
    measured = np.exp(values * inner.deviation[place] + inner.mean[place])
    return (measured - scaling.mean[place]) / scaling.deviation[place]


def _lowest(data: ForecastData) -> Floats:
    """The value 0 in standard deviations, for variables that reach 0 and are never below."""
    least = np.array([track.values[: track.cuts.train].min(0) for track in data.tracks])
    if data.scaling is None:  # several series: where 0 lies differs between them
        return np.full(least.shape[1], -np.inf)
    return np.where(least[0] == 0, -data.scaling.mean / data.scaling.deviation, -np.inf)


def _better(
    first: LinearForecast, second: LinearForecast, allowed: NDArray[np.bool_] | None = None
) -> tuple[LinearForecast, NDArray[np.bool_]]:
    """For each variable the forecast with the smaller error of the two, and where that is the first."""
    better = (first.error < second.error) & (True if allowed is None else allowed)
    pairs = zip(vars(first).values(), vars(second).values(), strict=True)
    return LinearForecast(*(np.where(better.reshape(-1, *[1] * (a.ndim - 1)), a, b) for a, b in pairs)), better


def _effects(values: Sequence[Floats], known: Sequence[Floats], cuts: Sequence[Cuts], covariates: int) -> Floats:
    """The effect of each covariate on each variable, (known, variables): a regression of their changes."""
    changes = [np.diff(series[: cut.train, :], axis=0) for series, cut in zip(values, cuts, strict=True)]
    causes = [np.diff(series[: cut.train, :covariates], axis=0) for series, cut in zip(known, cuts, strict=True)]
    cause, change = np.concatenate(causes), np.concatenate(changes)
    gram = cause.T @ cause / len(cause) + _EFFECT_PENALTY * np.eye(covariates)
    effects: Floats = np.linalg.solve(gram, cause.T @ change / len(cause)).astype(np.float64)
    return np.pad(effects, ((0, known[0].shape[1] - covariates), (0, 0)))


def calibrate(network: Forecaster, data: ForecastData, recipe: ForecastSettings) -> None:
    """Choose the share of the correction and the width of the intervals by the validation part.

    Windows overlap, so the number of independent ones is that of the horizons in a part. With few of them the choice
    stays close to the linear forecast, and to its errors on the steps that it was not fitted to.
    """
    batches = data.parts["validation"]
    independent = sum(track.cuts.validation - track.cuts.train for track in data.tracks) / recipe.horizon
    network.share.fill_(1)
    errors = _errors(network, batches)
    best = min(errors, key=errors.__getitem__)
    is_gain = errors[best] < (1 - _GAIN / independent**0.5) * errors[0.0]
    trust = independent / (independent + _HALF_TRUST)
    network.share.fill_(best * independent / (independent + _HALF_SHARE) if is_gain else 0.0)
    network.trust.fill_(trust)
    level = recipe.objective().levels[2]
    ratios = [_widening(side, level) for side in _ratios(network, batches)]
    network.widening.mul_(torch.stack(ratios) ** trust)


def _seen(network: Forecaster, batches: "Batches") -> Iterator[tuple[LocatedForecast, Tensor, Tensor]]:
    """Forecasts, targets and effects of the known inputs, for each batch of a part."""
    network.eval()
    with torch.no_grad():
        for position in range(len(batches)):
            batch = tensor_batch(batches, 0, position).to(network.share.device)
            forecast, _ = network.located(batch.inputs)
            yield forecast, batch.targets, network.effect_of(batch.inputs)[network.history :]


def _errors(network: Forecaster, batches: "Batches") -> dict[float, float]:
    """The mean absolute error for each share of the correction."""
    errors = dict.fromkeys(SHARES, 0.0)
    count = 0
    for forecast, targets, effect in _seen(network, batches):
        count += targets.numel()
        for share in SHARES:
            middle = torch.lerp(forecast.linear, forecast.middle, share)
            errors[share] += (network.outer(middle + effect) - targets).abs().sum().item()
    return {share: error / count for share, error in errors.items()}


def _widening(ratios: Tensor, level: float) -> Tensor:
    """(windows * horizon, variables) -> (variables,): the factor that gives an interval its nominal coverage."""
    ordered, place = ratios.sort(0).values, level * (len(ratios) - 1)
    return torch.lerp(ordered[int(place)], ordered[min(int(place) + 1, len(ratios) - 1)], place % 1).clamp(0.1, 10)


def _ratios(network: Forecaster, batches: "Batches") -> tuple[Tensor, Tensor]:
    """How far each target of the part lies below and above its forecast, beside the ends of its interval."""
    pairs: list[tuple[Tensor, Tensor]] = []
    for forecast, targets, effect in _seen(network, batches):
        away = network.into(targets) - effect - forecast.middle
        pairs.append(((-away / forecast.below).flatten(0, 1), (away / forecast.above).flatten(0, 1)))
    return torch.cat([below for below, _ in pairs]), torch.cat([above for _, above in pairs])
