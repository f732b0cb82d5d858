"""Forecasts: what a network is given and makes of it, the losses by hand, calibration, and data that does not fit."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from gatewright.errors import DataError, OptionError
from gatewright.tasks.answers.evaluate import evaluate
from gatewright.tasks.data.batches.arrays import Rows
from gatewright.tasks.data.forecasting.series import load_series
from gatewright.tasks.data.forecasting.windows import Cuts
from gatewright.tasks.data.scaling import Scaling
from gatewright.tasks.forecasting.fitting import calibrate
from gatewright.tasks.model import load_model
from gatewright.tasks.objectives import Forecasts, half_width
from gatewright.tasks.recipes.series import Series
from gatewright.tasks.run_data import Sizes
from gatewright.tasks.training.session import Result, train
from tests.parity.assertions import assert_parity
from tests.tasks.small import QUIET

SMALL = ("history=12", "horizon=4", "hidden=6", "epochs=2", "batch=16")
KINDS = ["quantiles", "student", "gaussian"]


def waves(folder: Path, *, steps: int = 120, name: str = "waves.csv") -> str:
    """The path of two variables, one of which repeats itself every six steps."""
    rows = [f"day {t},{10 * math.sin(t * math.pi / 3) + 0.01 * t:.5f},{t % 5}" for t in range(steps)]
    path = folder / name
    path.write_text("time,wave,five\n" + "\n".join(rows) + "\n")
    return str(path)


def values_of(source: str, columns: str) -> np.ndarray:
    return load_series(source, Series.configured(["time=time", f"target={columns}"])).single().values


def configured(*settings: str) -> Series:
    return Series.configured([*SMALL, "time=time", *settings])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Path]:
    folder = tmp_path_factory.mktemp("series")
    return train(configured("target=wave"), out=folder / "run", source=waves(folder), console=QUIET), folder


def test_what_is_reported(run: tuple[Result, Path]) -> None:
    result, folder = run
    measured = result.metrics["test"]
    assert set(measured) == {"loss", "mae", "mse", "naive_mae", "coverage", "width", "skill"}
    assert measured["skill"] == pytest.approx(1 - measured["mae"] / measured["naive_mae"])
    assert 0 <= measured["coverage"] <= 1
    values = values_of(str(folder / "waves.csv"), "wave")
    cuts = Cuts.shares(120)
    scaled = Scaling.of(values[: cuts.train]).apply(values)
    errors = [np.abs(scaled[t : t + 4] - scaled[t - 6 : t - 2]).mean() for t in range(cuts.validation, 120 - 3)]
    assert measured["naive_mae"] == pytest.approx(np.mean(errors), rel=1e-5)
    assert result.baselines["test"]["mae of seasonal naive (6)"] == pytest.approx(np.mean(errors), rel=1e-5)
    assert set(result.baselines["validation"]) == {
        f"{measure} of {method}"
        for method in ("seasonal naive (6)", "linear autoregression")
        for measure in ("mae", "mse")
    }


def test_there_is_no_skill_where_the_naive_forecast_is_right() -> None:
    objective = Series().objective()
    assert objective.derived({"mae": 0.1, "naive_mae": 0.0}) == {}
    assert objective.derived({"mae": 0.1, "naive_mae": 0.4}) == {"skill": 0.75}
    assert objective.derived({"loss": 0.1}) == {}


def test_the_error_of_each_variable(tmp_path: Path) -> None:
    result = train(configured("target=wave,five"), out=tmp_path / "run", source=waves(tmp_path), console=QUIET)
    for measured in result.metrics.values():
        assert measured["mae"] == pytest.approx((measured["mae of wave"] + measured["mae of five"]) / 2)
    assert evaluate(load_model(tmp_path / "run")).metrics == result.metrics


def test_the_forecast_goes_on_after_the_series(run: tuple[Result, Path]) -> None:
    result, _ = run
    assert list(result.samples) == ["wave after day 119"]
    assert result.samples["wave after day 119"].count(" to ") == 4


def test_inputs_end_with_the_naive_forecast(tmp_path: Path) -> None:
    data = configured("season=6", "target=wave,five").data(waves(tmp_path))
    assert data.sizes == Sizes(2, 6, variables=("wave", "five"))
    assert data.origin["season"] == 6
    batch = data.parts["train"].batch(0, 0)
    assert batch.inputs.shape == (12 + 4, 16, 2)
    assert batch.targets.shape == (4, 16, 2)
    np.testing.assert_array_equal(batch.inputs[12:], batch.inputs[6:10])


def test_a_season_may_be_longer_than_what_is_read(tmp_path: Path) -> None:
    data = configured("season=20", "target=five").data(waves(tmp_path))
    batch, scaled = data.parts["test"].batch(0, 0), data.tracks[0].scaled
    first = data.tracks[0].cuts.validation
    np.testing.assert_array_equal(batch.inputs[12:, 0], scaled[first - 20 : first - 16])


def test_nothing_of_what_comes_reaches_the_linear_forecast(tmp_path: Path) -> None:
    """What lies after the training part may judge a regression until the validation ends, and nothing after that."""
    first, other = waves(tmp_path), tmp_path / "jump.csv"
    lines = Path(first).read_text().splitlines()
    cut = Cuts.shares(120).validation
    other.write_text("\n".join([*lines[: cut + 1], *(f"{line}0" for line in lines[cut + 1 :])]) + "\n")
    made = configured("target=five", "season=5")
    networks = []
    for path in (first, str(other)):
        torch.manual_seed(0)
        data = made.data(path)
        network = made.network(data.sizes, "gru")
        made.prepare(network, data)
        networks.append(network.state_dict())
    assert all(torch.equal(one, networks[1][name]) for name, one in networks[0].items())


def test_the_parts_of_ett(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWRIGHT_DATA", str(shared_data))
    made = Series.configured(["preset=etth1", "calendar=yes"])
    data = made.data(None)
    assert data.known.calendar == ("sin week", "cos week", "sin day", "cos day")  # a year of training is seen but once
    assert (data.sizes.inputs, data.sizes.outputs) == (7 + 4, 21)
    windows = 4 * 30 * 24 - made.horizon + 1  # of four months
    assert len(data.parts["test"]) == math.ceil(windows / 256)


@pytest.mark.parametrize("kind", KINDS)
def test_a_forecast_of_numbers_as_they_were_measured(kind: str, tmp_path: Path) -> None:
    made, source = configured("season=5", f"kind={kind}", "target=wave,five"), waves(tmp_path)
    data = made.data(source)
    network = made.network(data.sizes, "gru").eval()
    made.prepare(network, data)
    values = values_of(source, "wave,five")
    scaling = Scaling.of(values[: Cuts.shares(120).train])
    past = torch.from_numpy(scaling.apply(values[40:52])[:, None])
    scaled = network(torch.cat([past, torch.full((4, 1, 2), torch.nan)]))[0].detach().numpy()
    got = network.forecast(torch.from_numpy(values[40:52, None])).detach().float()
    want = scaled * scaling.deviation[:, None] + scaling.mean[:, None]
    assert_parity(got, want.astype(np.float32), dtype="float32", steps=16)
    assert bool((got.diff(dim=-1) >= 0).all())


def test_variables_that_are_never_below_zero_are_not_forecast_below(tmp_path: Path) -> None:
    made = configured("target=five")
    data = made.data(waves(tmp_path))
    network = made.network(data.sizes, "gru").eval()
    made.prepare(network, data)
    with torch.no_grad():
        network.output.bias.fill_(-50)
    forecast = network.forecast(torch.arange(12.0)[:, None, None] % 5)
    assert forecast.min().item() == pytest.approx(0, abs=1e-6)


def test_a_series_that_grows_by_shares_is_forecast_by_its_logarithm(tmp_path: Path) -> None:
    path = tmp_path / "growth.csv"
    steps, noise = np.arange(150), np.random.default_rng(0).normal(0, 0.05, 150)
    values = 10 * np.exp(0.03 * steps + 0.3 * np.sin(steps * np.pi / 6) + noise)
    path.write_text("value\n" + "\n".join(map(str, values)) + "\n")
    made = Series.configured(["history=24", "horizon=6", "hidden=4"])
    data = made.data(str(path))
    network = made.network(data.sizes, "gru").eval()
    made.prepare(network, data)
    assert network.logarithm.tolist() == [True]
    low, middle, high = network.forecast(torch.from_numpy(values[-30:-6, None, None]))[:, 0, 0].detach().numpy().T
    assert np.abs(np.log(middle / values[-6:])).mean() < 0.1
    below, above = network.widening[:, 0].tolist()
    np.testing.assert_allclose(np.log(high / middle) / above, np.log(middle / low) / below, rtol=1e-4)


def test_a_model_file_keeps_the_scaling_and_the_season(run: tuple[Result, Path]) -> None:
    network = load_model(run[1] / "run").network
    values = values_of(str(run[1] / "waves.csv"), "wave")[: Cuts.shares(120).train]
    assert_parity(network.scaling.mean, values.mean(0), dtype="float32", steps=1)
    assert_parity(network.scaling.deviation, values.std(0), dtype="float32", steps=1)
    assert network.season == 6


def noise(folder: Path, values: np.ndarray) -> str:
    path = folder / "noise.csv"
    path.write_text("value\n" + "\n".join(f"{value:.6g}" for value in values) + "\n")
    return str(path)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", ["normal", "zeros"])
def test_intervals_hold_their_share_without_any_training(shape: str, kind: str, tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    values = random.normal(size=5000)
    if shape == "zeros":
        values = np.where(random.random(5000) < 0.5, 0, random.gamma(2, 3, 5000))
    made = Series.configured(["history=8", "horizon=2", "hidden=4", f"kind={kind}"])
    data = made.data(noise(tmp_path, values))
    network = made.network(data.sizes, "gru")
    made.prepare(network, data)
    calibrate(network, data, made)
    outputs, targets = [], []
    for position in range(len(data.parts["test"])):
        batch = data.parts["test"].batch(0, position)
        with torch.no_grad():
            outputs.append(network(torch.from_numpy(batch.inputs))[0].flatten(0, 1))
        targets.append(batch.targets.reshape(-1))
    low, _, high = torch.cat(outputs)[:, 0].numpy().T
    inside = np.mean((low <= np.concatenate(targets)) & (np.concatenate(targets) <= high))
    assert 0.77 <= inside <= 0.83


def test_a_correction_that_helps_in_no_window_is_left_out(tmp_path: Path) -> None:
    made = configured("target=wave")
    data = made.data(waves(tmp_path))
    network = made.network(data.sizes, "gru")
    made.prepare(network, data)
    with torch.no_grad():
        network.output.bias[0] = 5  # spreads
    calibrate(network, data, made)
    assert network.share == 0


def test_the_loss_of_quantiles_by_hand() -> None:
    objective = Forecasts("quantiles", interval=0.8)
    assert objective.levels == pytest.approx((0.1, 0.5, 0.9))
    outputs, targets = torch.tensor([[[[1.0, 2.0, 5.0]]]]), torch.tensor([[[4.0]]])
    # 3 above the first: 0.1 * 3; 2 above the middle: 0.5 * 2; 1 below the last: (1 - 0.9) * 1
    assert objective.losses(outputs, Rows(None, targets)).item() == pytest.approx((0.3 + 1.0 + 0.1) / 3)


@pytest.mark.parametrize("kind", ["gaussian", "student"])
def test_the_loss_of_a_density_by_hand(kind: str) -> None:
    """Beside the quantiles and densities of scipy, of a distribution with middle 1 and scale 2."""
    from scipy import stats

    known = stats.norm(1, 2) if kind == "gaussian" else stats.t(4, 1, 2)
    assert half_width(kind, 0.95) == pytest.approx((known.ppf(0.975) - 1) / 2)  # pyright: ignore[reportArgumentType]
    objective = Forecasts(kind, interval=0.8)  # pyright: ignore[reportArgumentType]
    outputs = torch.tensor([[[[known.ppf(0.1), 1.0, known.ppf(0.9)]]]])
    loss = objective.losses(outputs, Rows(None, torch.tensor([[[4.0]]]))).item()
    assert loss == pytest.approx(-known.logpdf(4), rel=1e-5)


def test_coverage_counts_what_lies_inside() -> None:
    outputs = torch.tensor([0.0, 1.0, 2.0]).expand(1, 5, 1, 3)
    targets = torch.tensor([-0.1, 0.0, 1.5, 2.0, 2.1])[None, :, None]
    scores = Forecasts("quantiles", 0.8).scores(outputs, Rows(torch.zeros(3, 5, 1), targets))
    assert scores["coverage"].flatten().tolist() == [False, True, True, True, False]
    assert scores["width"].flatten().tolist() == [2.0] * 5
    assert_parity(scores["naive_mae"], targets.abs(), dtype="float32", steps=1)


def test_data_that_does_not_fit(tmp_path: Path) -> None:
    short = waves(tmp_path, steps=10)
    with pytest.raises(DataError) as caught:
        configured("history=4", "horizon=7", "target=wave").data(short)
    assert str(caught.value) == (
        "the series is too short to find its season\n  expected: more than 8 steps to train on\n  got: 7 steps\n"
        "  do: name it, or forecast fewer steps"
    )
    with pytest.raises(DataError) as caught:
        configured("history=40", "target=wave").data(waves(tmp_path, steps=50))
    assert str(caught.value) == (
        "the training part is too short for one window\n  expected: 40 steps to read and 4 to forecast\n"
        "  got: 35 steps, and 0 before them\n  do: take a shorter history or horizon, or a larger part"
    )
    with pytest.raises(OptionError, match="has no column 'level'"):
        configured("target=wave,level").data(waves(tmp_path))


def test_an_earlier_name_of_a_setting() -> None:
    assert Series.reopened({"variables": "wave"}).target == "wave"


def test_other_data_is_measured_by_the_scale_of_the_training(run: tuple[Result, Path], tmp_path: Path) -> None:
    model = load_model(run[1] / "run")
    other = waves(tmp_path, steps=150)
    assert set(evaluate(model, other)) == {"validation", "test"}
    data, trained = model.recipe.evaluation(other, model), model.recipe.data(model.source)
    assert np.array_equal(data.scaling.mean, trained.scaling.mean)
    lines = Path(other).read_text().splitlines()
    grams = tmp_path / "grams.csv"
    fields = [line.split(",") for line in lines[1:]]
    grams.write_text("\n".join([lines[0], *(f"{day},{1000 * float(wave)},{five}" for day, wave, five in fields)]))
    with pytest.raises(DataError, match="the numbers of 'wave' are of another scale"):
        evaluate(model, str(grams))
    Path(other).write_text(Path(other).read_text().replace("wave", "level", 1))
    with pytest.raises(OptionError, match="has no column 'wave'"):
        evaluate(model, other)
