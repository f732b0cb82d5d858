"""Forecasts of a trained model: the steps after a series, or after each step of its test part."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import DataError, OptionError
from gatewright.tasks.answers.network_inputs import MANY, NetworkInputs
from gatewright.tasks.answers.predictor import ANY_SCALE, Predictor, run_network
from gatewright.tasks.data.forecasting.linear import Floats
from gatewright.tasks.data.published.sources import IN_MEMORY, source_name
from gatewright.tasks.data.scaling import variable_scales
from gatewright.tasks.data.tables.date_forms import spelled_date
from gatewright.tasks.data.tables.time_axis import TimeAxis
from gatewright.tasks.forecasting import signature as signatures
from gatewright.tasks.forecasting.settings import ForecastSettings
from gatewright.tasks.forecasting.windows import ForecastData, SeriesWindow
from gatewright.tasks.formatting import counted
from gatewright.tasks.trained_model import TrainedModel

if TYPE_CHECKING:
    from pandas import DataFrame


_SHOWN_VARIABLES, _SHOWN_STEPS = 3, 6
_ROWS = 256


class ForecastPredictor(Predictor):
    """The steps that come after a series, for every variable: a row each, with `low` and `high`, the interval's ends.

    Columns are `id` where there are several series, `time` (`step` where the data has no times), `variable`, `median`
    (`mean` of kind=gaussian and student), `low` and `high`, in the units of the data.

    Without data it goes on from the end of the data that the model was trained on, which the model file holds. With
    `rolling` the rows are the forecasts from each step of the test part: they begin with `origin`, the last time that
    was read, and end with `actual`.
    """

    needs_data: ClassVar[bool] = False
    options: ClassVar[Mapping[str, str]] = {
        "rolling": "the forecasts from each step of the test part, beside what came",
        "horizon": "how many steps to forecast, no more than were trained",
        **ANY_SCALE,
    }
    suffixes: ClassVar[tuple[str, ...]] = (".png", ".svg")

    def __init__(self, model: TrainedModel) -> None:
        super().__init__(model)
        if "series" not in model.signature:
            raise OptionError(
                "the model was trained by an earlier version, and does not know its columns", do="train it again"
            )
        self._any_scale = False
        self._form = ""  # of the dates of the latest answers
        self.recipe: ForecastSettings = model.recipe  # pyright: ignore[reportAttributeAccessIssue]

    @property
    def middle(self) -> str:
        """The column name of the middle of a forecast: `median` or `mean`."""
        return "median" if self.recipe.kind == "quantiles" else "mean"

    def table(self, source: object, **options: Any) -> "DataFrame":
        """A row for each series, variable and step to come, or with `rolling` for each forecast of the test part.

        Raises OptionError for more steps than were trained, and DataError where the data is too short, or does not
        hold the future of the covariates.
        """
        import pandas as pd

        asked: int | None = options.get("horizon")
        if asked is not None and asked > self.recipe.horizon:
            raise OptionError(
                "the horizon is longer than the one that was trained",
                expected=f"at most {self.recipe.horizon} steps",
                got=str(asked),
                do=f"train with horizon={asked}",
                shell=f"train with --set horizon={asked}",
            )
        horizon = asked or self.recipe.horizon
        self._any_scale = bool(options.get("any_scale"))
        tables = self._rolling(source, horizon) if options.get("rolling") else self._ahead(source, horizon)
        return pd.concat(tables, ignore_index=True)

    def written(self, answers: "DataFrame") -> "DataFrame":
        """The latest answers, with dates in the format of the data."""
        dated = [name for name in ("origin", "time") if name in answers.columns] if self._form else []
        return answers.assign(**{name: [_spelled(time, self._form) for time in answers[name]] for name in dated})

    def encode(self, answers: "DataFrame", suffix: str, source: object) -> bytes:
        """A picture of the recent history, the forecast and its interval."""
        from gatewright.tasks.forecasting.pictures import draw_forecasts

        if "origin" in answers.columns:
            raise OptionError(f"forecasts of the past are a table, not a {suffix} file", do="write a .csv file")
        horizon = int((answers["variable"] == answers["variable"].iloc[0]).sum())
        return draw_forecasts(self.windows(source, horizon), answers, self.middle, self.model.signature, suffix)

    def windows(self, source: object, horizon: int | None = None) -> list[SeriesWindow]:
        """The last steps of each series, of the source or of the model's own data.

        `known` must cover `horizon` steps; later steps repeat the last one, and have no effect.
        """
        horizon = horizon or self.recipe.horizon
        if source is None:
            signatures.check_unnamed(self.model, self.recipe)
            return [self.recent(series, horizon) for series in self.model.signature["series"]]
        read = signatures.read_for(self.model, self.recipe, source)
        self.remarks = read.remarks
        _, known, scalings = signatures.kept_of(self.model, read)
        if not self._any_scale:
            scales = variable_scales(np.concatenate([series.values for series in read.series]), read.names)
            times = {series.id: series.times for series in read.series}
            signatures.check_same_kind(self.model.signature, scales, times, source_name(source))
        windows: list[SeriesWindow] = []
        for series, scaling in zip(read.series, scalings, strict=True):
            self._check_length(series.id, len(series))
            start = len(series) - self.recipe.history
            beside = self._whole(known.scaled(known.of_series(series, horizon))[start:])
            times = series.times.take(slice(start, None)) if series.times else None
            windows.append(SeriesWindow(series.values[start:], beside, scaling, times, series.id))
        return windows

    def _whole(self, known: Floats) -> Floats:
        """(history + horizon, known), where the last steps are not known, with the one before them."""
        missing = self.recipe.history + self.recipe.horizon - len(known)
        return np.concatenate([known, np.repeat(known[-1:], max(missing, 0), 0)])

    def _check_length(self, name: str, steps: int) -> None:
        """Refuse a series that is shorter than the window of the model."""
        if steps < self.recipe.history:
            raise DataError(
                f"the series{f' {name!r}' if name else ''} is too short to forecast from",
                expected=f"{self.recipe.history} steps, which the model reads",
                got=f"{steps} steps",
                do="give data without it" if name else None,
                shell="give data without it, with --data" if name else None,
            )

    def recent(self, series: Mapping[str, Any], horizon: int) -> SeriesWindow:
        """The last steps of one series of the training data, as the model's signature holds it."""
        self._check_length(series["id"], len(series["recent"]))
        known = signatures.known_from(self.model.signature)
        beside = np.zeros((self.recipe.history + self.recipe.horizon, 0))
        if known.names:
            kept = series["recent known"]
            if kept is None or len(kept) < self.recipe.history + horizon:
                steps = (
                    f"{counted(len(kept) - self.recipe.history, 'step')} in the data of the training" if kept else ""
                )
                raise known.lacks_future("", horizon, steps or "data that ended with its last value")
            beside = self._whole(known.scaled(np.array(kept)))
        times = signatures.times_from(self.model.signature, series)
        scaling = signatures.scaling_from(series["scaling"])
        return SeriesWindow(np.array(series["recent"], np.float64), beside, scaling, times, series["id"])

    def forecasts(self, windows: Sequence[SeriesWindow]) -> Floats:
        """(windows, horizon, variables, 3): low, middle and high in the units of the data."""
        inputs = self._inputs(windows)
        parts = np.split(inputs, range(_ROWS, inputs.shape[1], _ROWS), 1)
        outputs = [run_network(self.model.network, part)[0].numpy() for part in parts]  # (horizon, windows, ..., 3)
        mean, deviation = (
            np.stack([getattr(window.scaling, name) for window in windows])[:, None, :, None]
            for name in ("mean", "deviation")
        )
        return np.moveaxis(np.concatenate(outputs, 1), 1, 0) * deviation + mean

    def _inputs(self, windows: Sequence[SeriesWindow]) -> NDArray[np.float32]:
        """(history + horizon, windows, variables + known), as the network reads them."""
        values = np.stack([(window.values - window.scaling.mean) / window.scaling.deviation for window in windows], 1)
        to_come = np.zeros((self.recipe.horizon, *values.shape[1:]))
        known = np.stack([window.known for window in windows], 1)
        return np.concatenate([np.concatenate([values, to_come]), known], -1).astype(np.float32)

    def network_inputs(self, source: object) -> Iterator[NetworkInputs]:
        """The last window of each series: its history, and the steps to come, for which only covariates are known."""
        yield from self.window_inputs(self.windows(source))

    def window_inputs(self, windows: Sequence[SeriesWindow]) -> Iterator[NetworkInputs]:
        """The same of windows that were read before, such as one with other values."""
        columns = self.model.signature["columns"]
        steps = [f"{number}" for number in range(-self.recipe.history + 1, self.recipe.horizon + 1)]
        for start in range(0, len(windows), MANY):
            part = windows[start : start + MANY]
            named = [
                [*window.times.spelled(), *window.times_to_come(self.recipe.horizon).spelled()]
                if window.times is not None
                else steps
                for window in part
            ]
            inputs = self._inputs(part)
            lengths = np.full(len(part), len(inputs), np.int64)
            ids = [window.id or str(start + place) for place, window in enumerate(part, 1)]
            variables = [*columns["target"], *columns["covariates"]]
            to_come = np.full((self.recipe.horizon, len(part), len(columns["target"])), np.nan)
            measured = np.concatenate([np.stack([window.values for window in part], 1), to_come])
            scalings = [window.scaling for window in part]
            scale = (
                np.stack([scaling.mean for scaling in scalings]),
                np.stack([scaling.deviation for scaling in scalings]),
            )
            yield NetworkInputs(
                inputs,
                lengths,
                ids,
                named,
                variables,
                output_kind="forecast",
                measured=measured,
                measured_names=columns["target"],
                output_scale=scale,
            )

    def _ahead(self, source: object, horizon: int) -> "list[DataFrame]":
        windows = self.windows(source, horizon)
        times = [window.times_to_come(horizon) for window in windows]
        self._form = times[0].form if times[0].is_dated else ""
        return [
            self._table(ends[:horizon], to_come, window)
            for window, to_come, ends in zip(windows, times, self.forecasts(windows), strict=True)
        ]

    def _table(self, ends: Floats, times: TimeAxis, window: SeriesWindow, **columns: Any) -> "DataFrame":
        """The rows of a forecast (steps, variables, 3), a variable after the other."""
        import pandas as pd

        names = self.model.signature["columns"]["target"]
        steps = len(ends)
        low, middle, high = (ends[..., place].T.ravel() for place in range(3))
        several = len(self.model.signature["series"]) > 1 or window.id
        when = "step" if window.times is None else "time"
        return pd.DataFrame(
            {
                **({"id": window.id} if several else {}),
                **columns,
                when: times.for_pandas() * len(names),
                "variable": [name for name in names for _ in range(steps)],
                self.middle: middle,
                "low": low,
                "high": high,
            }
        )

    def _rolling(self, source: object, horizon: int) -> "list[DataFrame]":
        if source is None and self.model.source == IN_MEMORY:
            raise DataError(
                "the model was trained on data in memory, which a model file does not keep",
                do="give the data whose past is to be forecast",
                shell="name the data whose past is to be forecast with --data",
            )
        data: ForecastData = self.recipe.evaluation(source, self.model)  # pyright: ignore[reportAssignmentType]
        if not self._any_scale:
            name = source_name(self.model.source if source is None else source)
            times = {track.id: track.times for track in data.tracks}
            signatures.check_same_kind(self.model.signature, data.signature["variables"], times, name)
        self._form = track.times.form if (track := data.tracks[0]).times and track.times.is_dated else ""
        history, tables = self.recipe.history, list["DataFrame"]()
        for track in data.tracks:
            origins = range(max(track.cuts.validation, history), track.cuts.test - self.recipe.horizon + 1)
            windows = [track.window(now, history, self.recipe.horizon) for now in origins]
            times = track.times or TimeAxis(np.arange(1, len(track.values) + 1))
            for now, ends, window in zip(origins, self.forecasts(windows) if windows else (), windows, strict=True):
                (origin,) = times.take(slice(now - 1, now)).for_pandas()
                table = self._table(ends[:horizon], times.take(slice(now, now + horizon)), window, origin=origin)
                table["actual"] = track.values[now : now + horizon].T.ravel()
                tables.append(table)
        return tables


