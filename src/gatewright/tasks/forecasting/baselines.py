"""Baseline forecasts: the seasonal naive forecast, and a linear autoregression."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gatewright.tasks.data.batches.arrays import Rows
from gatewright.tasks.forecasting.settings import ForecastSettings
from gatewright.tasks.forecasting.windows import ForecastData

if TYPE_CHECKING:
    from gatewright.tasks.data.forecasting.windows import ForecastBatches

Floats = NDArray[np.float64]

PENALTIES = 1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0, 1000.0, 10_000.0
_FEATURES = 2000  # that a regression on all variables together reads at most
_WINDOWS = 20_000  # that a regression is fitted to at most: of more, every n-th


def baselines(data: ForecastData, recipe: ForecastSettings) -> dict[str, dict[str, float]]:
    """The errors of the baselines by part and measure, in standard deviations of the training part.

    The season of the naive forecast is the one that fits the training part best. The linear autoregression is a ridge
    regression of all steps ahead on the windows that the network reads. Validation chooses its penalty, and whether
    each variable is regressed on its own past or on that of all variables.
    """
    windows: dict[str, ForecastBatches] = {name: data.parts[name] for name in data.parts}  # pyright: ignore[reportAssignmentType]
    measured = {name: _all(windows[name]) for name in data.measured}
    regressed = _autoregression(_all(windows["train"], _WINDOWS), measured, recipe.history)
    naive = f"seasonal naive ({data.season})"
    errors: dict[str, dict[str, float]] = {}
    for name, rows in measured.items():
        variables = rows.targets.shape[-1]
        by_method = {naive: rows.inputs[recipe.history :, :, :variables], "linear autoregression": regressed[name]}
        errors[name] = {
            f"{measure} of {method}": value
            for method, forecasts in by_method.items()
            for error in [forecasts.astype(np.float64) - rows.targets]
            for measure, value in (("mae", float(np.abs(error).mean())), ("mse", float((error**2).mean())))
        }
    return errors


def _all(batches: "ForecastBatches", most: int | None = None) -> Rows:
    rows = [batches.batch(0, place) for place in range(len(batches))]
    inputs, targets = (np.concatenate(parts, 1) for parts in zip(*rows, strict=True))
    stride = 1 if most is None else -(-inputs.shape[1] // most)
    return Rows(inputs[:, ::stride], targets[:, ::stride])


def _autoregression(train: Rows, measured: Mapping[str, Rows], history: int) -> dict[str, Floats]:
    """The forecasts (horizon, windows, variables) of each part."""
    validation, variables = measured["validation"], train.targets.shape[-1]
    groups: list[list[list[int]]] = [[[place] for place in range(variables)]]
    if 1 < variables <= _FEATURES // history:
        groups.append([list(range(variables))])
    best: tuple[float, dict[str, Floats]] | None = None
    for group in groups:
        parts = [_chosen(train, measured, places, history) for places in group]
        forecasts = {name: np.concatenate([part[name] for part in parts], -1) for name in measured}
        error = float(np.abs(forecasts["validation"] - validation.targets).mean())
        if best is None or error < best[0]:
            best = error, forecasts
    assert best
    return best[1]


def _chosen(train: Rows, measured: Mapping[str, Rows], places: Sequence[int], history: int) -> dict[str, Floats]:
    """Forecasts of these variables from their own past, with the penalty chosen by validation."""

    def flat(values: NDArray[np.float32]) -> Floats:  # (steps, windows, variables) -> (windows, steps * variables)
        return values[..., places].swapaxes(0, 1).reshape(values.shape[1], -1).astype(np.float64)

    read = {name: flat(rows.inputs[:history]) for name, rows in measured.items()}
    wanted = flat(measured["validation"].targets)
    fits = ridges(flat(train.inputs[:history]), flat(train.targets))
    best = min(fits, key=lambda fit: float(np.abs(fit(read["validation"]) - wanted).mean()))
    horizon = len(train.targets)
    return {
        name: best(values).reshape(len(values), horizon, len(places)).swapaxes(0, 1) for name, values in read.items()
    }


class Ridge(NamedTuple):
    """A linear regression: (windows, features) -> (windows, targets)."""

    weight: Floats  # (features, targets)
    constant: Floats  # (targets,)

    def __call__(self, features: Floats) -> Floats:
        """Predict the targets."""
        return features @ self.weight + self.constant


def ridges(features: Floats, targets: Floats) -> list[Ridge]:
    """A ridge regression for each of `PENALTIES`, with a free constant. A single decomposition serves all of them."""
    mean, centre = features.mean(0), targets.mean(0)
    features = features - mean
    values, vectors = np.linalg.eigh(features.T @ features)
    turned = vectors.T @ (features.T @ (targets - centre))
    weights = [vectors @ (turned / (np.maximum(values, 0)[:, np.newaxis] + penalty)) for penalty in PENALTIES]
    return [Ridge(weight, centre - mean @ weight) for weight in weights]
