"""What a model file says of the series that it was trained on, so that it can forecast without them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gatewright.errors import DataError
from gatewright.tasks.columns import SeriesColumns
from gatewright.tasks.data import Scaling, Series, SeriesCollection
from gatewright.tasks.data.time_axis import TimeAxis
from gatewright.tasks.data.units import variable_scales
from gatewright.tasks.forecast_data import Known, Track
from gatewright.tasks.settings import written_names

if TYPE_CHECKING:
    from gatewright.tasks.forecasts import Forecasting
    from gatewright.tasks.model import Model

_NEAR = 1.5  # distances of steps are the same up to this factor
_FEWEST = 3  # dates with a distance to be told


def signature_of(
    recipe: "Forecasting", read: SeriesCollection, tracks: Sequence[Track], season: int, known: Known
) -> dict[str, Any]:
    """Names, units, frequency, and the last steps of each series with what is known of the steps behind them."""
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
        "known scaling": _plain(known.scaling) if known.scaling else None,
        "variables": variable_scales(trained, read.names),
        "series": [
            {"id": track.id, "scaling": _plain(track.scaling), **_recent(one, recipe, known)}
            for one, track in zip(read.series, tracks, strict=True)
        ],
    }


def _plain(scaling: Scaling) -> dict[str, list[float]]:
    return {"mean": scaling.mean.tolist(), "deviation": scaling.deviation.tolist()}


def _recent(series: Series, recipe: "Forecasting", known: Known) -> dict[str, Any]:
    start = max(0, len(series) - recipe.history)
    try:
        beside = known.of_series(series, recipe.horizon)[start:].tolist() if known.names else None
    except DataError:  # the table ends with the last value: who forecasts has to give the future
        beside = None
    times = series.times.values[start:] if series.times else None
    return {
        "recent": series.values[start:].tolist(),
        "recent times": None if times is None else times.astype(str if times.dtype.kind == "M" else object).tolist(),
        "recent known": beside,
    }


def scaling_from(plain: Mapping[str, Any]) -> Scaling:
    """The scaling that a signature holds."""
    return Scaling(np.array(plain["mean"], np.float64), np.array(plain["deviation"], np.float64))


def known_from(signature: Mapping[str, Any]) -> Known:
    """What the inputs are whose future is known."""
    plain = signature["known scaling"]
    columns = tuple(signature["columns"]["covariates"])
    return Known(columns, tuple(signature["calendar"]), scaling_from(plain) if plain else None)


def times_from(signature: Mapping[str, Any], texts: Sequence[Any] | None) -> TimeAxis | None:
    """The times of steps, as a signature holds them."""
    said = signature["times"]
    if texts is None or said is None:
        return None
    values: Any = np.array(texts)
    if said["frequency"] or (values.dtype.kind == "U" and said["form"] and _are_dates(texts)):
        values = values.astype("datetime64[us]")
    return TimeAxis(values, said["frequency"], said["column"], said["form"], said["zone"])


def _are_dates(texts: Sequence[Any]) -> bool:
    try:
        np.array(texts).astype("datetime64[us]")
    except ValueError:
        return False
    return True


def named_columns(recipe: "Forecasting", signature: Mapping[str, Any]) -> SeriesColumns:
    """The recipe with the columns by name that its model was trained on, whether or not they were named then."""
    columns = signature.get("columns", {})
    lists = {name: columns.get(name) or [] for name in ("target", "covariates")}
    return replace(recipe, **{name: written_names(names) for name, names in lists.items()})


def kept_of(model: "Model", read: SeriesCollection) -> tuple[int, Known, list[Scaling]]:
    """Season, known inputs and the scaling of each series, as the model has them.

    A series that the model does not know is scaled by its own values. Raises DataError where other variables were read.
    """
    signature = model.signature
    check_variables(signature, read)
    scalings = {one["id"]: scaling_from(one["scaling"]) for one in signature["series"]}
    if len(scalings) == 1 and len(read.series) == 1:
        return signature["season"], known_from(signature), list(scalings.values())
    return (
        signature["season"],
        known_from(signature),
        [scalings.get(one.id) or Scaling.of(one.values) for one in read.series],
    )


def check_variables(signature: Mapping[str, Any], read: SeriesCollection) -> None:
    """Refuse variables of other names, or in another order."""
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


def check_distance(signature: Mapping[str, Any], read: SeriesCollection, name: str) -> None:
    """Refuse dates that follow one another at another distance than in training, such as hours in place of days.

    Distances are medians, so that holidays and months of unequal lengths make no difference.
    """
    known = [times_from(signature, one["recent times"]) for one in signature["series"]]
    trained = [distance for times in known if (distance := _distance(times)) is not None]
    if not trained:
        return
    for one in read.series:
        given = _distance(one.times)
        if given is not None and not any(near / _NEAR < given < near * _NEAR for near in trained):
            raise DataError(
                f"{name}: the steps{f' of {one.id!r}' if one.id else ''} are not as far apart as in training",
                expected=f"a step every {trained[0]:g} hours",
                got=f"a step every {given:g} hours",
                do="give data of the frequency of the training data, or accept any with any_scale=True",
                shell="give data of the frequency of the training data, or accept any with --any-scale",
            )


def _distance(times: TimeAxis | None) -> float | None:
    """The median distance of dates in hours; None where there are too few dates."""
    if times is None or not times.is_dated or len(times) < _FEWEST:
        return None
    return float(np.median(np.diff(times.values) / np.timedelta64(1, "h")))
