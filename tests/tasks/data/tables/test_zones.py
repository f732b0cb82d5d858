"""Times with an offset or a zone: on which clock they have a frequency, and how they go on over a change of clocks."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gatewright.errors import DataError, OptionError
from gatewright.tasks.columns import SeriesColumns
from gatewright.tasks.data.forecasting.series import SeriesCollection, load_series

BERLIN = "Europe/Berlin"


def times(start: str, frequency: str, steps: int, zone: str = BERLIN) -> pd.DatetimeIndex:
    return pd.date_range(start, periods=steps, freq=frequency, tz=zone)


def isoformat(index: pd.DatetimeIndex) -> list[str]:
    return [time.isoformat() for time in index]


def without_zone(index: pd.DatetimeIndex) -> list[str]:
    return [str(time.tz_localize(None)) for time in index]


def read(folder: Path, written: list[str], **settings: str) -> SeriesCollection:
    """The series of a file with those times and the values 0.5, 1.5, 2.5 ..."""
    path = folder / "any.csv"
    pd.DataFrame({"date": written, "x": np.arange(len(written)) + 0.5}).to_csv(path, index=False)
    return load_series(path, SeriesColumns(**settings))  # pyright: ignore[reportArgumentType]


def refusal(folder: Path, written: list[str], **settings: str) -> str:
    with pytest.raises((DataError, OptionError)) as caught:
        read(folder, written, **settings)
    return caught.value.in_shell().replace(f"{folder}/", "")


def described(collection: SeriesCollection) -> str:
    axis = collection.series[0].times
    assert axis is not None
    return axis.described


def continued(collection: SeriesCollection, steps: int = 3) -> list[str]:
    axis = collection.series[0].times
    assert axis is not None
    return axis.continued(steps).spelled()


def test_days_of_a_clock_are_daily_over_its_change(tmp_path: Path) -> None:
    collection = read(tmp_path, isoformat(times("2023-03-01", "D", 30)))
    assert described(collection) == (
        "date (daily, on the clock of the file, offsets +01:00 and +02:00, of which +02:00 goes on)"
    )
    assert continued(collection, 2) == ["2023-03-31T00:00:00+02:00", "2023-04-01T00:00:00+02:00"]
    assert collection.series[0].times is not None
    assert collection.series[0].times.values[0] == np.datetime64("2023-03-01T00:00"), "not the day before, in UTC"
    months = read(tmp_path, isoformat(times("2022-01-01", "MS", 24)))
    assert continued(months, 1) == ["2024-01-01T00:00:00+01:00"]
    half_days = pd.date_range("2023-03-20", "2023-04-05", freq="12h").tz_localize(BERLIN)
    assert described(read(tmp_path, isoformat(half_days))).startswith("date (every 12 hours, on the clock of the file")


def test_a_zone_that_is_named_says_the_offsets_to_come(tmp_path: Path) -> None:
    collection = read(tmp_path, isoformat(times("2023-03-01", "D", 25)), zone=BERLIN)
    assert described(collection) == "date (daily, Europe/Berlin)"
    assert continued(collection) == [
        "2023-03-26T00:00:00+01:00", "2023-03-27T00:00:00+02:00", "2023-03-28T00:00:00+02:00"
    ]  # fmt: skip
    hours = read(tmp_path, isoformat(times("2023-03-25", "h", 25)), zone=BERLIN)
    assert continued(hours) == ["2023-03-26T01:00:00+01:00", "2023-03-26T03:00:00+02:00", "2023-03-26T04:00:00+02:00"]


def test_days_of_a_zone_that_are_written_in_utc_need_its_name(tmp_path: Path) -> None:
    written = isoformat(times("2023-03-20", "D", 30).tz_convert("UTC"))
    assert described(read(tmp_path, written)) == (
        "date (at irregular times, UTC, mostly 24 hours apart, but 23 hours after 2023-03-25T23:00:00+00:00; "
        "if these are days of a time zone, name it, as in --set zone=Europe/Berlin)"
    )
    collection = read(tmp_path, written, zone=BERLIN)
    assert described(collection) == "date (daily, Europe/Berlin)"
    assert continued(collection, 1) == ["2023-04-19T00:00:00+02:00"]


def test_hours_are_equally_long_in_utc_and_are_written_with_the_last_offset(tmp_path: Path) -> None:
    collection = read(tmp_path, isoformat(times("2023-03-25", "h", 46)))
    assert described(collection) == "date (hourly, in UTC, offsets +01:00 and +02:00, of which +02:00 goes on)"
    assert continued(collection, 2) == ["2023-03-26T23:00:00+02:00", "2023-03-27T00:00:00+02:00"]
    before = read(tmp_path, isoformat(times("2023-03-25", "h", 25)))
    assert described(before) == "date (hourly, UTC+01:00)"
    assert continued(before) == ["2023-03-26T01:00:00+01:00", "2023-03-26T02:00:00+01:00", "2023-03-26T03:00:00+01:00"]
    noon = pd.date_range("2023-03-10 12:00", periods=30, freq="D", tz="UTC").tz_convert(BERLIN)
    assert continued(read(tmp_path, isoformat(noon)), 1) == ["2023-04-09T14:00:00+02:00"]


def test_times_with_offsets_are_put_in_order_and_filled_in_utc(tmp_path: Path) -> None:
    autumn = times("2023-10-28", "h", 50)
    collection = read(tmp_path, isoformat(autumn[::-1]))
    assert collection.series[0].values[:, 0].tolist() == (np.arange(50) + 0.5)[::-1].tolist()
    left_out = isoformat(autumn.delete([25, 26]))
    assert "2 times are left out: 2023-10-29T01:00:00+02:00 is the first, after line 26" in refusal(tmp_path, left_out)
    for settings in ({}, {"zone": BERLIN}):
        filled = read(tmp_path, left_out, missing="interpolate", **settings).series[0].times
        assert filled is not None
        assert np.array_equal(filled.instants, autumn.tz_convert(None).to_numpy())


@pytest.mark.parametrize(
    "written",
    [
        ("2023-01-01 00:00:00Z", "2023-01-01 01:00:00Z", "2023-01-01 02:00:00Z", "2023-01-01 03:00:00Z"),
        ("2023-01-01 00:00 UTC", "2023-01-01 01:00 UTC", "2023-01-01 02:00 UTC", "2023-01-01 03:00 UTC"),
        ("2023-01-01T00:00-0500", "2023-01-01T01:00-0500", "2023-01-01T02:00-0500", "2023-01-01T03:00-0500"),
        ("2023-01-01 00:00 +05:30", "2023-01-01 01:00 +05:30", "2023-01-01 02:00 +05:30", "2023-01-01 03:00 +05:30"),
    ],
)
def test_offsets_are_written_as_the_file_does(tmp_path: Path, written: tuple[str, ...]) -> None:
    assert continued(read(tmp_path, list(written[:3])), 1) == [written[3]]


def test_seconds_since_1970_go_on_as_such(tmp_path: Path) -> None:
    path = tmp_path / "seconds.csv"
    for unit in (1, 1000):
        rows = "".join(f"{(1_600_000_000 + 60 * place) * unit},{place}.5\n" for place in range(9))
        path.write_text(f"timestamp,x\n{rows}")
        assert continued(load_series(path), 1) == [str((1_600_000_000 + 540) * unit)]


def test_an_hour_that_a_clock_shows_twice_is_told_of(tmp_path: Path) -> None:
    autumn = without_zone(times("2023-10-28", "h", 50))
    assert refusal(tmp_path, autumn) == (
        "any.csv, line 29: the time 2023-10-29 02:00:00 comes twice, also in line 28\n"
        "  expected: one row for each time\n"
        "  got: 1 row with a time that came before; in that night clocks are put back, and show an hour twice\n"
        "  do: name the zone of the times: add --set zone=Europe/Berlin, or the zone that it is"
    )
    for written in (autumn, autumn[::-1]):
        collection = read(tmp_path, written, zone=BERLIN)
        assert described(collection) == "date (hourly, Europe/Berlin)"
        assert continued(collection, 1) == ["2023-10-30 01:00:00"]
    november = without_zone(times("2023-11-04", "h", 50, "America/New_York"))
    assert "add --set zone=America/New_York" in refusal(tmp_path, november)


def test_an_hour_that_a_clock_leaves_out_is_told_of(tmp_path: Path) -> None:
    spring = without_zone(times("2023-03-25", "h", 46))
    assert refusal(tmp_path, spring) == (
        "any.csv, 'date': a time is left out: 2023-03-26 02:00:00 is the first, after line 27\n"
        "  expected: a row for each time of date (hourly)\n"
        "  got: in that night clocks are put forward, and leave out an hour\n"
        "  do: name the zone of the times: add --set zone=Europe/Berlin, or the zone that it is; otherwise, add --set "
        "missing=interpolate, or forward, to fill them in; or add the rows"
    )
    assert continued(read(tmp_path, spring, zone=BERLIN), 1) == ["2023-03-26 23:00:00"]
    hours = without_zone(pd.date_range("2023-03-25", periods=46, freq="h", tz="UTC"))
    assert refusal(tmp_path, hours, zone=BERLIN) == (
        "any.csv, line 28, 'date': the clock of Europe/Berlin does not show this time\n"
        "  expected: a time of that zone: in this night it is put forward\n  got: '2023-03-26 02:00:00'\n"
        "  do: name the zone of the times, with --set zone=..."
    )
    assert refusal(tmp_path, hours, zone="Berlin") == (
        "there is no time zone 'Berlin'\n  expected: a name such as Europe/Berlin, America/New_York or UTC\n"
        "  do: write --set zone=Europe/Berlin, for example"
    )


def test_a_time_without_an_offset_among_others_is_named(tmp_path: Path) -> None:
    written = ["2023-03-25T00:00:00", *isoformat(times("2023-03-25 01:00", "h", 20))]
    assert refusal(tmp_path, written).startswith("any.csv, line 2, 'date': this is no date\n")


def test_a_frame_keeps_its_zone(tmp_path: Path) -> None:
    for frequency, index, after in (
        ("D", times("2023-03-01", "D", 25), "2023-03-26"),
        ("h", times("2023-03-25", "h", 26), "2023-03-26 03:00"),
        ("W-SUN", times("2022-01-02", "W-SUN", 64), "2023-03-26"),
    ):
        frame = pd.DataFrame({"x": np.arange(float(len(index)))}, index=index)
        frame.to_parquet(tmp_path / "any.parquet")
        for source in (frame, frame.reset_index(names="time"), tmp_path / "any.parquet"):
            axis = load_series(source).series[0].times
            assert axis is not None
            assert (axis.zone, axis.frequency) == (BERLIN, frequency)
            assert pd.DatetimeIndex(axis.for_pandas()).equals(index)
            expected = pd.date_range(after, periods=2, freq=frequency, tz=BERLIN)
            assert pd.DatetimeIndex(axis.continued(2).for_pandas()).equals(expected)
