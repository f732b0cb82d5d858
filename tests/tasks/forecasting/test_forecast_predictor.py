"""What a forecaster answers: the horizon after its data or newer data, the back-test, pictures; covariates, ids."""

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import gatewright as gw
from gatewright.errors import DataError, OptionError
from gatewright.tasks.run import Run
from tests.parity.assertions import assert_parity

HISTORY, HORIZON = 12, 4
SMALL = {"history": HISTORY, "horizon": HORIZON, "hidden": 6, "epochs": 1, "batch": 32}


def monthly(steps: int = 120, start: str = "2000-01") -> pd.DataFrame:
    months = np.arange(steps)
    noise = np.random.default_rng(0).normal(0, 1, 200)[200 - steps :]
    values = 50 + 10 * np.sin(months * np.pi / 6) + 0.1 * months + noise
    return pd.DataFrame({"month": pd.date_range(start, periods=steps, freq="MS"), "sales": values, "stock": -values})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("months")
    monthly().to_csv(folder / "months.csv", index=False)
    return gw.tasks.train("series", data=folder / "months.csv", out=folder / "run", calendar=True, **SMALL)


def test_the_whole_horizon_of_every_variable_with_dates(run: Run) -> None:
    answers = run.predict()
    assert list(answers.columns) == ["time", "variable", "median", "low", "high"]
    assert answers["variable"].tolist() == ["sales"] * HORIZON + ["stock"] * HORIZON
    times = pd.date_range("2010-01", periods=HORIZON, freq="MS")
    assert answers["time"].tolist() == [*times, *times]
    assert bool(((answers["low"] <= answers["median"]) & (answers["median"] <= answers["high"])).all())
    assert run.predict(horizon=2)["time"].tolist() == [*times[:2], *times[:2]]


def test_it_is_what_the_network_gives_when_called_by_hand(run: Run) -> None:
    data, network = monthly(), run.model.network
    past = torch.from_numpy(data[["sales", "stock"]].to_numpy()[-HISTORY:, None].copy())
    dates = pd.date_range(data["month"].iloc[-HISTORY], periods=HISTORY + HORIZON, freq="MS")
    year = (dates.day_of_year.to_numpy() - 1) / np.where(dates.is_leap_year, 366, 365)
    known = np.stack([np.sin(2 * np.pi * year), np.cos(2 * np.pi * year)], 1)[:, None]
    assert run.model.signature["calendar"] == ["sin year", "cos year"]
    with torch.no_grad():
        ends = network.forecast(past, torch.from_numpy(known))[:, 0].transpose(0, 1).flatten(0, 1)
    got = run.predict()[["low", "median", "high"]].to_numpy()
    assert_parity(got.astype(np.float32), ends.float(), dtype="float32", steps=HISTORY)


def test_a_model_file_alone_forecasts(run: Run, tmp_path: Path) -> None:
    assert run.folder is not None
    shutil.copy(run.folder / "model.safetensors", tmp_path / "other.safetensors")
    pd.testing.assert_frame_equal(gw.tasks.open(tmp_path / "other.safetensors").predict(), run.predict())


def test_newer_data(run: Run) -> None:
    newer = monthly(24, "2009-01")
    answers = run.predict(newer)
    assert answers["time"].iloc[0] == pd.Timestamp("2011-01-01")
    pd.testing.assert_frame_equal(run.predict(monthly()), run.predict())
    shuffled = monthly().sample(frac=1, random_state=0)[["stock", "month", "sales"]]
    pd.testing.assert_frame_equal(run.predict(shuffled), run.predict())


def test_the_back_test(run: Run) -> None:
    table, data = run.predict(rolling=True), monthly()
    assert list(table.columns) == ["origin", "time", "variable", "median", "low", "high", "actual"]
    windows = 24 - HORIZON + 1  # of a fifth of 120 months
    assert len(table) == windows * HORIZON * 2
    assert table["origin"].iloc[0] == pd.Timestamp("2007-12-01")
    sales = table[table["variable"] == "sales"].merge(data, left_on="time", right_on="month")
    np.testing.assert_allclose(sales["actual"], sales["sales"], rtol=1e-12)
    scale = {name: np.std(data[name].iloc[:84]) for name in ("sales", "stock")}
    errors = (table["median"] - table["actual"]).abs() / table["variable"].map(scale)
    assert run.result is not None
    assert errors.mean() == pytest.approx(run.result.metrics["test"]["mae"], rel=1e-5)
    last = table.groupby("variable").tail(HORIZON)
    before = run.predict(data.iloc[:-HORIZON])
    np.testing.assert_allclose(last["median"], before["median"], rtol=1e-6)


