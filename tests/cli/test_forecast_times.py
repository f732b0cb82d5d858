"""The times of forecasts: dates in the notation of the data, in its zone, and data whose steps are of another kind."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import gatewright as gw
from gatewright.errors import DataError
from gatewright.tasks.run import Run
from tests.cli.conftest import Said

Invoke = Callable[..., Said]

BERLIN, HORIZON = "Europe/Berlin", 3
SMALL = {"history": 8, "horizon": HORIZON, "hidden": 4, "epochs": 1, "batch": 64, "target": "x"}


def waves(steps: int) -> np.ndarray:
    return np.sin(np.arange(steps) * 2 * np.pi / 7) + np.random.default_rng(0).normal(0, 0.1, steps)


def table(index: pd.DatetimeIndex) -> pd.DataFrame:
    return pd.DataFrame({"date": [time.isoformat() for time in index], "x": waves(len(index))})


def days(start: str, steps: int) -> pd.DatetimeIndex:
    return pd.date_range(start, periods=steps, freq="D", tz=BERLIN)


@pytest.fixture(scope="module")
def winter(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Trained on days of winter, in a file with offsets."""
    folder = tmp_path_factory.mktemp("winter")
    table(days("2022-11-01", 80)).to_csv(folder / "days.csv", index=False)
    return gw.tasks.train("series", data=folder / "days.csv", out=folder / "run", **SMALL)


def test_newer_data_keeps_its_own_offset(winter: Run, tmp_path: Path, invoke: Invoke) -> None:
    summer = tmp_path / "summer.csv"
    table(days("2023-06-01", 20)).to_csv(summer, index=False)
    code, out, _ = invoke("predict", winter.folder, "--data", summer)
    assert code == 0
    assert pd.read_csv(io.StringIO(out))["time"].tolist() == [
        "2023-06-21T00:00:00+02:00", "2023-06-22T00:00:00+02:00", "2023-06-23T00:00:00+02:00"
    ]  # fmt: skip
    assert winter.predict(summer)["time"].tolist() == days("2023-06-21", 3).tolist()
    code, out, _ = invoke("predict", winter.folder, "--horizon", "1")
    assert out.split("\n")[1].startswith("2023-01-20T00:00:00+01:00,x,")
    answers = winter.predict(summer, zone="America/New_York", any_scale=True)
    assert str(answers["time"].dtype) == "datetime64[us, America/New_York]", "of the setting, which is asked for"


def test_the_back_test_has_the_offsets_of_the_file(winter: Run, tmp_path: Path, invoke: Invoke) -> None:
    spring = tmp_path / "spring.csv"
    index = days("2023-01-01", 90)
    table(index).to_csv(spring, index=False)
    code, out, _ = invoke("predict", winter.folder, "--data", spring, "--rolling")
    rolling = pd.read_csv(io.StringIO(out))
    assert code == 0
    assert rolling["origin"].iloc[0] == index[71:].tolist()[0].isoformat()
    assert sorted(set(rolling["time"])) == [time.isoformat() for time in index[72:].tolist()]
    assert {text[-6:] for text in rolling["time"]} == {"+01:00", "+02:00"}
    actual = winter.predict(spring, rolling=True).set_index("time")["actual"]
    np.testing.assert_allclose(actual.loc[index[80]], waves(90)[80])


def test_a_frame_is_answered_in_its_zone_over_a_change_of_clocks(tmp_path: Path, invoke: Invoke) -> None:
    hours = pd.date_range(end="2023-03-26 00:00", periods=120, freq="h", tz=BERLIN)
    data = pd.DataFrame({"x": waves(120)}, index=hours)
    run = gw.tasks.train("series", data=data, out=tmp_path / "run", calendar=True, **SMALL)
    after = pd.date_range("2023-03-26 01:00", periods=HORIZON, freq="h", tz=BERLIN)
    assert run.predict()["time"].tolist() == after.tolist()
    assert str(run.predict()["time"].dtype) == f"datetime64[us, {BERLIN}]"
    assert str(run.predict(data, rolling=True)["origin"].dtype) == f"datetime64[us, {BERLIN}]"
    code, out, _ = invoke("predict", run.folder)
    assert code == 0
    assert pd.read_csv(io.StringIO(out))["time"].tolist() == [
        "2023-03-26T01:00:00+01:00", "2023-03-26T03:00:00+02:00", "2023-03-26T04:00:00+02:00"
    ]  # fmt: skip
    autumn = pd.DataFrame({"x": waves(40)}, index=pd.date_range(end="2023-10-29 02:00", periods=40, freq="h", tz="UTC"))
    assert (
        run.predict(autumn)["time"].tolist()
        == pd.date_range("2023-10-29 03:00", periods=3, freq="h", tz="UTC").tolist()
    )


