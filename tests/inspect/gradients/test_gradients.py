"""Saliency, integrated gradients and effective memory, against difference quotients and Jacobians of small nets."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
import torch
from torch import Tensor, nn

import gatewright as gw
from gatewright.errors import OptionError
from gatewright.inspect import (
    compare_memory,
    effective_memory,
    integrated_gradients,
    saliency,
    saliency_by_lag,
)
from tests.quick_runs import QuickRun

STEP = 1e-6
SYMBOLS = 7


class Tagger(nn.Module):
    """Symbols or numbers -> scores of three outputs at each step."""

    def __init__(self, kind: Any, *, embed: bool, batch_first: bool = False, layers: int = 1, **options: Any) -> None:
        super().__init__()
        self.embed = nn.Embedding(SYMBOLS, 2) if embed else nn.Identity()
        self.rnn = kind(2, 4, layers, batch_first=batch_first, **options)
        self.out = nn.Linear(8 if options else 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.out(self.rnn(self.embed(x))[0]))


class Classifier(Tagger):
    """The scores after the last step."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)[-1]


def made(kind: Any, model: Any = Tagger, **options: Any) -> Any:
    torch.manual_seed(0)
    network = model(kind, **options).double()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.7)
    return network


def numbers(steps: int, rows: int = 2) -> Tensor:
    return torch.randn(steps, rows, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def symbols(steps: int, rows: int = 2) -> Tensor:
    return torch.randint(SYMBOLS, (steps, rows), generator=torch.Generator().manual_seed(1))


def difference_quotients(function: Callable[[Tensor], Tensor], read: Tensor) -> np.ndarray:
    """The Jacobian of a function (values,) at what was read: (values, time, rows, features)."""
    columns = []
    with torch.no_grad():
        for place in range(read.numel()):
            ends = [read.clone(), read.clone()]
            for end, sign in zip(ends, (1, -1), strict=True):
                end.view(-1)[place] += sign * STEP
            columns.append((function(ends[0]) - function(ends[1])) / (2 * STEP))
    return torch.stack(columns, -1).reshape(-1, *read.shape).numpy()


KINDS = [nn.RNN, nn.GRU, nn.LSTM, gw.nn.GRU, gw.nn.LSTM]


@pytest.mark.parametrize("kind", KINDS)
def test_saliency_is_the_difference_quotient(kind: Any) -> None:
    model, x = made(kind, embed=False), numbers(6)
    found = saliency(model, x, output=1, step=3)
    expected = difference_quotients(lambda read: model(read)[3, :, 1].sum()[None], x)[0]
    np.testing.assert_allclose(found.gradient, expected, atol=1e-8)
    np.testing.assert_allclose(found.norms, np.sqrt((expected**2).sum(-1)), atol=1e-8)
    np.testing.assert_allclose(found.products, (expected * x.numpy()).sum(-1), atol=1e-8)
    np.testing.assert_allclose(found.outputs, model(x)[3, :, 1].detach())
    assert found.steps is not None
    assert found.steps.tolist() == [3, 3]


@pytest.mark.parametrize("kind", [nn.GRU, gw.nn.LSTM])
def test_symbols_are_differentiated_by_their_vectors(kind: Any) -> None:
    model, x = made(kind, embed=True), symbols(6)
    vectors = model.embed(x).detach()
    found = saliency(model, x, output=2)
    expected = difference_quotients(
        lambda read: torch.tanh(model.out(model.rnn(read)[0]))[-1, :, 2].sum()[None], vectors
    )
    np.testing.assert_allclose(found.gradient, expected[0], atol=1e-8)
    np.testing.assert_array_equal(found.read, vectors)


def test_the_highest_output_is_taken_by_default() -> None:
    model, x = made(nn.GRU, Classifier, embed=True), symbols(6, 5)
    found = saliency(model, x)
    highest = model(x).max(-1)
    np.testing.assert_array_equal(found.chosen, highest.indices)
    np.testing.assert_allclose(found.outputs, highest.values.detach())
    assert found.steps is None


def test_steps_are_counted_from_the_end_of_each_row() -> None:
    model, x = made(nn.GRU, embed=False), numbers(6)
    found = saliency(model, x, output=0, step=-2, lengths=[6, 3])
    expected = difference_quotients(lambda read: (model(read)[4, 0, 0] + model(read)[1, 1, 0])[None], x)[0]
    np.testing.assert_allclose(found.gradient[:, 0], expected[:, 0], atol=1e-8)
    np.testing.assert_allclose(found.gradient[:3, 1], expected[:3, 1], atol=1e-8)
    assert np.isnan(found.gradient[3:, 1]).all()


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("embed", [False, True])
@pytest.mark.parametrize("kind", [nn.LSTM, gw.nn.GRU])
def test_shares_add_up_to_the_difference(kind: Any, embed: bool, batch_first: bool) -> None:
    model = made(kind, embed=embed, batch_first=batch_first)
    x = symbols(6) if embed else numbers(6)
    found = integrated_gradients(model, x.transpose(0, 1) if batch_first else x, output=1, points=40)
    read = model.embed(x).detach()
    ends = [torch.tanh(model.out(model.rnn(run)[0])) for run in [value.transpose(0, 1) for value in (read, 0 * read)]]
    if not batch_first:
        ends = [torch.tanh(model.out(model.rnn(run)[0])) for run in (read, 0 * read)]
    last = [(end[:, -1] if batch_first else end[-1])[:, 1].detach().numpy() for end in ends]
    np.testing.assert_allclose(found.difference, last[0] - last[1], atol=1e-12)
    np.testing.assert_allclose(found.values.sum((0, 2)), last[0] - last[1], atol=1e-7)
    np.testing.assert_allclose(found.error, 0, atol=1e-7)
    np.testing.assert_array_equal(found.by_step, found.values.sum(-1))


def test_shares_are_those_of_equal_steps_along_the_line() -> None:
    model, x = made(nn.GRU, embed=False), numbers(5)
    baseline = torch.full_like(x, 0.3)
    many = 400
    total = np.zeros(x.shape)
    for place in range(many):
        point = (baseline + (place + 0.5) / many * (x - baseline)).requires_grad_()
        total += torch.autograd.grad(model(point)[-1, :, 0].sum(), point)[0].numpy() / many
    found = integrated_gradients(model, x, output=0, baseline=0.3)
    np.testing.assert_allclose(found.values, total * (x - baseline).numpy(), atol=1e-5)


def test_more_points_are_taken_until_shares_add_up_and_a_warning_says_where_they_do_not() -> None:
    model, x = made(nn.RNN, embed=False), 40 * numbers(12, 3)  # far from 0 tanh is a step: few points miss it
    with pytest.warns(UserWarning, match=r"the shares of rows .* do not add up to the difference of outputs"):
        few = integrated_gradients(model, x, output=0, points=3)
    assert np.abs(few.error).max() > 0.01 * np.abs(few.difference).max()
    shares = integrated_gradients(model, 4 * numbers(12, 3), output=0)
    assert (np.abs(shares.error) <= 0.01 * np.abs(shares.difference) + 1e-5 * np.abs(shares.outputs)).all()


def test_a_linear_output_is_shared_out_by_one_point() -> None:
    class Linear(Tagger):
        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.rnn(x)[0] * 0 + x.repeat(1, 1, 2))

    model, x = made(nn.GRU, Linear, embed=False), numbers(3)
    found = integrated_gradients(model, x, output=0, points=1)
    weight = model.out.weight[0].detach().numpy()
    np.testing.assert_allclose(found.values[-1], (weight[:2] + weight[2:]) * x[-1].numpy())
    assert not found.values[:-1].any()


