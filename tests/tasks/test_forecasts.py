"""Forecasts: what a network is given and makes of it, the losses by hand, the season, and data that does not fit."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from gatewright.errors import DataError, OptionError
from gatewright.tasks.columns import SeriesColumns
from gatewright.tasks.data import Cuts, Scaling, best_season, load_series, seasonal_naive
from gatewright.tasks.model import load_model
from gatewright.tasks.objectives import Forecasts
from gatewright.tasks.parts import Rows
from gatewright.tasks.recipe import Sizes
from gatewright.tasks.recipes.series import Series
from gatewright.tasks.training import Result, train
from tests.parity.assertions import assert_parity
from tests.tasks.small import QUIET

SMALL = ("history=12", "horizon=4", "hidden=6", "epochs=2", "batch=16")


def waves(folder: Path, *, steps: int = 120, name: str = "waves.csv") -> str:
    """The path of two variables, one of which repeats itself every six steps."""
    rows = [f"day {t},{10 * math.sin(t * math.pi / 3) + 0.01 * t:.5f},{t % 5}" for t in range(steps)]
    path = folder / name
    path.write_text("time,wave,five\n" + "\n".join(rows) + "\n")
    return str(path)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Path]:
    folder = tmp_path_factory.mktemp("series")
    made = Series.configured([*SMALL, "variables=wave"])
    return train(made, out=folder / "run", source=waves(folder), console=QUIET), folder


def test_what_is_reported(run: tuple[Result, Path]) -> None:
    result, folder = run
    measured = result.metrics["test"]
    assert set(measured) == {"loss", "mae", "mse", "naive_mae", "coverage", "skill"}
    assert measured["skill"] == pytest.approx(1 - measured["mae"] / measured["naive_mae"])
    assert 0 <= measured["coverage"] <= 1
    values = load_series(folder / "waves.csv", SeriesColumns(target="wave")).single().values
    cuts = Cuts.shares(120)
    scaled = Scaling.of(values[: cuts.train]).apply(values)
    errors = [np.abs(scaled[t : t + 4] - scaled[t - 6 : t - 2]).mean() for t in range(cuts.validation, 120 - 3)]
    assert measured["naive_mae"] == pytest.approx(np.mean(errors), rel=1e-5)


def test_the_forecast_goes_on_after_the_series(run: tuple[Result, Path]) -> None:
    result, _ = run
    assert list(result.samples) == ["wave after day 119"]
    assert result.samples["wave after day 119"].count(" to ") == 4


def test_inputs_end_with_the_naive_forecast(tmp_path: Path) -> None:
    data = Series.configured([*SMALL, "season=6"]).data(waves(tmp_path))
    assert data.sizes == Sizes(2, 4)
    assert data.origin["season"] == 6
    batch = data.parts["train"].batch(0, 0)
    assert batch.inputs.shape == (12 + 4, 16, 2)
    assert batch.targets.shape == (4, 16, 2)
    np.testing.assert_array_equal(batch.inputs[12:], batch.inputs[6:10])


def test_nothing_of_what_comes_is_scaled_by(tmp_path: Path) -> None:
    first, other = waves(tmp_path), tmp_path / "jump.csv"
    lines = Path(first).read_text().splitlines()
    cut = Cuts.shares(120).train
    other.write_text("\n".join([*lines[: cut + 1], *(f"{line}0" for line in lines[cut + 1 :])]) + "\n")
    made = Series.configured([*SMALL, "variables=five"])
    one, two = (made.data(str(path)).parts["train"].batch(0, 0) for path in (first, other))
    np.testing.assert_array_equal(one.inputs, two.inputs)


def test_the_parts_of_ett(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWRIGHT_DATA", str(shared_data))
    made = Series.configured(["preset=etth1"])
    data = made.data(None)
    assert data.sizes == Sizes(7, 21)
    windows = 4 * 30 * 24 - made.horizon + 1  # of four months
    assert len(data.parts["test"]) == math.ceil(windows / 256)


def test_a_network_that_changes_nothing_is_the_naive_forecast() -> None:
    made = Series(history=12, horizon=4)
    network = made.network(Sizes(2, 4), "gru").eval()
    network.output.weight.data.zero_()
    network.output.bias.data.zero_()
    inputs = torch.randn(16, 3, 2)
    outputs, _ = network(inputs)
    assert torch.equal(outputs[..., 0], inputs[12:])
    spread = inputs[:12].std(0, correction=0)
    want = (spread * math.log(2) + 1e-3).expand(4, 3, 2)
    assert_parity(outputs[..., 1], want.contiguous(), dtype="float32", steps=1)


@pytest.mark.parametrize("kind", ["gaussian", "quantiles"])
def test_another_height_and_width_of_a_series_change_nothing_else(kind: str) -> None:
    made = Series.configured([*SMALL, f"kind={kind}"])
    network = made.network(Sizes(1, 2 if kind == "gaussian" else 3), "gru").eval().double()
    inputs = torch.randn(16, 3, 1, dtype=torch.float64)
    middle = made.objective().quantiles(network(inputs)[0])[1]
    moved = made.objective().quantiles(network(5 * inputs + 100)[0])[1]
    assert_parity((moved - 100) / 5, middle, dtype="float64", steps=16, scale=100)


@pytest.mark.parametrize("kind", ["gaussian", "quantiles"])
def test_a_forecast_of_numbers_as_they_were_measured(kind: str, tmp_path: Path) -> None:
    made = Series.configured([*SMALL, "season=5", f"kind={kind}"])
    source = waves(tmp_path)
    data = made.data(source)
    network = made.network(data.sizes, "gru").eval()
    made.prepare(network, data)
    values = load_series(source).single().values
    scaling = Scaling.of(values[: Cuts.shares(120).train])
    past = scaling.apply(values[40:52])[:, None]
    scaled = network(torch.from_numpy(np.concatenate([past, seasonal_naive(past, 5, 4)])))[0]
    got = network.forecast(torch.from_numpy(values[40:52, None])).float()
    for one, other in zip(made.objective().quantiles(got), made.objective().quantiles(scaled), strict=True):
        assert_parity(one, scaling.undo(other.detach().numpy()).astype(np.float32), dtype="float32", steps=16)


def test_a_model_file_keeps_the_scaling_and_the_season(run: tuple[Result, Path]) -> None:
    network = load_model(run[1] / "run").network
    values = load_series(run[1] / "waves.csv", SeriesColumns(target="wave")).single().values[: Cuts.shares(120).train]
    assert_parity(network.scaling.mean, values.mean(0), dtype="float32", steps=1)
    assert_parity(network.scaling.deviation, values.std(0), dtype="float32", steps=1)
    assert network.season == 6


def test_quantiles_rise() -> None:
    network = Series(kind="quantiles").network(Sizes(2, 6), "gru")
    outputs, _ = network(10 * torch.randn(48, 5, 2))
    assert outputs.shape == (12, 5, 2, 3)
    assert bool((outputs.diff(dim=-1) > 0).all())


def test_the_loss_of_quantiles_by_hand() -> None:
    objective = Forecasts("quantiles", interval=0.8)
    assert objective.levels == pytest.approx((0.1, 0.5, 0.9))
    outputs, targets = torch.tensor([[[[1.0, 2.0, 5.0]]]]), torch.tensor([[[4.0]]])
    # 3 above the first: 0.1 * 3; 2 above the middle: 0.5 * 2; 1 below the last: (1 - 0.9) * 1
    assert objective.losses(outputs, Rows(None, targets)).item() == pytest.approx((0.3 + 1.0 + 0.1) / 3)


def test_the_loss_of_a_gaussian_by_hand() -> None:
    objective = Forecasts("gaussian", interval=0.95)
    outputs, targets = torch.tensor([[[[1.0, 2.0]]]]), torch.tensor([[[4.0]]])
    density = math.exp(-0.5 * 1.5**2) / (2 * math.sqrt(2 * math.pi))
    assert objective.losses(outputs, Rows(None, targets)).item() == pytest.approx(-math.log(density))
    low, middle, high = (one.item() for one in objective.quantiles(outputs))
    assert (low, middle, high) == pytest.approx((1 - 2 * 1.959964, 1, 1 + 2 * 1.959964))


def test_coverage_counts_what_lies_inside() -> None:
    outputs = torch.tensor([0.0, 1.0, 2.0]).expand(1, 5, 1, 3)
    targets = torch.tensor([-0.1, 0.0, 1.5, 2.0, 2.1])[None, :, None]
    scores = Forecasts("quantiles", 0.8).scores(outputs, Rows(torch.zeros(3, 5, 1), targets))
    assert scores["coverage"].flatten().tolist() == [False, True, True, True, False]
    assert_parity(scores["naive_mae"], targets.abs(), dtype="float32", steps=1)


def test_the_season_is_that_of_the_best_naive_forecast(rng: np.random.Generator) -> None:
    steps = np.arange(100.0)
    wave = np.stack([np.sin(steps * 2 * np.pi / 7), np.cos(steps * 2 * np.pi / 7)], 1)
    assert best_season(wave, horizon=4, longest=10) == 7
    assert best_season(np.cumsum(rng.normal(size=(400, 1)), 0), horizon=4, longest=30) == 1
    noisy = wave + rng.normal(0, 0.3, wave.shape)
    for horizon in (1, 9):
        found = best_season(noisy, horizon=horizon, longest=12)
        errors = {
            season: np.mean(
                [
                    np.abs(noisy[t + h] - seasonal_naive(noisy[:t, None], season, h + 1)[h, 0]) / noisy.std(0)
                    for h in range(horizon)
                    for t in range(40, 100 - horizon)
                ]
            )
            for season in range(1, 13)
        }
        assert errors[found] <= min(errors.values()) * 1.02


def test_data_that_does_not_fit(tmp_path: Path) -> None:
    short = waves(tmp_path, steps=10)
    with pytest.raises(DataError) as caught:
        Series.configured(["history=4", "horizon=7"]).data(short)
    assert str(caught.value) == (
        "the series is too short to find its season\n  expected: more than 8 steps to train on\n  got: 7 steps\n"
        "  do: name it, or forecast fewer steps"
    )
    with pytest.raises(DataError, match="the part is too short for one window"):
        Series.configured(["history=40", "horizon=4"]).data(waves(tmp_path, steps=50))
    with pytest.raises(OptionError, match="waves.csv has no column 'level'\n  expected: one of time, wave, five"):
        Series.configured(["variables=wave,level"]).data(waves(tmp_path))
    with pytest.raises(OptionError, match="the season is longer than the history"):
        Series.configured(["history=6", "horizon=2", "season=7"]).data(waves(tmp_path)).parts["train"].batch(0, 0)
    wrong = tmp_path / "wrong.csv"
    wrong.write_text("time,a\n1,2.5\n2,3.5\n3,many\n")
    with pytest.raises(DataError, match=r"wrong.csv, line 4, 'a': this is no finite number"):
        Series().data(str(wrong))


def test_another_series_is_measured_by_its_own_scale(run: tuple[Result, Path], tmp_path: Path) -> None:
    from gatewright.tasks.evaluate import evaluate

    model = load_model(run[1] / "run")
    other = waves(tmp_path, steps=150)
    assert set(evaluate(model, other)) == {"validation", "test"}
    wide = tmp_path / "wide.csv"
    wide.write_text("wave,other\n" + "\n".join(f"{t % 6},{t}" for t in range(120)) + "\n")
    assert set(evaluate(model, str(wide))) == {"validation", "test"}
    wide.write_text("level\n" + "\n".join(f"{t % 6}.5" for t in range(120)) + "\n")
    with pytest.raises(OptionError, match="wide.csv has no column 'wave'\n  expected: one of level"):
        evaluate(model, str(wide))
