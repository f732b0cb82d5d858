"""The linear forecast of a window: regressions on its steps, weighted by their errors on what was not fitted to."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import DataError
from gatewright.tasks.data.forecasting.windows import Cuts

Floats = NDArray[np.float64]
ToUnits = Callable[[Floats], Floats]

_PENALTIES = 1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0
_FOLDS = tuple(place / 12 for place in range(6, 13))
"""Shares of the training part that are fitted; what follows each is forecast."""
_RECENT = 0.5
"""How much a fold counts beside the next one, which lies nearer to what will be forecast, in choosing a regression."""
_RECENT_ERRORS = 0.7
"""The same in how wide an interval is, which takes more windows to tell."""
_TRUST = 7.0
"""How fast a regression's weight falls with its error: to 1/e where it is 1/7 above the least one."""
_FREE = 1e3
"""How large the constant is read: so large that the penalty leaves its weight free."""
_LEAST_RESIDUAL = 1e-3
_LEAST_END = 0.1
_HALF_TRUST = 30  # independent windows at which half of what they say of each end by itself is believed
_FITTED, _JUDGED = 1_000_000, 50_000
"""Numbers in all windows that are fitted to, or that judge: of a longer series every n-th window is taken."""


class _Regression(NamedTuple):
    """One way to fit: what it reads, what it is pulled towards, and how strongly."""

    full: bool  # it reads the level too; otherwise a window at another level is forecast at that level
    towards: str
    penalty: float


_REGRESSIONS = tuple(
    _Regression(full, towards, penalty)
    for full, penalty, towards in product((False, True), _PENALTIES, ("naive", "last", "level", "seasons", "mean"))
    if full or towards != "mean"
)


@dataclass(frozen=True, eq=False)
class LinearForecast:
    """`level + (window - level) @ weight + features @ rest` for each variable; all in the unit of the windows.

    The level and the spread are the mean and the deviation of a window. `rest` multiplies the spread, the level and 1.
    `residual` is the mean absolute error of each step ahead, in spreads, of windows that were not fitted to. Of their
    errors the share that an interval should hold lies within `ends` residuals, below and above the forecast.
    """

    weight: Floats  # (variables, history, horizon)
    rest: Floats  # (variables, 3, horizon)
    residual: Floats  # (variables, horizon)
    error: Floats  # (variables,): mean absolute error of windows that were not fitted to
    ends: Floats  # (variables, 2)

    def __call__(self, windows: Floats, least_spread: float) -> Floats:
        """(windows, history, variables) -> (windows, horizon, variables)."""
        parts = [
            _forecasts(np.concatenate([weight, rest]), windows[..., place], least_spread)
            for place, (weight, rest) in enumerate(zip(self.weight, self.rest, strict=True))
        ]
        return np.stack(parts, -1)


class _FoldForecasts(NamedTuple):
    """The weights of every regression in a fold, the windows and targets to judge by, and how many folds come after."""

    fits: Floats
    windows: Floats
    targets: Floats
    later: int


class Fold(NamedTuple):
    """Of each series, the regressions are fitted to the steps before `fitted`.

    They are judged by windows with their first target in [fitted, next); all targets lie before `end`.
    """

    fitted: Sequence[int]
    next: Sequence[int]
    end: Sequence[int]


def folds_of(cuts: Sequence[Cuts]) -> tuple[Fold, ...]:
    """The training parts in growing shares, each with what follows it; the last is followed by the validation part."""
    end = [cut.validation for cut in cuts]
    fitted = [[round(share * cut.train) for cut in cuts] for share in _FOLDS]
    return tuple(Fold(now, after, end) for now, after in zip(fitted, [*fitted[1:], end], strict=True))


class RegressionSettings(NamedTuple):
    """The lengths of windows, the season, and how much of the errors an interval holds."""

    history: int
    horizon: int
    season: int
    least_spread: float
    interval: float = 0.8  # share of the errors within the ends


def linear_forecast(
    series: Sequence[Floats], cuts: Sequence[Cuts], how: RegressionSettings, outer: Sequence[ToUnits] | None = None
) -> LinearForecast:
    """The mean of ridge regressions, weighted by how they forecast what follows the steps that they were fitted to.

    `series` are (steps, variables) each. Every regression gives all steps ahead at once from a window, and is pulled
    towards a simple forecast: the seasonal naive one, the last value, the level, the mean season, or the mean of the
    training part. Nothing after the validation parts is read. `outer` turns each variable into the unit in which
    errors are compared.
    """
    variables = [
        _variable([values[:, place] for values in series], cuts, how, outer[place] if outer else np.asarray)
        for place in range(series[0].shape[1])
    ]
    fit, residual, error, ends = (np.stack(values) for values in zip(*variables, strict=True))
    return LinearForecast(fit[:, : how.history], fit[:, how.history :], residual, error, ends)