@pytest.mark.parametrize("lags", [2, 50])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, gw.nn.GRU, gw.nn.LSTM])
def test_saliency_by_lag_is_that_of_the_whole_row(kind: Any, layers: int, lags: int) -> None:
    model, x = made(kind, embed=True, layers=layers), symbols(9)
    found = saliency_by_lag(model, x, lags=lags, row=1, output=2)
    assert found.values.shape == (9, lags + 1)
    for step in range(9):
        norms = saliency(model, x, output=2, step=step).norms[:, 1]
        for lag in range(lags + 1):
            if lag > step:
                assert np.isnan(found.values[step, lag])
            else:
                assert found.values[step, lag] == pytest.approx(norms[step - lag], abs=1e-7)


def test_a_learned_initial_state_is_that_of_windows_at_the_start() -> None:
    class Started(Tagger):
        def forward(self, x: Tensor) -> Tensor:
            start = torch.ones(1, x.shape[1], 4, dtype=torch.float64)
            return self.out(self.rnn(self.embed(x), start)[0])

    model, x = made(nn.GRU, Started, embed=True), symbols(9)
    found = saliency_by_lag(model, x, lags=2, output=0)
    for step in range(9):
        norms = saliency(model, x, output=0, step=step).norms[:, 0]
        np.testing.assert_allclose(
            found.values[step, : step + 1], norms[step - 2 if step > 1 else 0 : step + 1][::-1][:3]
        )


