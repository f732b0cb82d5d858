"""The measures of a page are those of the model, computed by hand here, and their work is bounded."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
import torch
from torch import nn

import gatewright as gw
from gatewright.inspect import record
from gatewright.inspect.gradients.reading import readings
from gatewright.look.contributions import LAGS
from gatewright.look.described_extras import described_extras
from gatewright.look.extras import Extras, MemoryCurve
from gatewright.look.measured import carries, measured
from gatewright.look.page import observed
from gatewright.look.quantised import Blob
from gatewright.tasks.training.gradient_records import WatchedGradients
from gatewright.tasks.training.gradient_sweep import LayerNorms, StepNorms
from tests.quick_runs import QuickRun

SYMBOLS = 7


class Reader(nn.Module):
    """Symbols (time, batch) -> scores of each symbol at each step, or of the row."""

    def __init__(self, *, both: bool = False, pooled: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encode = nn.Embedding(SYMBOLS, 5)
        self.recurrent = nn.GRU(5, 6, bidirectional=both)
        self.output = nn.Linear(12 if both else 6, SYMBOLS)
        self.pooled = pooled

    def forward(self, symbols: torch.Tensor) -> torch.Tensor:
        return self.scores(self.encode(symbols))

    def scores(self, vectors: torch.Tensor) -> torch.Tensor:
        hidden, _ = self.recurrent(vectors)
        return self.output(hidden[-1] if self.pooled else hidden)


def extras_of(model: nn.Module, values: torch.Tensor, **options: Any) -> Extras:
    return measured(model, record(model, values), readings(model, values), steps=len(values), **options)


def norms_by_hand(model: Reader, symbols: torch.Tensor, step: int) -> np.ndarray:
    """The norm of the derivative of the highest score at a step by the vector of each symbol."""
    vectors = model.encode(symbols).detach().requires_grad_()
    scores = model.scores(vectors)
    chosen = scores[0] if model.pooled else scores[step, 0]
    chosen.max().backward()
    assert vectors.grad is not None
    return vectors.grad[:, 0].norm(dim=-1).numpy()


def test_contributions_of_each_step_by_lag() -> None:
    model, symbols = Reader(), torch.randint(SYMBOLS, (50, 1))
    found = extras_of(model, symbols).contributions[0]
    assert (found.by_lag, found.values.shape) == (True, (50, LAGS + 1))
    for step in (0, 10, 49):
        expected = norms_by_hand(model, symbols, step)
        for lag in range(min(step, LAGS) + 1):
            assert found.values[step, lag] == pytest.approx(expected[step - lag], rel=1e-4, abs=1e-9)


def test_contributions_of_a_layer_that_reads_both_ways_are_those_of_all_steps() -> None:
    model, symbols = Reader(both=True), torch.randint(SYMBOLS, (9, 1))
    extras = extras_of(model, symbols)
    assert not extras.contributions[0].by_lag
    for step in range(9):
        expected = norms_by_hand(model, symbols, step)
        np.testing.assert_allclose(extras.contributions[0].values[step], expected, rtol=1e-4)
    assert list(extras.effective_memory) == ["output"]
    assert "both ends" in extras.dynamics[0].note


def test_contributions_of_one_answer_a_row() -> None:
    model, symbols = Reader(pooled=True), torch.randint(SYMBOLS, (9, 3))
    found = extras_of(model, symbols).contributions
    assert sorted(found) == [0, 1, 2]
    for row in range(3):
        expected = norms_by_hand(model, symbols[:, [row]], 8)
        np.testing.assert_allclose(found[row].values, expected[None], rtol=1e-4)


def test_the_work_is_bounded() -> None:
    model, symbols = Reader(), torch.randint(SYMBOLS, (50, 4))
    assert sorted(extras_of(model, symbols, work=2 * 50 * (LAGS + 1)).contributions) == [0, 1]
    cut = extras_of(model, symbols, work=60 * (LAGS + 1)).contributions
    assert [len(own.values) for own in cut.values()] == [50, 10]
    pooled = Reader(pooled=True)
    assert sorted(extras_of(pooled, symbols, work=150).contributions) == [0, 1, 2]
    nothing = extras_of(model, symbols, gradients=False)
    assert (nothing.contributions, nothing.effective_memory) == ({}, {})


def test_a_forecast_has_the_contributions_of_each_step_ahead(quick_run: QuickRun) -> None:
    run = gw.tasks.open(quick_run("series")[1])
    seen, extras = observed(run, None, rows=1, steps=2000, gradients=True)
    assert seen.outputs is not None
    found, horizon = extras.contributions[0], len(seen.outputs)
    assert found.values.shape == (horizon, seen.steps)
    assert found.first == seen.steps - horizon
    for step in (0, horizon - 1):
        expected = gw.inspect.saliency(run, step=step).norms[:, 0]
        np.testing.assert_allclose(found.values[step], expected, rtol=1e-4, atol=1e-9)


def test_eigenvalues_are_those_at_a_fixed_point() -> None:
    torch.manual_seed(0)
    layer = nn.RNN(2, 4)
    values = torch.randn(30, 1, 2)
    (found,) = extras_of(layer, values).dynamics
    weight, recurrent = (parameter.detach().double().numpy() for parameter in (layer.weight_ih_l0, layer.weight_hh_l0))
    bias = (layer.bias_ih_l0 + layer.bias_hh_l0).detach().double().numpy()
    constant, state = values.mean((0, 1)).double().numpy(), np.zeros(4)
    for _ in range(10_000):
        state = np.tanh(weight @ constant + recurrent @ state + bias)
    expected = np.linalg.eigvals((1 - state**2)[:, None] * recurrent)
    assert (found.layer, found.read, found.is_fixed) == ("", "", True)
    np.testing.assert_allclose(np.sort(np.abs(found.eigenvalues)), np.sort(np.abs(expected)), rtol=1e-5)
    assert len(found.exponents) == 4
    assert (np.diff(found.exponents) <= 0).all()


def test_carries_are_those_of_arithmetic() -> None:
    draw = np.random.default_rng(0).integers(0, 1 << 10, (20, 2)).tolist()
    for first, second in draw:
        bits = np.array([[first >> place & 1, second >> place & 1] for place in range(12)])
        expected = [(first % (2 << place) + second % (2 << place)) >> (place + 1) for place in range(12)]
        assert carries(bits).tolist() == expected


def test_the_carry_and_the_drift_of_an_adding_model(quick_run: QuickRun) -> None:
    run = gw.tasks.open(quick_run("adding")[1])
    seen, extras = observed(run, [(1000, 24), (512, 512)], rows=4, steps=2000, gradients=False)
    assert extras.carry is not None
    held = extras.carry.held
    assert held.direction_score > held.baseline
    state = seen.layer(held.layer).values(held.state)
    for row, length in enumerate(seen.lengths):
        expected = state[:length, row].astype(np.float64) @ held.direction + held.offset
        np.testing.assert_allclose(extras.carry.read[row], expected)
    assert [own.trained for own in extras.drifts] == [run.model.recipe.bits]
    header = described_extras(extras, seen.lengths, Blob())
    assert header["carry"]["carries"]["1"] == [0] * 9 + [1, 0, 0]


def test_norms_are_kept_as_powers_of_ten() -> None:
    norms = np.array([[1.0, 0.5, 0.0], [1e-3, np.nan, 1e-20]])
    blob = Blob()
    curve = MemoryCurve(np.ones(2), norms.T, "l0")
    (memory,) = described_extras(Extras(effective_memory={"l0": curve}), [1], blob)["effectiveMemory"]
    table = memory["units"]
    levels = np.frombuffer(blob.content(), np.uint8)[table["offset"] :].reshape(2, 3)
    assert levels[0, 2] == levels[1, 1] == levels[1, 2] == 0
    powers = table["low"] + (levels - 1.0) * (table["high"] - table["low"]) / 254
    half_a_level = (table["high"] - table["low"]) / 254 / 2
    np.testing.assert_allclose(powers[levels > 0], np.log10([1.0, 0.5, 1e-3]), atol=half_a_level * 1.001)


def test_gradients_of_a_watched_training(tmp_path: Path) -> None:
    run = gw.tasks.train("longlag", out=tmp_path / "run", quick=True, watch=2, epochs=2, iterations=4, hidden=8, lag=5)
    last = gw.inspect.watched_gradients(run)[-1]
    blob = Blob()
    sequence = np.stack([np.full(8, 0.5), np.arange(8) < 2], 1)
    _, extras = observed(run, [sequence], rows=1, steps=100, gradients=False)
    training = described_extras(extras, [8], blob)["training"]
    assert training["iterations"][-1] == last.iteration
    (layer,) = last.layers
    named = {(part["kind"], part["name"]): part for part in training["values"]}
    assert {name for kind, name in named if kind == "gate"} == set(last.layers[layer].gates)
    table = named["state", "h"]["lags"]
    line = len(training["iterations"]) - 1
    levels = np.frombuffer(blob.content(), np.uint8)[table["offset"] :][line * table["width"] :][: table["width"]]
    powers = table["low"] + (levels - 1.0) * (table["high"] - table["low"]) / 254
    expected = last.layers[layer].states["h"].by_lag
    np.testing.assert_allclose(powers, np.log10(expected), atol=(table["high"] - table["low"]) / 500)


def test_a_resumed_training_that_measured_other_lags_is_shown_as_a_whole() -> None:
    def norms(*values: float) -> StepNorms:
        return StepNorms(np.array(values)[::-1], np.array(values))

    def measured_at(iteration: int, places: list[int], **states: StepNorms) -> WatchedGradients:
        numbers = np.array(places)
        return WatchedGradients(iteration, numbers, numbers, {"l0": LayerNorms(states, {})})

    before = measured_at(1, [0, 1, 2], h=norms(1.0, 0.1, 0.01))
    after = measured_at(5, [0, 2, 4], h=norms(1.0, 0.1, 1e-3), c=norms(1.0, 1.0, 1.0))
    blob = Blob()
    training = described_extras(Extras(training=(before, after)), [4], blob)["training"]
    assert training["iterations"] == [1, 5]
    assert training["lags"] == training["steps"] == [0, 1, 2, 4]
    assert training["last"] == {"lags": [0, 2, 3], "steps": [0, 2, 3]}

    def powers(part: int) -> np.ndarray:
        table = training["values"][part]["lags"]
        levels = np.frombuffer(blob.content(), np.uint8)[table["offset"] :][: 2 * table["width"]].reshape(2, -1)
        found = table["low"] + (levels - 1.0) * (table["high"] - table["low"]) / 254
        return np.where(levels > 0, found, np.nan)

    assert [part["name"] for part in training["values"]] == ["h", "c"]
    half_a_level = (0 - -3) / 254 / 2  # values from -3 to 0 lie on 255 levels
    np.testing.assert_allclose(powers(0), [[0, -1, -2, np.nan], [0, np.nan, -1, -3]], atol=half_a_level)
    np.testing.assert_allclose(powers(1), [[np.nan] * 4, [0, np.nan, 0, 0]], atol=half_a_level)