def _variable(
    series: Sequence[Floats], cuts: Sequence[Cuts], how: RegressionSettings, outer: ToUnits
) -> tuple[Floats, Floats, float, Floats]:
    """The weights, residual, error and ends of the forecast of one variable."""
    judged = list(_fold_forecasts(series, cuts, how))
    counted = sum(_RECENT**fold.later * len(fold.targets) for fold in judged)
    errors = np.sum([_RECENT**fold.later * _errors(fold, how, outer) for fold in judged], 0) / counted
    trust = _trust(errors, how.horizon)
    missed: list[Floats] = []
    away: list[Floats] = []
    for fits, windows, wanted, _ in judged:
        forecasts = _forecasts(_mixed(trust, fits), windows, how.least_spread)
        missed.append(np.abs(outer(forecasts) - outer(wanted)))
        away.append((wanted - forecasts) / np.maximum(windows.std(1, keepdims=True), how.least_spread))
    every = _windows(series, [0] * len(cuts), [cut.train for cut in cuts], how, _FITTED)
    weights = np.concatenate([np.full(len(fold.targets), _RECENT_ERRORS**fold.later) for fold in judged])
    weights /= weights.sum()
    spreads = np.concatenate(away)
    residual = np.maximum(weights @ np.abs(spreads), _LEAST_RESIDUAL)
    ends = _ends(spreads / residual, weights, how)
    return _mixed(trust, _fits(*every, how)), residual, float(weights @ np.concatenate(missed).mean(1)), ends


def _fold_forecasts(
    series: Sequence[Floats], cuts: Sequence[Cuts], how: RegressionSettings
) -> Iterator[_FoldForecasts]:
    """The forecasts of each fold with windows to fit to and to judge by. Raises DataError where no fold has both."""
    folds = folds_of(cuts)
    any_judged = False
    for later, fold in zip(reversed(range(len(folds))), folds, strict=True):
        fitted, targets = _windows(series, [0] * len(cuts), fold.fitted, how, _FITTED)
        ends = [min(after + how.horizon - 1, end) for after, end in zip(fold.next, fold.end, strict=True)]
        judging, wanted = _windows(series, fold.fitted, ends, how, _JUDGED)
        if len(fitted) > 1 and len(judging):
            any_judged = True
            yield _FoldForecasts(_fits(fitted, targets, how), judging, wanted, later)
    if not any_judged:
        raise DataError(
            "the training part is too short for a linear forecast",
            expected=f"more than {how.history + how.horizon} steps",
            got=f"{max(cut.train for cut in cuts)} steps",
            do="take a shorter history or horizon",
            shell="take a shorter history or horizon, with --set history=... --set horizon=...",
        )


def _ends(ratios: Floats, weights: Floats, how: RegressionSettings) -> Floats:
    """How far below and above the forecast an interval ends, in residuals.

    Errors are (windows, horizon) in residuals, windows count by `weights`, which sum to 1. Windows overlap, so that
    there are no more independent ones than horizons. Where these are few, both ends are taken alike, and further out:
    by as much as the interval of Student's distribution is wider than a normal one.
    """
    from statistics import NormalDist

    from scipy.special import stdtrit

    independent = 1 / (weights**2).sum() / how.horizon
    shares = np.repeat(weights, how.horizon) / how.horizon
    level = (1 + how.interval) / 2
    alike = _quantile(np.abs(ratios).ravel(), shares, how.interval)
    apart = np.array([_quantile(-ratios.ravel(), shares, level), _quantile(ratios.ravel(), shares, level)])
    trust = independent / (independent + _HALF_TRUST)
    further = float(stdtrit(max(independent, 1.0), level)) / NormalDist().inv_cdf(level)
    return np.maximum(trust * apart + (1 - trust) * alike, _LEAST_END) * further


def _quantile(values: Floats, weights: Floats, level: float) -> float:
    """The least value that has the share `level` of all weights at or below it."""
    order = values.argsort()
    place = np.searchsorted(weights[order].cumsum(), level)
    return float(values[order][min(int(place), len(order) - 1)])


def _windows(
    series: Sequence[Floats], starts: Sequence[int], ends: Sequence[int], how: RegressionSettings, most: int
) -> tuple[Floats, Floats]:
    """The windows (windows, history) of all series, and their targets (windows, horizon) between start and end."""
    history, horizon = how.history, how.horizon
    places = [np.arange(max(start, history), end - horizon + 1) for start, end in zip(starts, ends, strict=True)]
    stride = max(1, math.ceil(sum(map(len, places)) * history / most))
    read, targets = (
        np.concatenate([values[now[::stride, None] + steps] for values, now in zip(series, places, strict=True)])
        for steps in (np.arange(-history, 0), np.arange(horizon))
    )
    return read, targets