def _spelled(time: Any, form: str) -> str:
    offset, local = time.utcoffset(), time.tz_localize(None).to_pydatetime(warn=False)
    return spelled_date(local, form, int(offset.total_seconds()) if offset else 0)


def first_steps(model: TrainedModel) -> dict[str, str]:
    """The first steps of some variables of the first series, as lines for a person."""
    predictor = ForecastPredictor(model)
    signature = model.signature
    first, horizon = signature["series"][0], predictor.recipe.horizon
    if signature["columns"]["covariates"]:
        horizon = min(horizon, len(first["recent known"] or ()) - predictor.recipe.history)
    if horizon < 1:
        return {}  # the forecast depends on covariates that are not known
    window = predictor.recent(first, horizon)
    ends = predictor.forecasts([window])[0]
    last = f" after {window.times.spelled()[-1]}" if window.times is not None else " after the end"
    of = f" of {window.id}" if window.id else ""
    return {
        f"{variable}{of}{last}": "\n".join(
            f"+{step}: {middle:.4g} ({low:.4g} to {high:.4g})"
            for step, (low, middle, high) in enumerate(ends[: min(horizon, _SHOWN_STEPS), place].tolist(), 1)
        )
        for place, variable in enumerate(signature["columns"]["target"][:_SHOWN_VARIABLES])
    }
