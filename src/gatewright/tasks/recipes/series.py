"""Forecasts of any series of numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from gatewright.tasks.forecasting.recipe import Forecasting
from gatewright.tasks.recipe import Expected, Schedule


@dataclass(frozen=True)
class Series(Forecasting):
    """A sensible setting for a short series, by default the passengers of airlines; `--data` names any table.

    The presets are settings for longer ones. Errors are in deviations of the training part, and so are those of the two
    baselines that every run is reported beside. `skill` is the share of the seasonal naive forecast's error that is
    gone, `coverage` the share of the values that the intervals hold, which should be `interval`, `width` how wide they
    are.
    """

    name: ClassVar[str] = "series"
    about: ClassVar[str] = "forecast a series, several steps ahead and with intervals, from its own past"
    expected: ClassVar[Mapping[str, Expected]] = {
        "": Expected("test", "skill", at_least=0.65, seconds=20),
        "sunspots": Expected("test", "skill", at_least=0.25, seconds=40),
        "etth1": Expected("test", "skill", at_least=0.12, seconds=60),
    }
    presets: ClassVar[Mapping[str, str]] = {
        "sunspots": "series=sunspots history=132 hidden=32 batch=64 epochs=20 rate=3e-3 dropout=0.1 kind=quantiles",
        "etth1": "series=etth1 history=96 horizon=24 hidden=64 batch=64 epochs=4 rate=2e-3 kind=quantiles",
    }
    data_forms: ClassVar[str] = (
        "a table with a row for each time and a column for each variable, or in long form with a column id"
    )
    data_example: ClassVar[str] = "date,sales,price\n2026-01-01,125,3.5\n2026-02-01,131,3.4"
    quick: ClassVar[str] = "epochs=5"
    search: ClassVar[str] = "rate=log:1e-3..3e-2 hidden=8..64 dropout=0..0.5 history=24,36,48"

    hidden: int = 24
    epochs: int = 40
    batch: int = 16
    rate: float = 1e-2
    schedule: Schedule = "one-cycle"
    dropout: float = 0.3
    clip: float = 1.0