def _features(windows: Floats, least_spread: float) -> tuple[Floats, Floats, Floats]:
    """What a regression reads: the window about its level, its spread, its level, and 1; and level and spread."""
    level = windows.mean(1, keepdims=True)
    spread = np.maximum(windows.std(1, keepdims=True), least_spread)
    return np.concatenate([windows - level, spread, level, np.ones_like(level)], 1), level, spread


def _forecasts(fit: Floats, windows: Floats, least_spread: float) -> Floats:
    """(windows, history) -> (windows, horizon)."""
    features, level, _ = _features(windows, least_spread)
    return level + features @ fit


def _trust(errors: Floats, horizon: int) -> Floats:
    """How much each regression counts in each step ahead, (regressions, horizon): by its error there and in all steps.

    Some are good one step ahead and others twelve; what a few steps alone say is left to chance, so that neighbours
    are taken together.
    """
    ahead = np.arange(horizon)
    near = np.abs(np.subtract.outer(ahead, ahead)) <= horizon // 4
    here, whole = errors @ (near / near.sum(0)), errors.mean(1, keepdims=True)
    above = sum(error / np.maximum(error.min(0), 1e-12) - 1 for error in (here, whole)) / 2
    trust = np.exp(-_TRUST * above)
    return trust / trust.sum(0)


def _mixed(trust: Floats, fits: Floats) -> Floats:
    """The mean of fits (regressions, history + 3, horizon), weighted by the trust in each (regressions, horizon)."""
    return np.einsum("rh,rfh->fh", trust, fits)


def _errors(judged: _FoldForecasts, how: RegressionSettings, outer: ToUnits) -> Floats:
    """The sum of the absolute errors of each fit in each step ahead: (regressions, horizon)."""
    features, level, _ = _features(judged.windows, how.least_spread)
    wanted = outer(judged.targets)
    return np.array([np.abs(outer(level + features @ fit) - wanted).sum(0) for fit in judged.fits])


def _fits(windows: Floats, targets: Floats, how: RegressionSettings) -> Floats:
    """Every regression's weights (regressions, history + 3, horizon)."""
    history = how.history
    features, level, _ = _features(windows, how.least_spread)
    whole, wanted = features.T @ features / len(features), features.T @ (targets - level) / len(features)
    weights: dict[_Regression, Floats] = {}
    for full in (False, True):
        count = history + (3 if full else 1)
        simple = dict(_simple_forecasts(how, full=full))
        starts = np.stack([start[:count] for start in simple.values()])
        solved = _ridge(whole[:count, :count], wanted[:count] - whole[:count, :count] @ starts, history)
        fits = np.zeros((len(_PENALTIES), len(simple), len(whole), how.horizon))
        fits[:, :, :count] = starts + solved
        for (place, penalty), (nth, towards) in product(enumerate(_PENALTIES), enumerate(simple)):
            weights[_Regression(full, towards, penalty)] = fits[place, nth]
    return np.stack([weights[regression] for regression in _REGRESSIONS])


def _ridge(gram: Floats, right: Floats, history: int) -> Floats:
    """The weights (penalties, starts, features, horizon) for every penalty, of right sides (starts, features, horizon).

    A single decomposition serves all penalties.
    """
    scale = np.ones(len(gram))
    scale[history + 2 :] = _FREE
    values, vectors = np.linalg.eigh(gram * np.outer(scale, scale))
    turned = (vectors.T * scale) @ right
    shrunk = turned / (values[:, np.newaxis] + np.array(_PENALTIES)[:, np.newaxis, np.newaxis, np.newaxis])
    return (scale[:, np.newaxis] * vectors) @ shrunk


def _simple_forecasts(how: RegressionSettings, *, full: bool) -> Iterator[tuple[str, Floats]]:
    """Weights of features (history + 3, horizon), by name: what a regression is pulled towards."""
    history, horizon = how.history, how.horizon
    season = how.season if how.season <= history else 1
    steps, place = np.arange(horizon), history - season + np.arange(horizon) % season
    naive, last, level, seasons, mean = (np.zeros((history + 3, horizon)) for _ in range(5))
    naive[place, steps] = 1
    last[history - 1] = 1
    mean[history + 1] = -1  # of the level, which is added to all of them: what is left is the constant
    if season > 1:  # the mean of each step over all seasons, about the level of each, at the level of the last season
        whole = history // season
        for back in range(whole):
            begin = history - (back + 1) * season
            seasons[place - back * season, steps] += 1 / whole
            seasons[begin : begin + season] -= 1 / (whole * season)
        seasons[history - season : history] += 1 / season
    yield from (("naive", naive), ("last", last), ("level", level), ("seasons", seasons))
    if full:
        yield "mean", mean
