"""The linear forecast: its regressions by hand, what judges them, and how far the ends of its intervals lie."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from gatewright.errors import DataError
from gatewright.tasks.data.forecasting.linear import LinearForecast, RegressionSettings, folds_of, linear_forecast
from gatewright.tasks.data.forecasting.windows import Cuts
from gatewright.tasks.forecasting.baselines import PENALTIES, ridges

HOW = RegressionSettings(history=24, horizon=6, season=12, least_spread=0.05)


def fitted(values: np.ndarray, how: RegressionSettings = HOW) -> tuple[LinearForecast, Cuts]:
    cuts = Cuts.shares(len(values))
    return linear_forecast([values[:, np.newaxis]], [cuts], how), cuts


def windows_of(
    values: np.ndarray, start: int, end: int, how: RegressionSettings = HOW
) -> tuple[np.ndarray, np.ndarray]:
    first = np.arange(start, end - how.horizon + 1)[:, np.newaxis]
    return values[first + np.arange(-how.history, 0)], values[first + np.arange(how.horizon)]


def test_the_ridge_regressions_of_the_baseline_are_those_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    features = random.normal(3, 1, (40, 60))  # fewer windows than features
    targets = features[:, :2] * 2 + random.normal(size=(40, 2))
    for penalty, ridge in zip(PENALTIES, ridges(features, targets), strict=True):
        want = Ridge(alpha=penalty).fit(features, targets)
        np.testing.assert_allclose(ridge(features), want.predict(features), rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(ridge.weight, want.coef_.T, rtol=1e-5, atol=1e-7)


def test_a_season_that_repeats_is_forecast_as_it_is() -> None:
    season = np.random.default_rng(1).normal(size=12)
    values = np.tile(season, 20)
    linear, cuts = fitted(values)
    held, wanted = windows_of(values, cuts.validation, cuts.test)
    error = np.abs(linear(held[..., np.newaxis], 0.05)[..., 0] - wanted).max()
    assert error < 0.02 * season.std()


def test_a_season_that_grows_is_forecast_with_its_growth() -> None:
    values = np.tile(np.random.default_rng(1).normal(size=12), 8) + 0.05 * np.arange(96)
    linear, cuts = fitted(values)
    held, wanted = windows_of(values, cuts.validation, cuts.test)
    error = np.abs(linear(held[..., np.newaxis], 0.05)[..., 0] - wanted).mean()
    assert error < 0.2 * 0.6  # the seasonal naive forecast misses a season's growth, 12 * 0.05


def test_folds_judge_every_window_after_what_they_fit() -> None:
    folds = folds_of([Cuts(120, 140, 200)])
    assert [fold.fitted for fold in folds] == [[60], [70], [80], [90], [100], [110], [120]]
    assert [fold.next for fold in folds] == [[70], [80], [90], [100], [110], [120], [140]]
    assert {fold.end[0] for fold in folds} == {140}


def test_ends_hold_their_share_of_lopsided_errors() -> None:
    random = np.random.default_rng(2)
    values = np.where(random.random(4000) < 0.6, 0, random.gamma(2, 3, 4000)) / 4
    linear, cuts = fitted(values, RegressionSettings(8, 2, 1, 0.05, interval=0.8))
    held, wanted = windows_of(values, cuts.validation, cuts.test, RegressionSettings(8, 2, 1, 0.05))
    spread = np.maximum(held.std(1, keepdims=True), 0.05)
    away = (wanted - linear(held[..., np.newaxis], 0.05)[..., 0]) / spread / linear.residual[0]
    below, above = linear.ends[0]
    assert 0.87 < (-away <= below).mean() < 0.93
    assert 0.87 < (away <= above).mean() < 0.93
    assert above > 1.5 * below


def test_ends_lie_further_where_few_windows_say_so() -> None:
    random = np.random.default_rng(3)
    few = [fitted(random.normal(size=60))[0].ends.mean() for _ in range(20)]
    many, _ = fitted(random.normal(size=3000))
    assert np.mean(few) > 1.15 * many.ends.mean()


def test_a_series_without_a_window_to_judge_by() -> None:
    with pytest.raises(DataError, match="the training part is too short for a linear forecast"):
        fitted(np.arange(30.0))
