"""Series to forecast: one or several out of a table, in order of time, with the covariates known beforehand."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import DataError
from gatewright.tasks.columns import SeriesColumns
from gatewright.tasks.data.forecasting.roles import series_roles
from gatewright.tasks.data.published.sources import files_of, required_file
from gatewright.tasks.data.tables import order
from gatewright.tasks.data.tables.files import is_frame
from gatewright.tasks.data.tables.numbers import filled_values, known_steps
from gatewright.tasks.data.tables.order import OrderedRows, open_dated
from gatewright.tasks.data.tables.roles import Roles
from gatewright.tasks.data.tables.table import Table
from gatewright.tasks.data.tables.time_axis import TimeAxis, same_distance
from gatewright.tasks.formatting import counted

Values = NDArray[np.float64]

_FILES = r".*\.(csv|tsv|txt|tab|jsonl|ndjson|parquet|pq|gz)"


@dataclass(frozen=True, eq=False)
class TimeSeries:
    """One series: values (steps, variables), float64, the names of the variables, and the times of the steps.

    `covariates` (steps + future, covariates) are known beforehand; they may go on after the last value.
    `times` is None where the table has no column of times; `id` is "" where it holds one series.
    """

    values: Values
    names: tuple[str, ...]
    times: TimeAxis | None
    covariates: Values
    covariate_names: tuple[str, ...] = ()
    id: str = ""

    def __len__(self) -> int:
        return len(self.values)

    def select(self, names: Sequence[str]) -> Self:
        """Those variables, in that order."""
        return replace(self, values=self.values[:, [self.names.index(name) for name in names]], names=tuple(names))


@dataclass(frozen=True, eq=False)
class SeriesCollection:
    """The series of a table, all with the same variables and covariates, and lines that say how it was read."""

    series: tuple[TimeSeries, ...]
    remarks: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The variables."""
        return self.series[0].names

    def single(self) -> TimeSeries:
        """The series, where there is one; several are a DataError."""
        if len(self.series) > 1:
            raise DataError(
                f"the table holds {len(self.series)} series",
                expected="one",
                got=", ".join(series.id for series in self.series)[:100],
            )
        return next(iter(self.series))

    @classmethod
    def of(cls, table: Table, columns: SeriesColumns) -> Self:
        """The series of a table; `series_roles` says which column is what."""
        roles = series_roles(table, columns)
        table = order.dated_rows(table, roles.time, columns.undated)
        taken = [(group.id, table.take(group.rows)) for group in table.groups(roles.id)]
        fill = columns.missing != "refuse"
        ordered = order.with_usual_frequency([_ordered(part, roles, id, fill=fill) for id, part in taken])
        _check_distances(table.name, dict(zip([id for id, _ in taken], ordered, strict=True)))
        several = tuple(
            _series(part, roles, columns.missing, id, steps) for (id, part), steps in zip(taken, ordered, strict=True)
        )
        remarks = [*table.remarks, _remark(roles, several), *table.fitted_remark((*roles.target, *roles.covariates))]
        if fill:
            remarks.append(_filled_remark(columns.missing, taken, ordered, several))
        return cls(several, tuple(remarks))


def load_series(source: object = "airline", columns: SeriesColumns | None = None) -> SeriesCollection:
    """The series of a data set, of a file of the user's own, or of a pandas DataFrame.

    `columns` names the columns and how the file is written. Those known by name: etth1 and etth2 (17,420 hours,
    7 variables; Zhou et al. 2021, https://arxiv.org/abs/2012.07436), airline (144 months; Box and Jenkins 1976),
    sunspots (2,820 months).
    """
    columns = columns or SeriesColumns()
    return SeriesCollection.of(find_series_table(source, columns), columns)


def find_series_table(source: object, columns: SeriesColumns) -> Table:
    """The table of a data set, of a file, or of a DataFrame."""
    if not is_frame(source):
        source = required_file(files_of(source, "series"), _FILES, "a series (*.csv)")
    return open_dated(source, columns)