def test_dates_are_written_in_the_notation_of_the_data(winter: Run, tmp_path: Path, invoke: Invoke) -> None:
    newer = tmp_path / "newer.csv"
    dates = pd.date_range("2024-02-01", periods=28)
    for form, expected in (("%d.%m.%Y", "29.02.2024"), ("%d %B %Y", "29 February 2024"), ("%Y%m%d", "20240229")):
        pd.DataFrame({"date": dates.strftime(form), "x": waves(28)}).to_csv(newer, index=False)
        code, out, _ = invoke("predict", winter.folder, "--data", newer)
        assert code == 0
        assert out.split("\n")[1].startswith(f"{expected},x,")
    for suffix in (".tsv", ".jsonl"):
        code, _, _ = invoke("predict", winter.folder, "--data", newer, "--out", tmp_path / f"answers{suffix}")
        assert "20240229" in (tmp_path / f"answers{suffix}").read_text().split("\n")[suffix == ".tsv"]
    invoke("predict", winter.folder, "--data", newer, "--out", tmp_path / "answers.parquet")
    assert pd.read_parquet(tmp_path / "answers.parquet")["time"].iloc[0] == pd.Timestamp("2024-02-29")
    invoke("predict", winter.folder, "--data", newer, "--out", tmp_path / "answers.svg")
    assert (tmp_path / "answers.svg").read_text().startswith("<?xml")


@pytest.mark.parametrize("way", [["predict"], ["predict", "--rolling"], ["evaluate"]])
def test_steps_of_another_kind_are_refused_unless_told(
    way: list[str], winter: Run, tmp_path: Path, invoke: Invoke
) -> None:
    name, *options = way
    path = tmp_path / "other.csv"
    frame = pd.DataFrame({"date": pd.date_range("2015-01-04", periods=90, freq="W"), "x": waves(90)})
    frame.to_csv(path, index=False)
    code, _, message = invoke(name, winter.folder, "--data", path, *options)
    assert code == 2
    assert message.replace(f"{tmp_path}/", "") == (
        "error: other.csv: the steps are not as far apart as in training\n"
        "  expected: a step every 24 hours (daily)\n  got: a step every 168 hours (weekly)\n"
        "  do: give data of the frequency of the training data, or accept any with --any-scale\n"
    )
    assert invoke(name, winter.folder, "--data", path, *options, "--any-scale")[0] == 0
    for table, kind in (
        (frame.assign(date=range(90)), "times in date (numbers of steps)"),
        (frame[["x"]], "a table without times"),
        (frame.assign(date=[f"d{place}" for place in range(90)]), "times in date (labels, in the order of the file)"),
    ):
        table.to_csv(path, index=False)
        code, _, message = invoke(name, winter.folder, "--data", path, *options)
        assert code == 2
        assert message.replace(f"{tmp_path}/", "") == (
            "error: other.csv: the steps have no dates, and those of the training data had\n"
            f"  expected: dates in 'date', daily\n  got: {kind}\n"
            "  do: give the dates, or accept any steps with --any-scale\n"
        )
        assert invoke(name, winter.folder, "--data", path, *options, "--any-scale")[0] == 0


def test_a_series_that_is_too_short_to_evaluate_on_is_told_what_it_takes(winter: Run, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        winter.evaluate(table(days("2023-01-01", 15)))
    assert str(caught.value) == (
        "data in memory is too short to evaluate the model on\n"
        "  expected: at least 26 steps, of which each part has 8 to read and 3 to forecast\n  got: 15 steps\n"
        "  do: give a longer series; predict needs 8 steps"
    )
    assert set(winter.evaluate(table(days("2023-01-01", 26)))) == {"validation", "test"}
    with pytest.raises(DataError, match="expected: at least 26 steps"):
        winter.evaluate(table(days("2023-01-01", 25)))


def test_only_the_future_that_is_asked_for_is_needed(tmp_path: Path) -> None:
    frame = table(days("2023-01-01", 120)).assign(promo=np.arange(120) % 2)
    frame.loc[117:, "x"] = np.nan
    run = gw.tasks.train("series", data=frame.iloc[:117], out=tmp_path / "run", covariates="promo", **SMALL)
    whole = run.predict(frame)
    short = run.predict(frame.iloc[:118], horizon=1)
    assert short["time"].tolist() == whole["time"].tolist()[:1]
    np.testing.assert_allclose(short["median"], whole["median"].iloc[:1], rtol=1e-6)
    with pytest.raises(DataError, match="expected: promo for 2 steps after the last value\n  got: 1 step\n"):
        run.predict(frame.iloc[:118], horizon=2)
    ahead = gw.tasks.train("series", data=frame.iloc[:119], out=tmp_path / "ahead", covariates="promo", **SMALL)
    np.testing.assert_allclose(ahead.predict(horizon=2)["median"], ahead.predict(frame)["median"].iloc[:2], rtol=1e-6)
    with pytest.raises(DataError, match="got: 2 steps in the data of the training"):
        ahead.predict()
