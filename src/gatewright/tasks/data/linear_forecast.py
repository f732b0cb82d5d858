"""The linear forecast of a window: regressions on its steps, weighted by their errors on what was not fitted to."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import DataError
from gatewright.tasks.data.forecasting import Cuts

Floats = NDArray[np.float64]
Outer = Callable[[Floats], Floats]

_PENALTIES = 1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0
_FOLDS = 0.5, 2 / 3, 5 / 6, 1.0  # shares of the training part that are fitted; what follows each is forecast
_TRUST = 20.0
"""How fast a regression's weight falls with its error: to 1/e where it is 1/20 above the least one."""
_LEAST_RESIDUAL = 1e-3
_FITTED, _JUDGED = 1_000_000, 50_000
"""Numbers in all windows that are fitted to, or that judge: of a longer series every n-th window is taken."""


class _Regression(NamedTuple):
    """One way to fit: what it reads, what it is pulled towards, and how windows count."""

    full: bool  # it reads the level too; otherwise a window at another level is forecast at that level
    towards: str
    penalty: float
    by_spread: bool  # windows count by 1 / spread


_REGRESSIONS = tuple(
    _Regression(full, towards, penalty, by_spread)
    for full, by_spread, penalty, towards in product(
        (False, True), (False, True), _PENALTIES, ("naive", "last", "level", "seasons", "mean")
    )
    if full or towards != "mean"
)


@dataclass(frozen=True, eq=False)
class LinearForecast:
    """`level + (window - level) @ weight + features @ rest` for each variable; all in the unit of the windows.

    The level and the spread are the mean and the deviation of a window. `rest` multiplies the spread, the level and 1.
    `residual` is the mean absolute error of each step ahead, in spreads, of windows that were not fitted to.
    """

    weight: Floats  # (variables, history, horizon)
    rest: Floats  # (variables, 3, horizon)
    residual: Floats  # (variables, horizon)
    error: Floats  # (variables,): mean absolute error of windows that were not fitted to

    def __call__(self, windows: Floats, least_spread: float) -> Floats:
        """(windows, history, variables) -> (windows, horizon, variables)."""
        parts = [
            _forecasts(np.concatenate([weight, rest]), windows[..., place], least_spread)
            for place, (weight, rest) in enumerate(zip(self.weight, self.rest, strict=True))
        ]
        return np.stack(parts, -1)


class _Judged(NamedTuple):
    """What every regression found in a fold, and the windows and targets that judge it."""

    fits: Floats
    windows: Floats
    targets: Floats


class Fold(NamedTuple):
    """Which steps are fitted to, up to `fitted` of each series, and which are forecast then, from there to `end`."""

    fitted: Sequence[int]
    end: Sequence[int]


def folds_of(cuts: Sequence[Cuts]) -> tuple[Fold, ...]:
    """The training parts in growing shares, each with what follows it; the last is followed by the validation part."""
    ends = [[round(share * cut.train) for cut in cuts] for share in _FOLDS]
    return tuple(
        Fold(fitted, end) for fitted, end in zip(ends, [*ends[1:], [cut.validation for cut in cuts]], strict=True)
    )


class Regressed(NamedTuple):
    """How windows are cut and seen."""

    history: int
    horizon: int
    season: int
    least_spread: float


def linear_forecast(
    series: Sequence[Floats], cuts: Sequence[Cuts], how: Regressed, outer: Sequence[Outer] | None = None
) -> LinearForecast:
    """The mean of ridge regressions, weighted by how they forecast what follows the steps that they were fitted to.

    `series` are (steps, variables) each. Every regression gives all steps ahead at once from a window, and is pulled
    towards a simple forecast: the seasonal naive one, the last value, the level, the mean season, or the mean of the
    training part. Nothing behind the validation parts is read. `outer` turns each variable into the unit in which
    errors are compared.
    """
    found = [
        _variable([values[:, place] for values in series], cuts, how, outer[place] if outer else _as_it_is)
        for place in range(series[0].shape[1])
    ]
    weights, residuals, errors = zip(*found, strict=True)
    whole = np.stack(weights)
    return LinearForecast(whole[:, : how.history], whole[:, how.history :], np.stack(residuals), np.array(errors))


def _as_it_is(values: Floats) -> Floats:
    return values