def read_series(source: object, columns: SeriesColumns | None = None) -> TimeSeries:
    """The one series of a table."""
    columns = columns or SeriesColumns()
    return SeriesCollection.of(open_dated(source, columns), columns).single()


def _check_distances(name: str, ordered: Mapping[str, OrderedRows]) -> None:
    """Refuse a table with series of different frequencies, such as monthly and daily ones."""
    distances = {id: distance for id, steps in ordered.items() if (distance := steps.times.distance) is not None}
    if not distances:
        return
    least, most = (choose(distances, key=lambda id: distances[id]) for choose in (min, max))
    if not same_distance(distances[least], distances[most]):
        raise DataError(
            f"{name}: the series have steps of unequal length, and cannot be forecast by the same model",
            expected="the same frequency in all",
            got=f"{least!r}: {ordered[least].times.described_distance}; {most!r}: "
            f"{ordered[most].times.described_distance}",
            do="give the series of each frequency a file of their own",
        )


def _ordered(table: Table, roles: Roles, id: str, *, fill: bool) -> OrderedRows:
    if roles.time:
        return order.in_order_of_time(table, roles.time, fill=fill, id=id)
    return OrderedRows(np.arange(len(table)), TimeAxis(np.arange(len(table), dtype=np.float64)))


def _series(table: Table, roles: Roles, missing: str, id: str, ordered: OrderedRows) -> TimeSeries:
    covariates = _values(table, roles.covariates, ordered, missing)
    raw = _values(table, roles.target, ordered, "keep")
    # The steps after the last value are the future, with known covariates only.
    steps = known_steps(raw) if roles.covariates else len(raw)
    known = OrderedRows(ordered.rows[:steps], ordered.times.take(slice(0, steps)))
    values = _values(table, roles.target, known, missing)
    times = known.times if roles.time else None
    return TimeSeries(values, roles.target, times, covariates, roles.covariates, id)


def _values(table: Table, names: tuple[str, ...], ordered: OrderedRows, missing: str) -> Values:
    """The columns in order of time, (steps, columns); times that are left out are filled as missing values are."""
    filled_in = np.empty((len(ordered.rows), len(names)))
    for place, name in enumerate(names):
        values = np.append(table.numbers(name, "keep"), np.nan)[ordered.rows]  # -1 is the row after the last
        if missing in ("forward", "interpolate"):
            values = filled_values(values, missing)
        if missing != "keep" and np.isnan(values).any():
            inside = table.take(np.maximum(ordered.rows, 0))
            raise inside.missing_value(name, values, missing)
        filled_in[:, place] = values
    return filled_in


def _filled_remark(
    missing: str, tables: Sequence[tuple[str, Table]], ordered: Sequence[OrderedRows], several: Sequence[TimeSeries]
) -> str:
    """How much was filled in, as in "missing=interpolate: 3 times and 1 value filled in"."""
    times = values = 0
    for (_, table), steps, series in zip(tables, ordered, several, strict=True):
        times += int((steps.rows < 0).sum())
        for names, length in ((series.names, len(series)), (series.covariate_names, len(series.covariates))):
            rows = steps.rows[:length]
            values += sum(int(np.isnan(table.numbers(name, "keep")[rows[rows >= 0]]).sum()) for name in names)
    return f"missing={missing}: {counted(times, 'time')} and {counted(values, 'value')} filled in"


def _remark(roles: Roles, several: tuple[TimeSeries, ...]) -> str:
    """As in "time: Date (daily), forecast: sales"."""
    first = several[0]
    parts = [f"time: {first.times.described}" if first.times else "time: none, the rows are in order"]
    if roles.id:
        parts.append(f"id: {roles.id} ({len(several)} series)")
    parts.append(f"forecast: {', '.join(roles.target)}")
    if roles.covariates:
        ahead = min(len(series.covariates) - len(series) for series in several)
        more = f" ({ahead} steps ahead)" if ahead else ""
        parts.append(f"known beforehand: {', '.join(roles.covariates)}{more}")
    if roles.left_out:
        parts.append(f"left out: {', '.join(roles.left_out)}")
    return ", ".join(parts)