@pytest.mark.parametrize(("suffix", "start"), [(".png", b"\x89PNG"), (".svg", b"<?xml")])
def test_pictures(run: Run, suffix: str, start: bytes) -> None:
    predictor = run.predictor()
    picture = predictor.encode(run.predict(), suffix, None)
    assert picture.startswith(start)
    assert picture == predictor.encode(run.predict(), suffix, monthly())
    with pytest.raises(OptionError, match="forecasts of the past are a table, not a .png file"):
        predictor.encode(run.predict(rolling=True), ".png", None)


def test_what_is_refused(run: Run, tmp_path: Path) -> None:
    with pytest.raises(OptionError) as caught:
        run.predict(horizon=5)
    assert str(caught.value) == (
        "the horizon is longer than the one that was trained\n  expected: at most 4 steps\n  got: 5\n"
        "  do: train with horizon=5"
    )
    with pytest.raises(DataError) as short:
        run.predict(monthly(5))
    assert str(short.value) == (
        "the series is too short to forecast from\n  expected: 12 steps, which the model reads\n  got: 5 steps"
    )
    with pytest.raises(DataError, match="'sales' are of another scale"):
        run.predict(monthly().assign(sales=lambda one: 1e6 * one["sales"]))
    with pytest.raises(OptionError, match="has no column 'stock'"):
        run.predict(monthly().drop(columns="stock"))
    del tmp_path


def test_steps_at_another_distance_are_refused(run: Run) -> None:
    hourly = monthly().assign(month=pd.date_range("2000-01-01", periods=120, freq="h"))
    with pytest.raises(DataError) as caught:
        run.predict(hourly)
    assert str(caught.value) == (
        "data in memory: the steps are not as far apart as in training\n  expected: a step every 744 hours (monthly)\n"
        "  got: a step every 1 hour (hourly)\n"
        "  do: give data of the frequency of the training data, or accept any with any_scale=True"
    )
    assert run.predict(hourly, any_scale=True)["time"].iloc[0] == pd.Timestamp("2000-01-06 00:00")


def promoted(steps: int, future: int = 0) -> pd.DataFrame:
    """Daily sales that a promotion raises by 20; with `future` the last days have no sales yet."""
    random = np.random.default_rng(0)
    promo = (random.random(steps) < 0.3).astype(int)
    sales = 100 + 20 * promo + random.normal(0, 1, steps)
    sales[steps - future :] = np.nan
    return pd.DataFrame({"day": pd.date_range("2024-01-01", periods=steps, freq="D"), "sales": sales, "promo": promo})


def test_covariates_are_used_and_their_future_is_needed(tmp_path: Path) -> None:
    run = gw.tasks.train(
        "series", data=promoted(300), out=tmp_path / "run", target="sales", covariates="promo", calendar=True, **SMALL
    )
    assert run.model.sizes.variables == ("sales", "promo", "sin week", "cos week")
    with pytest.raises(DataError) as caught:
        run.predict()
    assert str(caught.value) == (
        "the future of the covariates is needed to forecast\n"
        "  expected: promo for 4 steps after the last value\n  got: data that ended with its last value\n"
        "  do: give a table whose last rows have the covariates, and no value of what is forecast"
    )
    with pytest.raises(DataError, match="expected: promo for 4 steps after the last value\n  got: 0 steps"):
        run.predict(promoted(300))
    data = promoted(304, 4)
    on, off = (data.assign(promo=np.where(data["sales"].isna(), value, data["promo"])) for value in (1, 0))
    effect = run.predict(on)["median"] - run.predict(off)["median"]
    assert 15 < effect.mean() < 25
    ahead = gw.tasks.train("series", data=data, out=tmp_path / "ahead", target="sales", covariates="promo", **SMALL)
    assert len(ahead.predict()) == HORIZON, "the table held the future"


