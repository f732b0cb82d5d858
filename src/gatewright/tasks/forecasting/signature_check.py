"""The content of a forecaster's signature, and the check of the signature in a file."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NotRequired, TypedDict

import numpy as np

from gatewright.tasks.data.tables.time_axis import TimeAxis
from gatewright.tasks.forecasting.signature import times_from
from gatewright.tasks.signatures import VariableScale, not_alike
from gatewright.untrusted.kinds import Count, Finite, Misfit, Positive, misfit_of

if TYPE_CHECKING:
    from gatewright.tasks.run_data import Sizes


class PlainScaling(TypedDict):
    """The mean and the deviation of each variable."""

    mean: list[Finite]
    deviation: list[Positive]


class ForecastColumns(TypedDict):
    """The columns of a series by role."""

    time: str | None
    target: list[str]
    covariates: list[str]
    id: str | None


class SeriesTimes(TypedDict):
    """The description of a series' times, without the times."""

    column: str
    frequency: str | None
    form: str
    zone: str | None
    in_utc: NotRequired[bool]


RecentSeries = TypedDict(
    "RecentSeries",
    {
        "id": str,
        "scaling": PlainScaling,
        "recent": list[list[Finite]],  # (steps, variables)
        "recent times": list[str] | list[float] | None,
        "frequency": NotRequired[str | None],
        "recent offsets": NotRequired[list[int] | None],  # seconds before UTC
        "recent known": list[list[Finite]] | None,  # (steps and some of the horizon, known)
    },
)


ForecastSignature = TypedDict(
    "ForecastSignature",
    {
        "columns": ForecastColumns,
        "times": SeriesTimes | None,
        "calendar": list[Literal["sin year", "cos year", "sin week", "cos week", "sin day", "cos day"]],
        "season": Count,
        "known scaling": PlainScaling | None,
        "variables": dict[str, VariableScale],
        "series": list[RecentSeries],
    },
)


def forecast_misfit(signature: Any, sizes: "Sizes", history: int, horizon: int) -> Misfit | None:
    """The first misfit in a forecaster's signature: names, scalings, or the last steps of a series."""
    if wrong := misfit_of(ForecastSignature, signature):
        return wrong
    columns, calendar = signature["columns"], signature["calendar"]
    names = (*columns["target"], *columns["covariates"], *calendar)
    if not columns["target"] or names != sizes.variables:
        return f"variables: {', '.join(names)[:80]}", sizes.variables
    if not signature["series"]:
        return "series: at least one", []
    known = len(names) - len(columns["target"])
    if (signature["known scaling"] is None) != (known == 0):
        return f"known scaling: that of {known} variables", signature["known scaling"]
    wrong = _wrong_scaling("known scaling", signature["known scaling"] or {"mean": [], "deviation": []}, known)
    for place, series in enumerate(signature["series"]):
        if len(series["recent"]) > history:
            return f"series[{place}].recent: at most {history} steps", series["recent"]
        wrong = wrong or _series_misfit(f"series[{place}]", series, len(columns["target"]), known, horizon)
        wrong = wrong or _times_misfit(f"series[{place}]", series, signature["times"])
    return wrong


def _series_misfit(place: str, series: Mapping[str, Any], targets: int, known: int, horizon: int) -> Misfit | None:
    recent, times, beside = series["recent"], series["recent times"], series["recent known"]
    offsets = series.get("recent offsets")
    rows = len(recent) if beside is None else min(max(len(beside), len(recent)), len(recent) + horizon)
    return (
        _wrong_scaling(f"{place}.scaling", series["scaling"], targets)
        or _wrong_table(f"{place}.recent", recent, max(1, len(recent)), targets)
        or (None if times is None else not_alike(f"{place}.recent times", len(times), len(recent)))
        or (None if offsets is None else not_alike(f"{place}.recent offsets", len(offsets), len(recent)))
        or (None if beside is None else _wrong_table(f"{place}.recent known", beside, rows, known))
    )


def _times_misfit(place: str, series: Mapping[str, Any], declared: Mapping[str, Any] | None) -> Misfit | None:
    """The misfit of times that pandas cannot read or continue."""
    texts = series["recent times"]
    if (texts is None) != (declared is None):
        return f"{place}.recent times: as many as steps where there is a column of times", texts
    try:
        times: TimeAxis | None = times_from({"times": declared}, series)
        if times is not None:
            to_come = times.continued(1)
            to_come.spelled()
            to_come.for_pandas()
    except (ValueError, TypeError, LookupError, OverflowError) as error:
        return f"times: times that go on, such as dates with the frequency D: {error}", declared
    return None


def _wrong_scaling(place: str, scaling: Mapping[str, Sequence[float]], count: int) -> Misfit | None:
    lengths = {name: len(scaling[name]) for name in ("mean", "deviation")}
    wrong = next((name for name, length in lengths.items() if length != count), None)
    return None if wrong is None else (f"{place}.{wrong}: {count} numbers", scaling[wrong])


def _wrong_table(place: str, rows: Sequence[Sequence[float]], count: int, columns: int) -> Misfit | None:
    shape = (len(rows), *np.unique([len(row) for row in rows]).tolist())
    return None if shape == (count, columns) else (f"{place}: {count} rows of {columns} numbers", rows)