def _variable(
    series: Sequence[Floats], cuts: Sequence[Cuts], how: Regressed, outer: Outer
) -> tuple[Floats, Floats, float]:
    start, size = [0] * len(series), (how.history, how.horizon)
    judged: list[_Judged] = []
    for fold in folds_of(cuts):
        fitted, targets = _windows(series, start, fold.fitted, *size, _FITTED)
        held, wanted = _windows(series, fold.fitted, fold.end, *size, _JUDGED)
        if len(fitted) > 1 and len(held):
            judged.append(_Judged(_fits(fitted, targets, how), held, wanted))
    if not judged:
        raise DataError(
            "the training part is too short for a linear forecast",
            expected=f"more than {how.history + how.horizon} steps",
            got=f"{max(cut.train for cut in cuts)} steps",
            do="take a shorter history or horizon",
            shell="take a shorter history or horizon, with --set history=... --set horizon=...",
        )
    errors = np.sum([_errors(one, how, outer) for one in judged], 0) / sum(len(one.targets) for one in judged)
    trust = _trust(errors, how.horizon)
    missed: list[Floats] = []
    residuals: list[Floats] = []
    for fits, held, wanted in judged:
        forecasts = _forecasts(_mixed(trust, fits), held, how.least_spread)
        missed.append(np.abs(outer(forecasts) - outer(wanted)))
        residuals.append(np.abs(forecasts - wanted) / np.maximum(held.std(1, keepdims=True), how.least_spread))
    every = _windows(series, start, [cut.train for cut in cuts], *size, _FITTED)
    whole = _mixed(trust, _fits(*every, how))
    residual = np.maximum(np.concatenate(residuals).mean(0), _LEAST_RESIDUAL)
    return whole, residual, float(np.concatenate(missed).mean())


def _windows(
    series: Sequence[Floats], starts: Sequence[int], ends: Sequence[int], history: int, horizon: int, most: int
) -> tuple[Floats, Floats]:
    """Of all series the windows (windows, history) whose targets (windows, horizon) lie from start to end."""
    places = [np.arange(max(start, history), end - horizon + 1) for start, end in zip(starts, ends, strict=True)]
    stride = max(1, math.ceil(sum(map(len, places)) * history / most))
    pairs = [
        (
            values[now[::stride, np.newaxis] + np.arange(-history, 0)],
            values[now[::stride, np.newaxis] + np.arange(horizon)],
        )
        for values, now in zip(series, places, strict=True)
    ]
    read, targets = zip(*pairs, strict=True)
    return np.concatenate(read), np.concatenate(targets)


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
    above = sum(one / np.maximum(one.min(0), 1e-12) - 1 for one in (here, whole)) / 2
    trust = np.exp(-_TRUST * above)
    return trust / trust.sum(0)


def _mixed(trust: Floats, fits: Floats) -> Floats:
    """The mean of fits (regressions, history + 3, horizon), weighted by the trust in each (regressions, horizon)."""
    return np.einsum("rh,rfh->fh", trust, fits)


def _errors(judged: _Judged, how: Regressed, outer: Outer) -> Floats:
    """The sum of the absolute errors of each fit in each step ahead: (regressions, horizon)."""
    features, level, _ = _features(judged.windows, how.least_spread)
    wanted = outer(judged.targets)
    return np.array([np.abs(outer(level + features @ fit) - wanted).sum(0) for fit in judged.fits])


def _fits(windows: Floats, targets: Floats, how: Regressed) -> Floats:
    """Every regression's weights (regressions, history + 3, horizon)."""
    history = how.history
    features, level, spread = _features(windows, how.least_spread)
    found: dict[_Regression, Floats] = {}
    for full, by_spread in product((False, True), (False, True)):
        count = history + (3 if full else 1)
        counted = 1 / spread if by_spread else np.ones_like(spread)
        counted = counted / counted.mean()
        read, aim = features[:, :count] * counted, (targets - level) * counted
        gram, right = read.T @ read / len(read), read.T @ aim / len(read)
        simple = dict(_simple_forecasts(how, full=full))
        starts = np.stack([one[:count] for one in simple.values()])
        for penalty in _PENALTIES:
            penalties = np.full(count, penalty)
            penalties[history + 2 :] = 1e-6  # of the constant
            change = np.linalg.solve(gram + np.diag(penalties), right - gram @ starts)
            for towards, weights in zip(simple, starts + change, strict=True):
                padded = np.pad(weights, ((0, features.shape[1] - count), (0, 0)))
                found[_Regression(full, towards, penalty, by_spread)] = padded
    return np.stack([found[one] for one in _REGRESSIONS])


def _simple_forecasts(how: Regressed, *, full: bool) -> Iterator[tuple[str, Floats]]:
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
