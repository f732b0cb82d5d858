"""The signature of a forecaster: what its model file keeps of the training series, to forecast without them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gatewright.errors import DataError, OptionError
from gatewright.tasks.data.forecasting.series import SeriesCollection, TimeSeries, find_series_table, load_series
from gatewright.tasks.data.scaling import Scaling, check_scales, variable_scales
from gatewright.tasks.data.tables.time_axis import TimeAxis, frequency_in_words, same_distance
from gatewright.tasks.forecasting.settings import ForecastSettings
from gatewright.tasks.forecasting.windows import KnownInputs, Track
from gatewright.tasks.settings import listed_names, written_names
from gatewright.tasks.signatures import RAW_INPUTS, plain_scaling
from gatewright.tasks.trained_model import TrainedModel


def signature_of(
    recipe: ForecastSettings, read: SeriesCollection, tracks: Sequence[Track], season: int, known: KnownInputs
) -> dict[str, Any]:
    """Names, units, frequency, and the last steps of each series with the known inputs after them."""
    first = read.series[0]
    trained = np.concatenate([track.values[: track.cuts.train] for track in tracks])
    return {
        "columns": {
            "time": first.times.column if first.times else None,
            "target": list(read.names),
            "covariates": list(known.columns),
            "id": recipe.id or None,
        },
        "times": first.times.to_json() if first.times else None,
        "calendar": list(known.calendar),
        "history": recipe.history,
        "horizon": recipe.horizon,
        "season": season,
        "values": [f"quantile {level:g}" for level in recipe.objective().levels],
        "known scaling": plain_scaling(known.scaling) if known.scaling else None,
        # the network of a single series holds its scaling
        "inputs": RAW_INPUTS if len(tracks) == 1 else "scaled by the mean and the deviation of their series",
        "outputs": f"forecasts, {'in the units of the data' if len(tracks) == 1 else 'scaled as the inputs are'}",
        "variables": variable_scales(trained, read.names),
        "series": [
            {"id": track.id, "scaling": plain_scaling(track.scaling), **_recent(series, recipe, known)}
            for series, track in zip(read.series, tracks, strict=True)
        ],
    }


def _recent(series: TimeSeries, recipe: ForecastSettings, known: KnownInputs) -> dict[str, Any]:
    start = max(0, len(series) - recipe.history)
    # Where the table ends with the last value, or soon after, who forecasts has to give the future.
    ahead = min(recipe.horizon, len(series.covariates) - len(series)) if known.columns else recipe.horizon
    beside = known.of_series(series, ahead)[start:].tolist() if known.names and ahead else None
    times = series.times.take(slice(start, None)) if series.times else None
    values = times.values.astype(str if times.is_dated else object).tolist() if times else None
    return {
        "recent": series.values[start:].tolist(),
        "recent times": values,
        "frequency": times.frequency if times else None,
        "recent offsets": times.offsets.tolist() if times and times.offsets is not None else None,
        "recent known": beside,
    }


def scaling_from(plain: Mapping[str, Any]) -> Scaling:
    """The scaling that a signature holds."""
    return Scaling(np.array(plain["mean"], np.float64), np.array(plain["deviation"], np.float64))


def known_from(signature: Mapping[str, Any]) -> KnownInputs:
    """The inputs with a known future that a signature describes."""
    plain = signature["known scaling"]
    columns = tuple(signature["columns"]["covariates"])
    return KnownInputs(columns, tuple(signature["calendar"]), scaling_from(plain) if plain else None)


def times_from(signature: Mapping[str, Any], series: Mapping[str, Any]) -> TimeAxis | None:
    """The times of the last steps of a series, as a signature holds them."""
    kept, texts, offsets = signature["times"], series["recent times"], series.get("recent offsets")
    if texts is None or kept is None:
        return None
    values: Any = np.array(texts)
    frequency = series.get("frequency", kept["frequency"])
    if frequency or (values.dtype.kind == "U" and kept["form"] and _are_dates(texts)):
        values = values.astype("datetime64[us]")
    return TimeAxis(
        values,
        frequency,
        kept["column"],
        kept["form"],
        kept["zone"],
        offsets=None if offsets is None else np.array(offsets, np.int64),
        in_utc=kept.get("in_utc", False),
    )


def _are_dates(texts: Sequence[Any]) -> bool:
    try:
        np.array(texts).astype("datetime64[us]")
    except ValueError:
        return False
    return True


def read_for(model: TrainedModel, recipe: ForecastSettings, source: object) -> SeriesCollection:
    """The series of a source, with the variables that a model was trained on, under their names in training.

    The recipe's `target` and `covariates` name the columns that have other names in the source. Raises OptionError if
    these name another number of columns, or if the table also has the columns of the training.
    """
    trained, named = _columns_of(model, recipe)
    columns = replace(recipe, **{role: written_names(names) for role, names in named.items()})
    if named == trained:
        return load_series(source, columns)
    table = find_series_table(source, columns)
    for role, names in trained.items():
        if named[role] != names and (len(named[role]) != len(names) or not {*names}.isdisjoint(table.columns)):
            raise _other_columns(role, names, named[role])
    read = SeriesCollection.of(table, columns)
    names = {"names": trained["target"], "covariate_names": trained["covariates"]}
    return replace(read, series=tuple(replace(series, **names) for series in read.series))


def check_unnamed(model: TrainedModel, recipe: ForecastSettings) -> None:
    """Refuse other column names if no data is given."""
    trained, named = _columns_of(model, recipe)
    for role, names in trained.items():
        if named[role] != names:
            raise _other_columns(role, names, named[role])


def _other_columns(role: str, trained: Sequence[str], named: Sequence[str]) -> OptionError:
    return OptionError(
        f"setting {role!r} cannot be changed for a trained model",
        expected=f"the columns of {', '.join(trained)}" if trained else "no setting",
        got=written_names(named),
        do="leave it out; it is for data in which these columns are called otherwise",
    )


def _columns_of(
    model: TrainedModel, recipe: ForecastSettings
) -> tuple[dict[str, tuple[str, ...]], dict[str, tuple[str, ...]]]:
    """The columns of variables by role: their names in training, and their names in a source."""
    trained = {role: tuple(model.signature["columns"].get(role) or ()) for role in ("target", "covariates")}
    texts = {role: getattr(recipe, role) for role in trained}
    kept = {role: not text or (text,) == trained[role] for role, text in texts.items()}  # a name may hold a comma
    return trained, {role: trained[role] if kept[role] else listed_names(text) for role, text in texts.items()}


def kept_of(model: TrainedModel, read: SeriesCollection) -> tuple[int, KnownInputs, list[Scaling]]:
    """Season, known inputs and the scaling of each series, as the model has them.

    A series that the model does not know is scaled by its own values. Raises DataError for other variables.
    """
    signature = model.signature
    wanted = [*signature["columns"]["target"], *signature["columns"]["covariates"]]
    got = [*read.names, *read.series[0].covariate_names]
    if wanted != got:
        raise DataError(
            "the data does not fit the model",
            expected=f"the variables {', '.join(wanted)}",
            got=", ".join(got),
            do="give data of the kind that the model was trained on",
            shell="give data of the kind that the model was trained on, with --data",
        )
    scalings = {series["id"]: scaling_from(series["scaling"]) for series in signature["series"]}
    chosen = [scalings.get(series.id) or Scaling.of(series.values) for series in read.series]
    if len(scalings) == len(read.series) == 1:
        chosen = list(scalings.values())
    return signature["season"], known_from(signature), chosen


def check_same_kind(
    signature: Mapping[str, Any], scales: Mapping[str, Any], times: Mapping[str, TimeAxis | None], name: str
) -> None:
    """Refuse variables of another scale than in training, and steps of another kind; `scales` are by variable."""
    check_scales(signature["variables"], scales, name)
    check_times(signature, times, name)


def check_times(signature: Mapping[str, Any], times: Mapping[str, TimeAxis | None], name: str) -> None:
    """Refuse steps of another kind than in training: numbers in place of dates, or hours in place of days.

    `times` are those of each series by its id. Distances are medians, so that holidays and months of unequal
    lengths make no difference.
    """
    known = [axis for series in signature["series"] if (axis := times_from(signature, series)) is not None]
    measured = [axis for axis in known if axis.distance is not None]
    for id, axis in times.items():
        steps = f"{name}: the steps{f' of {id!r}' if id else ''}"
        if any(axis.is_dated for axis in known) and (axis is None or not axis.is_dated):
            raise DataError(
                f"{steps} have no dates, and those of the training data had",
                expected=f"dates in {known[0].column!r}, {frequency_in_words(known[0].frequency)}",
                got=f"times in {axis.described}" if axis else "a table without times",
                do="give the dates, or accept any steps with any_scale=True",
                shell="give the dates, or accept any steps with --any-scale",
            )
        distance = axis.distance if axis else None
        if axis and distance and measured and not any(same_distance(axis.distance or 0, distance) for axis in measured):
            raise DataError(
                f"{steps} are not as far apart as in training",
                expected=measured[0].described_distance,
                got=axis.described_distance,
                do="give data of the frequency of the training data, or accept any with any_scale=True",
                shell="give data of the frequency of the training data, or accept any with --any-scale",
            )
