"""Dates as programs and people write them: read, put in order, and continued in the same notation."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gatewright.errors import DataError
from gatewright.tasks.columns import SeriesColumns
from gatewright.tasks.data.forecasting.series import SeriesCollection, load_series
from gatewright.tasks.data.tables.time_axis import frequency_in_words


def read(folder: Path, written: list[str], column: str = "date", **settings: str) -> SeriesCollection:
    path = folder / "any.csv"
    pd.DataFrame({column: written, "x": np.arange(len(written)) + 0.5}).to_csv(path, index=False)
    return load_series(path, SeriesColumns(**settings))  # pyright: ignore[reportArgumentType]


def refusal(folder: Path, written: list[str], column: str = "date", **settings: str) -> str:
    with pytest.raises(DataError) as caught:
        read(folder, written, column, **settings)
    return caught.value.in_shell().replace(f"{folder}/", "")


def strftime(form: str, start: str, frequency: str, steps: int = 14) -> list[str]:
    return pd.date_range(start, periods=steps, freq=frequency).strftime(form).tolist()


MIDNIGHTS = [text.removesuffix(" 00:00:00") for text in strftime("%Y-%m-%d %H:%M:%S", "2020-01-01", "h", 28)]


@pytest.mark.parametrize(
    ("written", "frequency"),
    [
        (strftime("%-m/%-d/%Y", "2020-01-05", "D"), "daily"),
        (strftime("%-m/%-d/%y", "2020-01-05", "D"), "daily"),
        (strftime("%-d.%-m.%Y", "2020-01-25", "D"), "daily"),
        (strftime("%-m/%-d/%Y %-H:%M", "2020-01-30", "h"), "hourly"),
        (strftime("%Y/%-m/%-d", "2020-01-05", "D"), "daily"),
        (strftime("%Y.%m.%d", "2020-01-05", "D"), "daily"),
        (strftime("%Y-%m-%dT%H:%M", "2020-01-05", "h"), "hourly"),
        (strftime("%Y-%m-%dT%H:%M:%S.000Z", "2020-01-05", "h"), "hourly"),
        ([f"2020-01-01 00:00:0{place // 10}.{place % 10}00" for place in range(14)], "every 100 ms"),
        (MIDNIGHTS, "hourly"),
        (strftime("%YM%m", "2020-01-01", "MS"), "monthly"),
        ([f"{2018 + place // 4}-Q{1 + place % 4}" for place in range(14)], "quarterly"),
        ([f"Q{1 + place % 4} FY{2018 + place // 4}" for place in range(14)], "quarterly"),
        ([f"FY{18 + place // 4}Q{1 + place % 4}" for place in range(14)], "quarterly"),
        ([f"{1 + place % 4}Q{18 + place // 4}" for place in range(14)], "quarterly"),
        ([f"{2018 + place // 2}-H{1 + place % 2}" for place in range(14)], "every 2 quarters"),
        ([f"FY{2000 + place}" for place in range(14)], "yearly"),
        ([f"{2000 + place}/{1 + place:02}" for place in range(14)], "yearly"),
        (strftime("%Y-%m-%d", "2020-01-05", "W-SUN"), "weekly"),
        (strftime("%d/%m/%Y", "2020-01-31", "ME"), "monthly"),
        ([f"{text[:8]}15" for text in strftime("%Y-%m-%d", "2020-01-01", "MS")], "monthly"),
        (strftime("%Y-%m-%d", "2004-02-29", "YE-FEB"), "yearly"),
        ([f"{year}-01-01" for year in range(1500, 1514)], "yearly"),
        (strftime("%Y-%m-%d", "2000-01-01", "D"), "daily"),
        ([f"{year}-07-01" for year in range(2255, 2269)], "yearly"),
    ],
)
def test_dates_go_on_in_their_notation_also_where_the_newest_stands_first(
    tmp_path: Path, written: list[str], frequency: str
) -> None:
    *before, second, last = written
    for rows in (before, before[::-1]):
        axis = read(tmp_path, rows).series[0].times
        assert axis is not None
        assert frequency_in_words(axis.frequency) == frequency
        assert axis.continued(2).spelled() == [second, last]
        assert axis.spelled() == before or written is MIDNIGHTS


def test_ranges_are_times_by_their_first_days(tmp_path: Path) -> None:
    weeks = pd.period_range("2020-01-06", periods=9, freq="W")
    for sign in ("/", " - "):
        axis = read(tmp_path, [f"{week.start_time:%Y-%m-%d}{sign}{week.end_time:%Y-%m-%d}" for week in weeks[::-1]])
        assert axis.remarks == ("time: date (weekly), forecast: x",)
        assert axis.series[0].values[-1, 0] == 0.5


@pytest.mark.parametrize(
    "written",
    [
        ["März 2021", "Februar 2021", "Januar 2021", "Dezember 2020"],
        [f"{day}. Dezember 2020" for day in range(20, 10, -1)],
        [f"2020-01-0{day} 00:00:00 CET" for day in range(9, 1, -1)],
    ],
)
def test_labels_that_are_dates_with_the_newest_first_are_refused(tmp_path: Path, written: list[str]) -> None:
    assert refusal(tmp_path, written) == (
        "any.csv, 'date': these seem to be dates, the newest first, in a notation that is not read\n"
        "  expected: dates such as 2020-01-31, 31.01.2020, Jan 2020 or 2020Q1\n"
        f"  got: {written[0]!r} to {written[-1]!r}\n"
        "  do: write the dates in such a notation, or put the oldest row first"
    )
    assert read(tmp_path, written[::-1]).remarks == ("time: date (labels, in the order of the file), forecast: x",)


@pytest.mark.parametrize(
    ("times", "kind"),
    [
        (strftime("%Y-%m-%d", "2020-01-01", "D", 24)[::-1], "date"),
        (["2020-03", "2020-02", "2020-01"], "date"),
        (["20200103", "20200102", "20200101"], "date"),
        (["2022", "2021", "2020"], "date"),
        (["2022Q3", "2022Q2", "2022Q1"], "date"),
        (["2020-W03", "2020-W02", "2020-W01"], "date"),
        (["Mar 2020", "Feb 2020", "Jan 2020"], "date"),
        (["03.01.2020", "02.01.2020", "01.01.2020"], "date"),
        (["3", "2", "1"], "number"),
    ],
)
def test_a_last_row_without_a_time_is_named_and_can_be_dropped(tmp_path: Path, times: list[str], kind: str) -> None:
    for text in ("Total", "Gesamt", "合计", ""):
        assert refusal(tmp_path, [*times, text]) == (
            f"any.csv, line {len(times) + 2}, 'date': this is no {kind}\n  expected: a {kind} as in the other rows\n"
            f"  got: {text!r}, in the last row\n"
            f"  do: add --set undated=drop to leave out the rows that have no {kind}; or mend the {kind}"
        )
    kept = read(tmp_path, [*times, "Total"], undated="drop")
    assert kept.remarks[0] == "undated=drop: 1 row without a time left out: 'Total'"
    assert kept.series[0].values[:, 0].tolist() == [place + 0.5 for place in reversed(range(len(times)))]


def test_a_few_wrong_dates_are_counted(tmp_path: Path) -> None:
    days = strftime("%Y-%m-%d", "2020-01-01", "D", 20)[::-1]
    written = [*days[:5], "n/a", *days[5:], "x", "Summe"]
    assert "line 7, 'date': this is no date\n" in refusal(tmp_path, written)
    assert "got: 'n/a', and 2 more rows without a date\n" in refusal(tmp_path, written)
    assert "3 rows without a time left out: 'n/a, x, Summe'" in read(tmp_path, written, undated="drop").remarks[0]


def test_seconds_since_1970_never_become_a_variable(tmp_path: Path) -> None:
    for unit in (1, 1000, 10**6, 10**9):
        written = [str((1_577_836_800 + 3600 * place) * unit) for place in range(9)]
        assert refusal(tmp_path, written, "when") == (
            "any.csv, 'when': these may be times, as seconds since 1970\n"
            "  do: say what they are: add --set time=when, or --set target=COLUMN"
        )
        assert read(tmp_path, written, "when", time="when").remarks == ("time: when (hourly, UTC), forecast: x",)


def test_series_of_different_frequencies_are_refused_and_short_ones_have_the_usual(tmp_path: Path) -> None:
    def long(other: list[str]) -> Path:
        days = strftime("%Y-%m-%d", "2020-01-01", "D")
        rows = [f"a,{day},1\n" for day in days] + [f"b,{day},2\n" for day in other]
        (tmp_path / "long.csv").write_text("id,date,x\n" + "".join(rows))
        return tmp_path / "long.csv"

    with pytest.raises(DataError) as caught:
        load_series(long(strftime("%Y-%m-%d", "2020-01-01", "MS")), SeriesColumns(id="id"))
    assert str(caught.value).replace(f"{tmp_path}/", "") == (
        "long.csv: the series have steps of unequal length, and cannot be forecast by the same model\n"
        "  expected: the same frequency in all\n"
        "  got: 'a': a step every 24 hours (daily); 'b': a step every 744 hours (monthly)\n"
        "  do: give the series of each frequency a file of their own"
    )
    short = load_series(long(["2020-06-01", "2020-06-02"]), SeriesColumns(id="id")).series[1].times
    assert short is not None
    assert short.continued(1).spelled() == ["2020-06-03"]
    with pytest.raises(DataError, match="long.csv, line 17: the time 2020-06-01 of 'b' comes twice, also in line 16\n"):
        load_series(long(["2020-06-01", "2020-06-01"]), SeriesColumns(id="id"))