def test_a_model_that_windows_would_change_is_run_whole() -> None:
    class Convolved(Tagger):
        def forward(self, x: Tensor) -> Tensor:
            vectors = self.embed(x)
            return self.out(self.rnn(vectors.cumsum(0))[0])

    model, x = made(nn.GRU, Convolved, embed=True), symbols(9)
    found = saliency_by_lag(model, x, lags=2, output=0)
    norms = saliency(model, x, output=0, step=7).norms[:, 0]
    np.testing.assert_allclose(found.values[7], norms[[7, 6, 5]])


@pytest.mark.parametrize("lags", [3, 20])
@pytest.mark.parametrize("kind", KINDS)
def test_effective_memory_is_the_mean_norm_of_jacobians(kind: Any, lags: int) -> None:
    model, x = made(kind, embed=True), symbols(8)
    found = effective_memory(model, x, lags=lags, ends=100)
    vectors = model.embed(x).detach()
    first = min(lags, 7)  # of the steps T that have all lags before them
    by_unit, whole = np.zeros((first + 1, 4)), np.zeros(first + 1)
    for end in range(first, 8):
        for row in range(2):
            jacobian = difference_quotients(lambda v, end=end, row=row: model.rnn(v)[0][end, row], vectors)
            for lag in range(first + 1):
                block = jacobian[:, end - lag, row]  # (units, features)
                by_unit[lag] += np.sqrt((block**2).sum(1))
                whole[lag] += np.sqrt((block**2).sum())
    count = 2 * (8 - first)
    np.testing.assert_allclose(found.by_unit[: first + 1], by_unit / count, atol=1e-7)
    np.testing.assert_allclose(found.norms[: first + 1], whole / count, atol=1e-7)
    assert found.ends.tolist() == [count] * (first + 1) + [0] * (lags - first)
    assert np.isnan(found.norms[first + 1 :]).all()
    assert found.layer == "rnn"


def test_memory_of_a_linear_unit_is_a_power() -> None:
    model = nn.RNN(1, 1, bias=False, nonlinearity="relu").double()
    nn.init.constant_(model.weight_ih_l0, 2.0)
    nn.init.constant_(model.weight_hh_l0, 0.5)
    found = effective_memory(model, torch.ones(12, 1, 1, dtype=torch.float64), lags=6)
    np.testing.assert_allclose(found.norms, 2.0 * 0.5 ** np.arange(7))
    assert found.lags.tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert found.reach(0.25) == 2
    assert found.reach(0.2) == 2


def test_memory_of_outputs_of_a_row() -> None:
    model, x = made(nn.GRU, Classifier, embed=False), numbers(5)
    found = effective_memory(model, x, lags=9, of="output")
    jacobian = np.stack([difference_quotients(lambda v, row=row: model(v)[row], x)[:, :, row] for row in range(2)])
    norms = np.sqrt((jacobian**2).sum((1, 3))).mean(0)  # of (rows, outputs, time, features)
    np.testing.assert_allclose(found.norms[:5], norms[::-1], atol=1e-7)
    np.testing.assert_allclose(found.by_unit[:5], np.sqrt((jacobian**2).sum(-1)).mean(0).T[::-1], atol=1e-7)


def test_models_are_compared_by_name() -> None:
    models = {"GRU": made(nn.GRU, embed=False), "LSTM": made(nn.LSTM, embed=False)}
    found = compare_memory(models, numbers(8), lags=3)
    assert list(found) == ["GRU", "LSTM"]
    np.testing.assert_array_equal(found["LSTM"].norms, effective_memory(models["LSTM"], numbers(8), lags=3).norms)


