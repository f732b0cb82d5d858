"""Tables of numbers, and forecasting from them."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from gatewright.errors import DataError, OptionError
from gatewright.tasks.data.forecasting.seasons import steps_back
from gatewright.tasks.data.forecasting.series import load_series
from gatewright.tasks.data.forecasting.windows import Cuts, WindowBatches
from gatewright.tasks.data.scaling import Scaling


def test_a_name_of_another_kind_lists_the_series() -> None:
    with pytest.raises(DataError) as caught:
        load_series("mnist")
    assert str(caught.value) == (
        "data set 'mnist' is of another kind\n"
        "  expected: series: one of airline, etth1, etth2, sunspots, or a path\n"
        "  got: images"
    )
    with pytest.raises(DataError, match="do: did you mean 'sunspots'"):
        load_series("sunspot")


def test_only_the_training_part_scales(rng: np.random.Generator) -> None:
    values = np.column_stack([rng.normal(5, 3, 100), np.full(100, 7.0)])
    changed = values.copy()
    changed[60:] *= 100
    scaling, again = Scaling.of(values[:60]), Scaling.of(changed[:60])
    assert np.array_equal(scaling.mean, again.mean)
    scaled = scaling.apply(values)
    assert scaled.dtype == np.float32
    assert np.allclose(scaled[:60].mean(0), 0, atol=1e-6)
    assert scaled[:60].std(0) == pytest.approx([1, 0], abs=1e-6)
    assert np.allclose(scaled * scaling.deviation + scaling.mean, values, rtol=1e-6)
    with pytest.raises(DataError, match="there are no steps to scale by"):
        Scaling.of(values[:0])


def test_windows_are_the_steps_before_and_after_a_time() -> None:
    values = np.arange(20, dtype=np.float32).reshape(10, 2)
    batch = WindowBatches(values, history=3, horizon=2, batch=10).batch(0, 0)
    assert batch.inputs.shape == (3, 6, 2)
    assert batch.targets.shape == (2, 6, 2)
    assert batch.inputs[:, 0].tolist() == values[:3].tolist()
    assert batch.targets[:, 0].tolist() == values[3:5].tolist()
    assert batch.targets[:, 5].tolist() == values[8:10].tolist()


def test_a_part_forecasts_its_own_steps_and_may_read_those_before() -> None:
    values = np.arange(100, dtype=np.float32)[:, np.newaxis]
    part = WindowBatches(values, 10, 5, 1000, start=60, end=80)
    batch = part.batch(0, 0)
    assert (batch.targets.min(), batch.targets.max()) == (60, 79)
    assert batch.inputs.min() == 50
    assert batch.inputs.shape[1] == 20 - 5 + 1
    train = WindowBatches(values, 10, 5, 1000, start=0, end=60).batch(0, 0)
    assert (train.inputs.min(), train.targets.max(), train.inputs.shape[1]) == (0, 59, 60 - 10 - 5 + 1)


def test_every_window_comes_once_an_epoch() -> None:
    values = np.arange(50, dtype=np.float32)[:, np.newaxis]
    batches = WindowBatches(values, 4, 2, 7, seed=3)
    epochs = [
        np.concatenate([batches.batch(epoch, place).inputs[0, :, 0] for place in range(len(batches))])
        for epoch in (0, 1)
    ]
    assert all(sorted(epoch.tolist()) == list(range(45)) for epoch in epochs)
    assert epochs[0].tolist() != epochs[1].tolist()
    assert np.array_equal(WindowBatches(values, 4, 2, 7, seed=3).batch(1, 2).inputs, batches.batch(1, 2).inputs)


def test_wrong_windows_are_errors() -> None:
    values = np.zeros((10, 1), np.float32)
    with pytest.raises(OptionError, match="history is too small"):
        WindowBatches(values, 0, 1, 1)
    with pytest.raises(OptionError, match="the part lies outside of the series\n  expected: 0 to 10\n  got: 5, 11"):
        WindowBatches(values, 1, 1, 1, start=5, end=11)
    with pytest.raises(DataError, match="the part is too short for one window\n  expected: 8 steps to read and 3"):
        WindowBatches(values, 8, 3, 1)
    assert len(WindowBatches(values, 8, 2, 1).targets) == 1


def test_parts_are_cut_by_shares() -> None:
    assert Cuts.shares(1000) == (700, 800, 1000)
    assert Cuts.shares(144, validation=0.25, test=0.25) == (72, 108, 144)
    with pytest.raises(OptionError, match="a part of the series would be empty"):
        Cuts.shares(10, validation=0.0)


def test_each_season_repeats_the_last() -> None:
    history = np.arange(6)
    assert history[6 + np.arange(5) - steps_back(season=2, horizon=5)].tolist() == [4, 5, 4, 5, 4]


@pytest.mark.parametrize(
    ("name", "shape", "first", "last", "frequency"),
    [
        ("ett", (17_420, 7), "2016-07-01 00:00:00", "2018-06-26 19:00:00", "h"),
        ("airline", (144, 1), "1949-01", "1960-12", "MS"),
        ("sunspots", (2_820, 1), "1749-01", "1983-12", "MS"),
    ],
)
def test_the_real_series_have_their_published_sizes(
    shared_data: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    shape: tuple[int, int],
    first: str,
    last: str,
    frequency: str,
) -> None:
    monkeypatch.setenv("GATEWRIGHT_DATA", str(shared_data))
    found = load_series(name).single()
    assert found.values.shape == shape
    assert found.times is not None
    assert [found.times.spelled()[place] for place in (0, -1)] == [first, last]
    assert found.times.frequency == frequency


@pytest.mark.parametrize(
    ("history", "horizon", "windows"), [(96, 24, [8521, 2857, 2857]), (336, 96, [8209, 2785, 2785])]
)
def test_etth1_has_as_many_windows_as_in_the_papers(history: int, horizon: int, windows: list[int]) -> None:
    values, cuts = np.zeros((17_420, 1), np.float32), Cuts.ett_hourly()
    edges = (0, *cuts)
    found = [WindowBatches(values, history, horizon, 32, start=start, end=end) for start, end in pairwise(edges)]
    assert [len(one.targets) for one in found] == windows


@pytest.mark.parametrize("value", [0.1, 0.3, 0.7, 1.1, 12.7, 14.62, 98.6, 1 / 3, -1e100, 1e-100, 0.0])
def test_a_variable_that_never_changes_has_deviation_1(value: float) -> None:
    for steps in (1, 50, 100, 280, 400, 1000):
        scaling = Scaling.of(np.full((steps, 1), value))
        assert scaling.deviation[0] == 1
        np.testing.assert_allclose(scaling.mean, value, rtol=1e-13)
    noise = np.where(np.arange(100) % 2, value, np.nextafter(value, np.inf))[:, None]
    assert Scaling.of(noise).deviation[0] == 1


def test_a_variable_that_changes_little_beside_its_size_is_scaled() -> None:
    seconds = 1.7e9 + np.arange(100.0)[:, None] * 1e-3
    np.testing.assert_allclose(Scaling.of(seconds).deviation, (seconds - 1.7e9).std(), rtol=1e-4)