def test_many_series_train_one_model(tmp_path: Path) -> None:
    random, days = np.random.default_rng(1), np.arange(90)
    frames = [
        pd.DataFrame(
            {
                "day": pd.date_range("2024-01-01", periods=90 - 5 * place, freq="D"),
                "shop": name,
                "sold": scale * (10 + np.sin(days * 2 * np.pi / 7) + random.normal(0, 0.05, 90))[: 90 - 5 * place],
            }
        )
        for place, (name, scale) in enumerate({"a": 1.0, "b": 1000.0, "c": 0.001}.items())
    ]
    table = pd.concat(frames).sample(frac=1, random_state=0).sort_values("shop")
    run = gw.tasks.train("series", data=table, out=tmp_path / "run", id="shop", time="day", **SMALL)
    answers = run.predict()
    assert answers["id"].tolist() == ["a"] * HORIZON + ["b"] * HORIZON + ["c"] * HORIZON
    assert answers.groupby("id")["time"].min().tolist() == list(
        pd.to_datetime(["2024-03-31", "2024-03-26", "2024-03-21"])
    )
    middle = answers.groupby("id")["median"].mean()
    assert ((middle / [1, 1000, 0.001] - 10).abs() < 1.5).all()  # each series at its own scale; its waves are 1 high
    assert run.result is not None
    assert run.result.metrics["test"]["skill"] > 0
    unknown = table[table["shop"] == "b"].assign(shop="new", sold=lambda one: one["sold"] / 10)
    tenth = run.predict(unknown)["median"].to_numpy() * 10
    assert np.abs(tenth / answers["median"][HORIZON : 2 * HORIZON].to_numpy() - 1).max() < 0.02
    assert set(run.predict(table, rolling=True)["id"]) == {"a", "b", "c"}
    with pytest.raises(DataError, match="the model was trained on data in memory, which a model file does not keep"):
        run.predict(rolling=True)


def test_steps_without_times_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "plain.csv"
    path.write_text("value\n" + "\n".join(f"{place % 6}.5" for place in range(120)) + "\n")
    run = gw.tasks.train("series", data=path, out=tmp_path / "run", kind="gaussian", **SMALL)
    answers = run.predict()
    assert list(answers.columns) == ["step", "variable", "mean", "low", "high"]
    assert answers["step"].tolist() == [1, 2, 3, 4]
    buffer = io.StringIO(answers.to_json(orient="records", lines=True))
    assert [json.loads(line)["step"] for line in buffer] == [1, 2, 3, 4]


@pytest.mark.parametrize("count", [36, 105])
def test_short_series_train_with_the_defaults(count: int, tmp_path: Path) -> None:
    run = gw.tasks.train("series", data=monthly(count)[["month", "sales"]], out=tmp_path / "run", quick=True)
    horizon = run.model.recipe.settings()["horizon"]
    assert len(run.predict()) == horizon
    assert run.predict()["time"].iloc[0] == pd.Timestamp("2000-01-01") + pd.DateOffset(months=count)


def test_columns_that_are_called_otherwise_in_newer_data_are_named(run: Run, tmp_path: Path) -> None:
    newer = monthly(60)
    expected = run.predict(newer)
    renamed = newer.rename(columns={"sales": "turnover", "stock": "store"})
    pd.testing.assert_frame_equal(run.predict(renamed, target="turnover,store"), expected)
    assert run.evaluate(renamed.assign(year=1), target="turnover,store") == run.evaluate(newer)
    assert bool((run.predict(renamed, target="store,turnover", any_scale=True)["median"] != expected["median"]).all())


@pytest.mark.parametrize("target", ["price,cost", "price"])
def test_a_trained_model_forecasts_no_other_column(run: Run, target: str) -> None:
    newer = monthly(60).assign(price=1.0, cost=2.0)
    for ask in (run.predict, run.evaluate):
        with pytest.raises(OptionError) as caught:
            ask(newer, target=target)
        assert str(caught.value) == (
            "setting 'target' cannot be changed for a trained model\n"
            "  expected: the columns of sales, stock\n"
            f"  got: {target}\n"
            "  do: leave it out; it is for data in which these columns are called otherwise"
        )


def test_without_data_no_column_can_be_named(run: Run) -> None:
    with pytest.raises(OptionError, match="^setting 'target' cannot be changed for a trained model\n"):
        run.predict(target="price,cost")
