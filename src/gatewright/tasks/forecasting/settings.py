"""The settings of forecasts."""

from dataclasses import dataclass

from gatewright.tasks.columns import SeriesColumns
from gatewright.tasks.objectives import ForecastKind, Forecasts
from gatewright.tasks.recipe import Recipe, Schedule
from gatewright.tasks.settings import setting


@dataclass(frozen=True)
class ForecastSettings(Recipe, SeriesColumns):
    """The settings of the recipe `series`, in a module that the other modules of forecasting can import."""

    hidden: int = 24
    epochs: int = 40
    batch: int = 16
    rate: float = 1e-2
    schedule: Schedule = "one-cycle"
    dropout: float = 0.3
    clip: float = 1.0
    series: str = setting("airline", "the series, by name or path, where --data names none")
    history: int = setting(36, "steps to read", least=1)
    horizon: int = setting(12, "steps to forecast", least=1)
    season: int = setting(0, "steps that the naive forecast repeats; 0: what fits the training part best", least=0)
    calendar: bool = setting(False, "dates give the time of the year, the week and the day as inputs")
    kind: ForecastKind = setting("quantiles", "the loss: of quantiles, or the density of student or gaussian")
    interval: float = setting(0.8, "share of the values that the intervals should hold", least=0.01, below=1)
    validation: float = setting(0.1, "share of the series to validate with, before the test's", least=0.001, below=1)
    test: float = setting(0.2, "share of the series, its last steps, to test with", least=0.001, below=1)

    def objective(self) -> Forecasts:
        """The loss for `kind`."""
        return Forecasts(self.kind, self.interval)
