"""Forecasts of any series of numbers."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

from gatewright.errors import DataError
from gatewright.tasks.data.forecasting.seasons import best_season
from gatewright.tasks.data.forecasting.series import SeriesCollection, TimeSeries, load_series
from gatewright.tasks.data.forecasting.windows import Cuts
from gatewright.tasks.data.published.registry import find_data_set
from gatewright.tasks.data.published.sources import source_name
from gatewright.tasks.data.scaling import Scaling
from gatewright.tasks.forecasting.baselines import baselines
from gatewright.tasks.forecasting.predictor import ForecastPredictor, first_steps
from gatewright.tasks.forecasting.settings import ForecastSettings
from gatewright.tasks.forecasting.signature import kept_of, read_for, signature_of
from gatewright.tasks.forecasting.signature_check import forecast_misfit
from gatewright.tasks.forecasting.windows import ForecastData, KnownInputs, Track, windows_of
from gatewright.tasks.formatting import counted
from gatewright.tasks.objectives import SIDES, Forecasts
from gatewright.tasks.recipe import Expected
from gatewright.tasks.run_data import Data, Panel, Sizes
from gatewright.tasks.trained_model import TrainedModel
from gatewright.untrusted.kinds import Misfit

if TYPE_CHECKING:
    from torch import nn


_ETT = ("etth1", "etth2")
_MOST_VARIABLES = 20
_LONGER = 0.9  # of the error of the best season within the history: a longer season that is this good is read whole


@dataclass(frozen=True)
class Series(ForecastSettings):
    """Some steps of every variable from the steps before them, each with an interval that should hold it.

    The first part of the series is trained on, and scaled by; the parts after it are forecast from each of their steps
    on. The settings suit a short series, by default the passengers of airlines; the presets are for longer ones.
    Errors are in deviations of the training part, and so are those of the two baselines. `skill` is the share of the
    seasonal naive forecast's error that is gone, `coverage` the share of the values that the intervals hold, which
    should be `interval`, `width` how wide they are.
    """

    name = "series"
    about = "forecast a series, several steps ahead and with intervals, from its own past"
    renamed = {"variables": "target"}
    predictor_class = ForecastPredictor
    expected = {
        "": Expected("test", "skill", at_least=0.65, seconds=20),
        "sunspots": Expected("test", "skill", at_least=0.25, seconds=40),
        "etth1": Expected("test", "skill", at_least=0.12, seconds=60),
    }
    presets = {
        "sunspots": "series=sunspots history=132 hidden=32 batch=64 epochs=20 rate=3e-3 dropout=0.1 kind=quantiles",
        "etth1": "series=etth1 history=96 horizon=24 hidden=64 batch=64 epochs=4 rate=2e-3 kind=quantiles",
    }
    data_forms = "a table with a row for each time and a column for each variable, or in long form with a column id"
    data_example = "date,sales,price\n2026-01-01,125,3.5\n2026-02-01,131,3.4"
    quick = "epochs=5"
    search = "rate=log:1e-3..3e-2 hidden=8..64 dropout=0..0.5 history=24,36,48"

    @property
    def next_command(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride] (of other recipes it is fixed)
        """The forecast; where covariates are read, whose future nobody knows yet, those of the test part."""
        return "gatewright predict {model}" + (" --rolling" if self.covariates else "")

    def measured_by(self, sizes: Sizes) -> Forecasts:
        """With the error of each variable, where there are several and not very many."""
        variables = (sizes.variables or ())[: sizes.outputs // (1 + SIDES[self.kind])]
        return replace(self.objective(), variables=variables if 1 < len(variables) <= _MOST_VARIABLES else ())

    def panels(self, network: "nn.Module", data: Data) -> Sequence[Panel]:
        """The last forecast of the test part, beside what came."""
        from gatewright.tasks.forecasting.pictures import back_test

        return [back_test(network, data, self)]  # pyright: ignore[reportArgumentType]

    def network_class(self) -> "Callable[..., nn.Module]":
        """A network that corrects a linear forecast."""
        from gatewright.tasks.forecasting.network import Forecaster

        return partial(Forecaster, history=self.history, horizon=self.horizon, kind=self.kind)

    def described(self) -> dict[str, Any]:
        """That the network around the layers is in a forecast's."""
        forecasts = {"history": self.history, "horizon": self.horizon, "kind": self.kind}
        return {**super().described(), "forecasts": forecasts}

    def data(self, source: object) -> ForecastData:
        """Windows of the three parts; those of ETTh1 and ETTh2 are cut as in the papers."""
        name = self.series if source is None else source
        read = load_series(name, self)
        cuts = [self.cuts_of(name, series) for series in read.series]
        fitted = self.fitted_to(sorted(cuts)[len(cuts) // 2])
        recipe = replace(self, **fitted)
        season, longer = recipe.season_of(read, cuts)
        if longer and self.is_own("history"):
            fitted |= {"history": season}
        known = KnownInputs.of(read.series, cuts, calendar=self.calendar)
        scalings = [Scaling.of(series.values[: cut.train]) for series, cut in zip(read.series, cuts, strict=True)]
        return replace(self, **fitted).data_of(read, name, cuts, season, known, scalings, fitted)

    def data_of(
        self,
        read: SeriesCollection,
        name: object,
        cuts: Sequence[Cuts],
        season: int,
        known: KnownInputs,
        scalings: Sequence[Scaling],
        fitted: Mapping[str, int],
    ) -> ForecastData:
        """Those series, cut and scaled so."""
        inputs = [known.scaled(known.of_series(series)[: len(series)]) for series in read.series]
        tracks = tuple(
            Track(series.values, beside, cut, scaling, series.times, series.id)
            for series, beside, cut, scaling in zip(read.series, inputs, cuts, scalings, strict=True)
        )
        names = (*read.names, *known.names)
        digest = hashlib.sha256(b"".join(track.values.tobytes() for track in tracks)).hexdigest()
        return ForecastData(
            windows_of(tracks, self.history, self.horizon, season, self.batch, self.seed),
            Sizes(len(names), len(read.names) * (1 + SIDES[self.kind]), variables=names),
            origin={"series": source_name(name), "variables": list(read.names), "season": season, "sha256": digest},
            scaling=tracks[0].scaling if len(tracks) == 1 else None,
            fitted=fitted,
            remarks=read.remarks,
            signature=signature_of(self, read, tracks, season, known),
            tracks=tracks,
            season=season,
            known=known,
        )

    def evaluation(self, source: object, model: TrainedModel) -> Data:
        """The data to measure a model on, in the units of the model's own training part.

        Raises DataError where it has other variables, or where its values lie far from all that was trained on.
        """
        name = model.source if source is None else source
        name = self.series if name is None else name
        read = read_for(model, self, name)
        longest = max(read.series, key=len)
        if not self._has_windows(self.cuts_of(name, longest)):
            steps = next(steps for steps in count(len(longest)) if self._has_windows(self._shares(steps)))
            raise DataError(
                f"{source_name(name)} is too short to evaluate the model on",
                expected=f"at least {steps} steps, of which each part has {self.history} to read and {self.horizon} to "
                "forecast",
                got=counted(len(longest), "step"),
                do=f"give a longer series; predict needs {counted(self.history, 'step')}",
            )
        cuts = [self.cuts_of(name, series) for series in read.series]
        return self.data_of(read, name, cuts, *kept_of(model, read), {})

    def _has_windows(self, cuts: Cuts) -> bool:
        train, validation, test = cuts
        return self.history + self.horizon <= train and self.horizon <= min(validation - train, test - validation)

    def _shares(self, steps: int) -> Cuts:
        return Cuts.shares(steps, validation=self.validation, test=self.test)

    def cuts_of(self, name: object, series: TimeSeries) -> Cuts:
        """Where the parts of a series end."""
        known = find_data_set(name) if isinstance(name, str) else None
        if known is not None and known.name in _ETT:
            return Cuts.ett_hourly()
        return self._shares(len(series))

    def fitted_to(self, cuts: Cuts) -> dict[str, int]:
        """Smaller history and horizon where a part has no window, or few are trained on, and nobody asked for these."""
        fitted = self.fitted(horizon=min(cuts.train // 4, cuts.validation - cuts.train, cuts.test - cuts.validation))
        return fitted | self.fitted(history=(cuts.train - fitted.get("horizon", self.horizon)) // 2)

    def fitted_remark(self, fitted: Mapping[str, int]) -> str:
        """A line for a person, where settings were made smaller, or the history as long as a season."""
        smaller = {name: size for name, size in fitted.items() if size < getattr(self, name)}
        lines = [super().fitted_remark(smaller)]
        if fitted.get("history", 0) > self.history:
            lines.append(f"history={fitted['history']} (not {self.history}), so that a season is read whole")
        return "; ".join(filter(None, lines))

    def prepare(self, network: "nn.Module", data: Data) -> None:
        """Hand it the scaling, the season, and the linear forecast."""
        from gatewright.tasks.forecasting.fitting import fit

        fit(network, data, self)  # pyright: ignore[reportArgumentType]

    def conclude(self, network: "nn.Module", data: Data) -> None:
        """Choose by the validation part what share of the correction is used, and how wide the intervals are."""
        from gatewright.tasks.forecasting.fitting import calibrate

        calibrate(network, data, self)  # pyright: ignore[reportArgumentType]

    def baselines(self, data: Data) -> Mapping[str, Mapping[str, float]]:
        """The errors of the seasonal naive forecast and of a linear autoregression."""
        return baselines(data, self)  # pyright: ignore[reportArgumentType]

    def misfit(self, signature: Mapping[str, Any], sizes: Sizes) -> Misfit | None:
        """Variables, scalings, times, and the last steps of each series."""
        return forecast_misfit(signature, sizes, self.history, self.horizon)

    def samples(self, model: TrainedModel) -> Mapping[str, str]:
        """What comes after the series: the first steps of some variables, in their own units."""
        return first_steps(model)

    def season_of(self, read: SeriesCollection, cuts: Sequence[Cuts]) -> tuple[int, bool]:
        """Of the naive forecast: as it is set, or what fits the training parts best; and whether to read it whole."""
        if self.season:
            return self.season, False
        trained = [series.values[: cut.train] for series, cut in zip(read.series, cuts, strict=True)]
        longest = max(map(len, trained)) // 2
        season, error = best_season(trained, self.horizon, longest)
        if season <= self.history or 3 * season + self.horizon > longest * 2:
            return season, False
        return season, error < _LONGER * best_season(trained, self.horizon, self.history)[1]