@pytest.mark.parametrize("kind", [nn.LSTM, gw.nn.LSTM])
def test_the_model_is_as_before(kind: Any) -> None:
    model, x = made(kind, embed=True).train(), symbols(9)
    model.rnn.weight_ih_l0.requires_grad_(False)
    flags = [parameter.requires_grad for parameter in model.parameters()]
    model.out.weight.grad = torch.ones_like(model.out.weight)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    drawn = torch.get_rng_state()
    saliency(model, x)
    saliency_by_lag(model, x, lags=2)
    integrated_gradients(model, x)
    effective_memory(model, x, lags=2)
    with pytest.raises(OptionError):
        saliency(model, x, output=99)
    assert all(module.training for module in model.modules())
    assert [parameter.requires_grad for parameter in model.parameters()] == flags
    assert model.rnn.weight_hh_l0.grad is None
    np.testing.assert_array_equal(model.out.weight.grad, 1)
    assert torch.equal(drawn, torch.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    for module in model.modules():
        assert not vars(module)["_forward_pre_hooks"]
        assert not vars(module)["_forward_hooks"]


def test_a_run_is_asked_by_the_names_of_its_data(quick_run: QuickRun) -> None:
    run = gw.tasks.open(quick_run("text")[1])
    found = saliency_by_lag(run, text="the sea and the", lags=4)
    assert found.symbols == list("the sea and the")
    assert found.values.shape == (15, 5)
    label = found.labels[found.chosen[7]]
    whole = saliency(run, text="the sea and the", output=label, step=7)
    np.testing.assert_allclose(found.values[7], whole.norms[3:8, 0][::-1], rtol=1e-4, atol=1e-7)
    memory = effective_memory(run, text="the sea and the", lags=4)
    assert memory.by_unit.shape == (5, 32)


@pytest.mark.parametrize("name", ["texts", "tagging"])
def test_classes_have_names(name: str, quick_run: QuickRun) -> None:
    run = gw.tasks.open(quick_run(name)[1])
    data = ["text number 7", "a text"] if name == "texts" else [["Ada", "saw", "Oslo", "."]]
    label = (run.model.sizes.classes or ())[1]
    found = integrated_gradients(run, data, output=label)
    assert found.labels is not None
    assert {found.labels[place] for place in found.chosen} == {label}
    np.testing.assert_allclose(found.error, 0, atol=1e-4)


def test_a_forecast_is_asked_by_its_steps(quick_run: QuickRun) -> None:
    run = gw.tasks.open(quick_run("series")[1])
    found = integrated_gradients(run, step=0)
    assert found.steps is not None
    assert set(found.steps.tolist()) == {0}
    np.testing.assert_allclose(found.error, 0, atol=0.02 * np.abs(found.difference).max())
    memory = effective_memory(run, lags=35, of="output")
    assert memory.norms[-24:].all()  # the history, before the steps to come


def test_errors_name_what_there_is() -> None:
    model, x = made(nn.GRU, embed=False), numbers(6)
    with pytest.raises(OptionError, match="there is no output 3\n  expected: 0 to 2"):
        saliency(model, x, output=3)
    with pytest.raises(OptionError, match="there is no output 'pos'\n  expected: a number: outputs have no names"):
        saliency(model, x, output="pos")
    with pytest.raises(OptionError, match="there is no step 6\n  expected: -6 to 5 in the shortest row"):
        saliency(model, x, step=6)
    with pytest.raises(OptionError, match="the model gives one answer a row, not one a step"):
        saliency(made(nn.GRU, Classifier, embed=False), x, step=1)
    with pytest.raises(OptionError, match="the model does not give an output for each step that it reads"):
        saliency_by_lag(made(nn.GRU, Classifier, embed=False), x)
    with pytest.raises(OptionError, match="there is no row 2\n  expected: 0 to 1"):
        saliency_by_lag(model, x, row=2)
    with pytest.raises(OptionError, match="no recurrent layer 'lstm'\n  expected: 'rnn'"):
        effective_memory(model, x, layer="lstm")
    with pytest.raises(OptionError, match="the layer 'rnn' depends on both directions"):
        effective_memory(made(nn.GRU, embed=False, bidirectional=True), x)
    with pytest.raises(OptionError, match="the Linear has no recurrent layer"):
        saliency(nn.Linear(2, 3), x)
    with pytest.raises(OptionError, match="a Tagger reads tensors"):
        saliency(model, text="a text")
    with pytest.raises(OptionError, match="the lengths do not fit the data"):
        saliency(model, x, lengths=[6, 7])
    with pytest.raises(OptionError, match="there is no memory of 'gates'"):
        effective_memory(model, x, of="gates")  # pyright: ignore[reportArgumentType]


def test_symbols_without_vectors_of_their_own_are_refused() -> None:
    class OneHot(Tagger):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(nn.functional.one_hot(x, 2).double())

    with pytest.raises(OptionError, match="no module of the OneHot turns symbols into vectors"):
        saliency(made(nn.GRU, OneHot, embed=False), symbols(4) % 2)


def test_a_module_is_given_names() -> None:
    model, x = made(nn.GRU, embed=True), symbols(6)
    names: dict[str, Any] = {"symbols": [list("abcdef"), list("ghijkl")], "labels": ["low", "middle", "high"]}
    found = saliency(model, x, output="middle", **names)
    assert found.chosen.tolist() == [1, 1]
    assert found.symbols == names["symbols"]
    assert saliency_by_lag(model, x, row=1, steps=4, lags=2, **names).symbols == list("ghij")
    with pytest.raises(OptionError, match="there is no output 'top'\n  expected: 'low', 'middle', 'high'"):
        saliency(model, x, output="top", **names)


def test_a_run_has_its_own_names(quick_run: QuickRun) -> None:
    with pytest.raises(OptionError, match="a run knows the lengths, axes and names of its data"):
        saliency(quick_run("text")[1], text="the sea", labels=["a"])
