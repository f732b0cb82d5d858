"""What recipes that forecast a series have in common."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from gatewright.tasks.columns import SeriesColumns
from gatewright.tasks.data import (
    Cuts,
    ForecastBatches,
    Scaling,
    Series,
    WindowBatches,
    best_season,
    load_series,
    source_name,
)
from gatewright.tasks.data.registry import find
from gatewright.tasks.objectives import ForecastKind, Forecasts
from gatewright.tasks.recipe import Data, Recipe, Sizes
from gatewright.tasks.settings import setting

if TYPE_CHECKING:
    from torch import Tensor, nn

    from gatewright.tasks.forecaster import Forecaster
    from gatewright.tasks.model import Model

LEAST_SPREAD = 0.05
"""Of a window, in deviations of the training part, so that one that hardly moves is not blown up."""

LEAST_DEVIATION = 1e-3
"""Of a forecast, in the same unit."""

MOVED: Mapping[ForecastKind, tuple[float, ...]] = {"gaussian": (1.0, 0.0), "quantiles": (1.0, 1.0, 1.0)}
"""How far each value of a forecast goes along with a series that is moved: a deviation stays."""

_ETT = ("etth1", "etth2")
_MEASURED_ROWS = 256
_SHOWN_VARIABLES, _SHOWN_STEPS = 3, 6


@dataclass(frozen=True)
class Forecasting(Recipe):
    """Some steps of every variable from the steps before them, each with an interval that should hold it.

    The first part of the series is trained on, and scaled by; the parts after it are forecast from each of their steps
    on, beside the seasonal naive forecast. Errors are in deviations of the training part.
    """

    next_command: ClassVar[str] = "gatewright evaluate {model}"

    series: str = setting("airline", "the series, by name or path, where --data names none")
    variables: str = setting("", "which to read and to forecast, with commas between; all of them where it is empty")
    history: int = setting(36, "steps to read", least=1)
    horizon: int = setting(12, "steps to forecast", least=1)
    season: int = setting(0, "steps that the naive forecast repeats; 0: what fits the training part best", least=0)
    kind: ForecastKind = setting("gaussian", "what is learned of a value: mean and deviation, or quantiles")
    interval: float = setting(0.8, "share of the values that the intervals should hold", least=0.01, below=1)
    validation: float = setting(0.1, "share of the series to validate with, before the test's", least=0.001, below=1)
    test: float = setting(0.2, "share of the series, its last steps, to test with", least=0.001, below=1)

    def objective(self) -> Forecasts:
        """As `kind` says."""
        return Forecasts(self.kind, self.interval)

    def network_class(self) -> "Callable[..., nn.Module]":
        """A network that corrects the naive forecast."""
        from gatewright.tasks.forecaster import Forecaster

        return partial(Forecaster, horizon=self.horizon, kind=self.kind)

    def described(self) -> dict[str, Any]:
        """That the network around the layers is in a forecast's."""
        return {**super().described(), "forecasts": {"horizon": self.horizon, "kind": self.kind}}

    def data(self, source: object) -> Data:
        """Windows of the three parts; those of ETTh1 and ETTh2 are cut as in the papers."""
        source = self.series if source is None else source
        found, cuts = self._found(source)
        scaling = Scaling.of(found.values[: cuts.train])
        scaled = scaling.apply(found.values)
        fitted = self.fitted_to(cuts)
        made = replace(self, **fitted)
        season = made.season_of(found, cuts)

        def windows(start: int, end: int, seed: int | None = None) -> ForecastBatches:
            rows = _MEASURED_ROWS if seed is None else self.batch
            part = WindowBatches(scaled, made.history, made.horizon, rows, start=start, end=end, seed=seed)
            return ForecastBatches(part, season)

        parts = {
            "train": windows(0, cuts.train, self.seed),
            "validation": windows(cuts.train, cuts.validation),
            "test": windows(cuts.validation, cuts.test),
        }
        digest = hashlib.sha256(found.values.tobytes()).hexdigest()
        return Data(
            parts,
            Sizes(len(found.names), len(found.names) * len(MOVED[self.kind])),
            measured=("validation", "test"),
            origin={"series": source_name(source), "variables": list(found.names), "season": season, "sha256": digest},
            scaling=scaling,
            fitted=fitted,
        )

    def fitted_to(self, cuts: Cuts) -> dict[str, int]:
        """Smaller history and horizon where a part has no window, or few are trained on, and nobody asked for these."""
        fitted = self.fitted(horizon=min(cuts.train // 4, cuts.validation - cuts.train, cuts.test - cuts.validation))
        return fitted | self.fitted(history=(cuts.train - fitted.get("horizon", self.horizon)) // 2)

    def prepare(self, network: "nn.Module", data: Data) -> None:
        """Hand it the scaling, and the season of the naive forecast."""
        super().prepare(network, data)
        season: Tensor = network.season  # pyright: ignore[reportAssignmentType]
        season.fill_(data.origin["season"])

    def samples(self, model: "Model") -> Mapping[str, str]:
        """What comes after the series: the first steps of some variables, in their own units."""
        import torch

        found, _ = self._found(self.series if model.source is None else model.source)
        network: Forecaster = model.network.eval()  # pyright: ignore[reportAssignmentType]
        past = torch.from_numpy(found.values[-self.history :, np.newaxis])
        with torch.no_grad():
            outputs = network.forecast(past.to(next(network.parameters()).device))
        ends = [one[:, 0].cpu().numpy() for one in self.objective().quantiles(outputs)]
        last = f" after {found.times.spelled()[-1]}" if found.times is not None else " after the end"
        return {
            f"{variable}{last}": "\n".join(
                f"+{step}: {middle:.4g} ({low:.4g} to {high:.4g})"
                for step, (low, middle, high) in enumerate(
                    zip(*(one[:_SHOWN_STEPS, place] for one in ends), strict=True), 1
                )
            )
            for place, variable in enumerate(found.names[:_SHOWN_VARIABLES])
        }

    def _found(self, source: object) -> tuple[Series, Cuts]:
        found = load_series(source, SeriesColumns(target=self.variables)).single()
        known = find(source) if isinstance(source, str) else None
        if known is not None and known.name in _ETT:
            return found, Cuts.ett_hourly()
        return found, Cuts.shares(len(found), validation=self.validation, test=self.test)

    def season_of(self, found: Series, cuts: Cuts) -> int:
        """Of the naive forecast: as it is set, or what fits the training part best."""
        return self.season or best_season(found.values[: cuts.train], self.horizon, self.history)
