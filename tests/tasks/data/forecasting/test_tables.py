"""Series out of tables: times in every notation, their order, frequency and gaps, and which column is what."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gatewright.errors import DataError
from gatewright.tasks.columns import SeriesColumns
from gatewright.tasks.data.forecasting.series import SeriesCollection, load_series

STEPS = 24


def dates(start: str = "2020-01-01", frequency: str = "D", steps: int = STEPS) -> pd.DatetimeIndex:
    return pd.date_range(start, periods=steps, freq=frequency)


def table(path: Path, times: object, **more: object) -> Path:
    """Values 0.5, 1.5, 2.5 ... at those times, and further columns."""
    kept = list(times)  # pyright: ignore[reportArgumentType, reportUnknownVariableType]
    pd.DataFrame({"date": kept, "x": np.arange(len(kept)) + 0.5, **more}).to_csv(path / "any.csv", index=False)
    return path / "any.csv"


def refusal(path: Path, **settings: str) -> str:
    """What a command says in place of reading the table."""
    with pytest.raises(DataError) as caught:
        load_series(path, SeriesColumns(**settings))  # pyright: ignore[reportArgumentType]
    return caught.value.in_shell().replace(f"{path.parent}/", "")


def told(read: SeriesCollection) -> str:
    return "; ".join(read.remarks)


@pytest.mark.parametrize(
    ("form", "frequency", "described", "after"),
    [
        ("%Y-%m-%d", "D", "daily", "2020-01-25"),
        ("%d.%m.%Y", "D", "daily", "25.01.2020"),
        ("%d.%m.%y", "MS", "monthly", "01.01.22"),
        ("%d/%m/%Y", "D", "daily", "25/01/2020"),
        ("%m/%d/%Y", "D", "daily", "01/25/2020"),
        ("%Y/%m/%d", "D", "daily", "2020/01/25"),
        ("%Y%m%d", "D", "daily", "20200125"),
        ("%Y-%m", "MS", "monthly", "2022-01"),
        ("%m/%Y", "MS", "monthly", "01/2022"),
        ("%b %Y", "MS", "monthly", "Jan 2022"),
        ("%b-%y", "MS", "monthly", "Jan-22"),
        ("%B %d, %Y", "D", "daily", "January 25, 2020"),
        ("%Y-%m-%dT%H:%M:%SZ", "h", "hourly, UTC", "2020-01-02T00:00:00Z"),
        ("%m/%d/%Y %I:%M %p", "h", "hourly", "01/02/2020 12:00 AM"),
        ("%Y-%m-%d %H:%M", "15min", "every 15 minutes", "2020-01-01 06:00"),
        ("%Y-%m-%d", "ME", "monthly", "2022-01-31"),
        ("%Y-%m-%d", "BME", "monthly", "2022-01-31"),
        ("%Y-%m-%d", "QS", "quarterly", "2026-01-01"),
        ("%Y-%m-%d", "W", "weekly", "2020-06-21"),
        ("%Y-%m-%d", "B", "on business days", "2020-02-04"),
        ("%Y", "YS", "yearly", "2044"),
    ],
)
def test_dates_are_read_and_go_on_as_the_file_writes_them(
    tmp_path: Path, form: str, frequency: str, described: str, after: str
) -> None:
    path, times = tmp_path / "any.csv", dates(frequency=frequency)
    pd.DataFrame({"date": times.strftime(form), "x": np.arange(STEPS) + 0.5}).to_csv(path, index=False)
    read = load_series(path)
    series = read.single()
    assert read.remarks == (f"time: date ({described}), forecast: x",)
    assert series.times is not None
    assert series.times.continued(1).spelled() == [after]
    assert np.array_equal(series.times.values.astype("datetime64[s]"), times.to_numpy().astype("datetime64[s]"))


def test_quarters_seconds_and_parts_of_dates_are_times(tmp_path: Path) -> None:
    quarters = load_series(table(tmp_path, [f"{2000 + place // 4}Q{place % 4 + 1}" for place in range(STEPS)]))
    assert told(quarters) == "time: date (quarterly), forecast: x"
    seconds = tmp_path / "seconds.csv"
    seconds.write_text("timestamp,x\n" + "".join(f"{1_600_000_000 + 60 * place},{place}.5\n" for place in range(9)))
    assert told(load_series(seconds)) == "time: timestamp (every minute, UTC), forecast: x"
    parts = tmp_path / "parts.csv"
    days = dates(steps=60)
    pd.DataFrame({"year": days.year, "month": days.month, "day": days.day, "x": np.arange(60)}).to_csv(
        parts, index=False
    )
    assert told(load_series(parts)) == "time: year,month,day (daily), forecast: x"


@pytest.mark.parametrize(
    ("form", "last", "after"), [("%G-W%V", "2021-W01", "2021-W02"), ("%GW%V", "2021W01", "2021W02")]
)
def test_weeks_of_iso_8601_are_times_and_are_put_in_order(tmp_path: Path, form: str, last: str, after: str) -> None:
    mondays = pd.date_range("2020-01-06", "2021-01-04", freq="W-MON")
    read = load_series(table(tmp_path, mondays[::-1].strftime(form)))
    assert told(read) == "time: date (weekly), forecast: x"
    times = read.single().times
    assert times is not None
    assert np.array_equal(times.values.astype("datetime64[s]"), mondays.to_numpy().astype("datetime64[s]"))
    assert times.spelled()[-1] == last
    assert times.continued(1).spelled() == [after]
    assert read.single().values[-1, 0] == 0.5


def test_rows_are_put_in_order_of_time(tmp_path: Path) -> None:
    series = load_series(table(tmp_path, dates()[::-1])).single()
    assert series.values[:, 0].tolist() == [place + 0.5 for place in reversed(range(STEPS))]
    assert series.times is not None
    assert series.times.spelled()[0] == "2020-01-01"


def test_days_and_months_that_cannot_be_told_apart_are_asked_for(tmp_path: Path) -> None:
    path = table(tmp_path, dates(frequency="MS", steps=12).strftime("%m/%d/%Y"))
    assert refusal(path) == (
        "any.csv, 'date': 01/01/2020 does not show which is the day and which the month\n"
        "  do: add --set dayfirst=yes, or --set dayfirst=no"
    )
    assert told(load_series(path, SeriesColumns(dayfirst="no"))) == "time: date (monthly), forecast: x"
    assert told(load_series(path, SeriesColumns(dayfirst="yes"))) == "time: date (daily), forecast: x"


def test_times_that_are_left_out_are_named_and_filled_in_where_that_is_asked(tmp_path: Path) -> None:
    path = table(tmp_path, dates().delete([3, 4, 9]))
    assert refusal(path) == (
        "any.csv, 'date': 3 times are left out: 2020-01-04 is the first, after line 4\n"
        "  expected: a row for each time of date (daily)\n"
        "  do: add --set missing=interpolate, or forward, to fill them in; or add the rows"
    )
    filled = load_series(path, SeriesColumns(missing="interpolate"))
    assert filled.remarks[1] == "missing=interpolate: 3 times and 0 values filled in"
    np.testing.assert_allclose(filled.single().values[2:6, 0], [2.5, 2.5 + 1 / 3, 2.5 + 2 / 3, 3.5])
    forward = load_series(path, SeriesColumns(missing="forward")).single()
    assert forward.values[2:6, 0].tolist() == [2.5, 2.5, 2.5, 3.5]
    month = table(tmp_path, dates("2020-01-31", "ME").delete(7))
    assert "2020-08-31 is the first, after line 8" in refusal(month)
    week = table(tmp_path, dates("2020-01-05", "W").delete(7))
    assert "2020-02-23 is the first, after line 8\n  expected: a row for each time of date (weekly)" in refusal(week)


def test_business_days_are_a_frequency_and_holidays_no_gaps(tmp_path: Path) -> None:
    days = dates(frequency="B", steps=60)
    read = load_series(table(tmp_path, days.delete([20, 41])))
    assert told(read) == "time: date (on business days; 2 without a row are taken as holidays), forecast: x"
    assert len(read.single()) == 58
    assert "14 times are left out" in refusal(table(tmp_path, days.delete(range(20, 34))))


def test_a_time_that_comes_twice_is_named(tmp_path: Path) -> None:
    assert refusal(table(tmp_path, [*dates(), pd.Timestamp("2020-01-03")], few=[1, 2, 3, 4, 5] * 5)) == (
        "any.csv, line 26: the time 2020-01-03 comes twice, also in line 4\n"
        "  expected: one row for each time\n  got: 1 row with a time that came before\n"
        "  do: leave out the row; or, where the table holds several series, add --set id=COLUMN"
    )


def test_a_wrong_date_among_dates_is_named(tmp_path: Path) -> None:
    assert refusal(table(tmp_path, [*dates().strftime("%Y-%m-%d"), "2020-02-30"])) == (
        "any.csv, line 26, 'date': this is no date\n  expected: a date as in the other rows\n"
        "  got: '2020-02-30', in the last row\n"
        "  do: add --set undated=drop to leave out the rows that have no date; or mend the date"
    )


def test_labels_keep_the_order_of_the_file(tmp_path: Path) -> None:
    read = load_series(table(tmp_path, [f"2020-01-{place}" for place in range(40, 64)]))
    assert told(read) == "time: date (labels, in the order of the file), forecast: x"
    times = read.single().times
    assert times is not None
    assert (times.spelled()[0], times.frequency, times.continued(2).spelled()) == ("2020-01-40", None, ["+1", "+2"])


def test_irregular_times_have_no_frequency(tmp_path: Path, rng: np.random.Generator) -> None:
    times = pd.Timestamp("2020-01-01") + pd.to_timedelta(np.cumsum(rng.integers(1, 9999, STEPS)), unit="s")
    read = load_series(table(tmp_path, times))
    assert told(read) == "time: date (at irregular times), forecast: x"


def test_years_ids_and_counts_of_rows_are_no_variables(tmp_path: Path) -> None:
    read = load_series(table(tmp_path, dates(), id=range(STEPS), year=[2020] * STEPS, month=[1] * STEPS))
    assert told(read) == "time: date (daily), forecast: x, left out: id, year, month"
    years = tmp_path / "years.csv"
    pd.DataFrame({"a": range(1900, 1924), "x": np.arange(24) + 0.5}).to_csv(years, index=False)
    assert refusal(years) == "years.csv, 'a': these may be years\n  do: add --set time=a, or --set target=x"
    assert told(load_series(years, SeriesColumns(time="a"))) == "time: a (yearly), forecast: x"
    decimal = table(tmp_path, dates(), **{"decimal date": np.linspace(2020, 2020.1, STEPS), "travel time": [1, 3] * 12})
    assert told(load_series(decimal)) == "time: date (daily), forecast: x, travel time, left out: decimal date"
    index = table(tmp_path, dates(), index=[3, 1] * 12, time=[5, 1] * 12)
    assert told(load_series(index)) == "time: date (daily), forecast: x, index, time"
    index = table(tmp_path, dates(), index=[2000 + place % 2 for place in range(STEPS)])
    assert told(load_series(index)) == "time: date (daily), forecast: x, index"
    months = tmp_path / "months.csv"
    pd.DataFrame({"year": [2020] * STEPS, "month": dates(frequency="MS").strftime("%Y-%m"), "x": range(STEPS)}).to_csv(
        months, index=False
    )
    assert told(load_series(months)) == "time: month (monthly), forecast: x, left out: year"
    years.write_text("".join(f"{place},{place}.5\n" for place in range(9)))
    assert told(load_series(years)).endswith("forecast: column 2, left out: column 1")


def test_what_is_ambiguous_is_asked_for_with_the_command(tmp_path: Path) -> None:
    two = table(tmp_path, dates(), due=dates("2021-01-01"))
    assert refusal(two) == (
        "any.csv: several columns hold dates\n  got: date, due\n"
        "  do: name the one of the steps' times: add --set time=date or --set time=due; then --set ignore=... leaves "
        "others out"
    )
    assert told(load_series(two, SeriesColumns(time="date", ignore="due"))) == "time: date (daily), forecast: x"
    texts = table(tmp_path, dates(), weather=["sun", "rain"] * 12)
    assert refusal(texts) == (
        "any.csv: these columns are neither times nor numbers: weather\n  got: date, x, weather\n"
        "  do: name what to forecast: add --set target=x"
    )
    assert told(load_series(texts, SeriesColumns(target="x"))) == "time: date (daily), forecast: x"
    hours = table(tmp_path, np.repeat(dates(steps=2).strftime("%Y-%m-%d"), 12), hour=[*range(12), *range(12)])
    assert refusal(hours).endswith("\n  do: name both columns: add --set time=date,hour")
    assert "2020-01-01 12:00 is the first, after line 13" in refusal(hours, time="date,hour")


def long_table(path: Path, days: int = 10) -> Path:
    """Three stores, by turns; sales of the last two days are to come."""
    rows = [
        f"{day:%Y-%m-%d},{store},{'' if place >= days - 2 else 100 * (store == 'B') + place},{place % 2}\n"
        for place, day in enumerate(dates(steps=days))
        for store in "BAC"
    ]
    (path / "long.csv").write_text("date,store,sales,promo\n" + "".join(rows))
    return path / "long.csv"


def test_many_series_in_one_table_are_told_apart_by_id(tmp_path: Path) -> None:
    path = long_table(tmp_path)
    assert refusal(path) == (
        "long.csv: times come more than once, so that the table may hold several series\n"
        "  got: '2020-01-01' in several rows of 'date'\n"
        "  do: name the column that tells them apart: add --set id=store time=date target=sales,promo"
    )
    read = load_series(path, SeriesColumns(id="store", time="date", target="sales", covariates="promo"))
    assert (
        told(read)
        == "time: date (daily), id: store (3 series), forecast: sales, known beforehand: promo (2 steps ahead)"
    )
    assert [series.id for series in read.series] == ["B", "A", "C"]
    first = read.series[0]
    assert first.values[:, 0].tolist() == [100, 101, 102, 103, 104, 105, 106, 107]
    assert first.covariates[:, 0].tolist() == [0, 1] * 5
    assert first.times is not None
    assert len(first.times) == 8
    with pytest.raises(DataError, match="the table holds 3 series\n  expected: one\n  got: B, A, C"):
        read.single()


def test_a_missing_value_inside_a_series_is_no_end_of_it(tmp_path: Path) -> None:
    path = long_table(tmp_path)
    path.write_text(path.read_text().replace("2020-01-03,A,2,0", "2020-01-03,A,?,0"))
    columns = {"id": "store", "target": "sales", "covariates": "promo"}
    assert refusal(path, **columns).startswith("long.csv, line 9, 'sales': a value is missing\n")
    read = load_series(path, SeriesColumns(**columns, missing="interpolate"))  # pyright: ignore[reportArgumentType]
    assert read.remarks[1] == "missing=interpolate: 0 times and 1 value filled in"
    assert read.series[1].values[:, 0].tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
