"""`accelerate` swaps a model's recurrent layers: the same numbers, the very same parameters, and a way back."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from gatewright.errors import OptionError
from gatewright.nn import GRU, LSTM, RNN, GRUCell, LSTMCell, Recurrent, RNNCell, accelerate
from gatewright.nn.accelerate import accelerate_recurrent
from gatewright.nn.backends import Plan
from tests.parity.assertions import assert_parity

COMPUTED = "its weights are not parameters of its own (weight norm, weight drop, pruning or the like)"


class Tagger(nn.Module):
    """A model as people write them: layers of several kinds, one of them in two places."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(10, 8)
        self.encoder = nn.LSTM(8, 6, 2, bidirectional=True, batch_first=True, dropout=0.5)
        self.decoder = nn.Sequential(nn.GRU(12, 5, batch_first=True))
        self.again = self.decoder[0]
        self.plain = nn.RNN(5, 4, nonlinearity="relu", batch_first=True)
        self.cell = nn.GRUCell(4, 3)
        self.normed = parametrizations.weight_norm(nn.RNN(3, 4), "weight_hh_l0")

    def forward(self, symbols: Tensor) -> Tensor:
        encoded, _ = self.encoder(self.embedding(symbols))
        decoded, _ = self.decoder(encoded)
        plain, _ = self.plain(decoded)
        return self.cell(plain[:, -1])


@pytest.fixture
def model() -> Tagger:
    return Tagger().eval()


def test_the_numbers_stay_the_same(model: Tagger) -> None:
    symbols = torch.randint(0, 10, (3, 7))
    before = copy.deepcopy(model)
    accelerate(model)
    assert_parity(model(symbols), before(symbols).detach(), dtype="float32", steps=28)
    model(symbols).sum().backward()
    before(symbols).sum().backward()
    for (name, got), (_, want) in zip(model.named_parameters(), before.named_parameters(), strict=True):
        if want.grad is not None:
            assert_parity(got.grad, want.grad, dtype="float32", steps=28, cell=name)


def test_the_parameters_are_the_very_same(model: Tagger) -> None:
    parameters = {name: id(parameter) for name, parameter in model.named_parameters()}
    state = list(model.state_dict())
    accelerate(model)
    assert {name: id(parameter) for name, parameter in model.named_parameters()} == parameters
    assert list(model.state_dict()) == state
    assert (type(model.encoder), type(model.decoder[0]), type(model.plain)) == (LSTM, GRU, RNN)
    assert model.again is model.decoder[0]


def test_an_optimizer_that_was_made_before_goes_on(model: Tagger) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    symbols = torch.randint(0, 10, (3, 7))
    accelerate(model)
    before = model(symbols).detach()
    model(symbols).sum().backward()
    optimizer.step()
    assert (model(symbols) - before).abs().max() > 1e-4


def test_the_report_names_every_recurrent_module(model: Tagger) -> None:
    report = accelerate(model)
    assert {swap.name: swap.swapped for swap in report.swaps} == {
        "encoder": True,
        "decoder.0": True,
        "again": True,
        "plain": True,
        "cell": True,
        "normed": False,
        "embedding": True,
    }
    lines = str(report).splitlines()
    assert "encoder (LSTM): swapped, llvm: compiled for this processor" in lines
    assert "cell (GRUCell): swapped, llvm: compiled for this processor" in lines
    assert f"normed (ParametrizedRNN): left, {COMPUTED}" in lines


def test_undo_puts_everything_back(model: Tagger) -> None:
    encoder = model.encoder
    report = accelerate(model)
    model.train()
    report.undo()
    assert model.encoder is encoder
    assert encoder.training
    assert type(model.decoder[0]) is nn.GRU
    assert model.again is model.decoder[0]


def test_hooks_and_modes_are_kept(model: Tagger) -> None:
    seen: list[tuple[int, ...]] = []
    model.plain.register_forward_hook(lambda module, given, result: seen.append(tuple(result[0].shape)))
    model.encoder.train()
    accelerate(model)
    model(torch.randint(0, 10, (3, 7)))
    assert seen == [(3, 7, 4)]
    assert model.encoder.training
    assert not model.plain.training


def test_a_layer_without_an_owner_is_left() -> None:
    report = accelerate(nn.GRU(2, 3))
    assert str(report) == (
        "the model itself (GRU): left, it has no owner to be replaced in: "
        "make it a part of a module, or use gatewright.nn's layer"
    )


def test_a_model_without_recurrent_layers_has_an_empty_report() -> None:
    assert str(accelerate(nn.Sequential(nn.Linear(2, 3)))) == "the model has no recurrent layer"


def test_a_transformer_of_torchs_own_is_left_alone() -> None:
    model = nn.Sequential(nn.TransformerEncoderLayer(8, 2, batch_first=True), nn.LSTM(8, 4, batch_first=True))
    report = accelerate(model)
    assert [(swap.name, swap.swapped) for swap in report.swaps] == [("1", True)]


class Decoder(nn.Module):
    """Cells of every kind, called in a loop."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.LSTMCell(3, 5)
        self.others = nn.ModuleList([nn.GRUCell(5, 4, bias=False), nn.RNNCell(4, 4, nonlinearity="relu")])

    def forward(self, x: Tensor) -> Tensor:
        first, second, third, seen = None, None, None, []
        for step in x:
            first = self.first(step, first)
            second = self.others[0](first[0], second)
            third = self.others[1](second, third)
            seen.append(third)
        return torch.stack(seen)


def test_cells_are_swapped() -> None:
    model, x = Decoder(), torch.randn(6, 2, 3)
    before = copy.deepcopy(model)
    assert str(accelerate(model)).splitlines() == [
        "first (LSTMCell): swapped, llvm: compiled for this processor",
        "others.0 (GRUCell): swapped, llvm: compiled for this processor",
        "others.1 (RNNCell): swapped, llvm: compiled for this processor",
    ]
    assert_parity(model(x).detach(), before(x).detach(), dtype="float32", steps=6)


def test_cells_are_swapped_where_the_engine_is_asked_for_by_name() -> None:
    model, x = Decoder(), torch.randn(6, 2, 3)
    before, cells = copy.deepcopy(model), [*model.children()]
    parameters = {name: id(parameter) for name, parameter in model.named_parameters()}
    report = accelerate(model, backend="llvm")
    assert [(swap.name, swap.swapped) for swap in report.swaps] == [
        ("first", True),
        ("others.0", True),
        ("others.1", True),
    ]
    assert str(report.swaps[1]) == "others.0 (GRUCell): swapped, llvm: compiled for this processor; asked for by name"
    assert (type(model.first), type(model.others[0]), type(model.others[1])) == (LSTMCell, GRUCell, RNNCell)
    assert {name: id(parameter) for name, parameter in model.named_parameters()} == parameters
    assert list(model.state_dict()) == list(before.state_dict())
    (model(x) ** 2).sum().backward()
    (before(x) ** 2).sum().backward()
    assert_parity(model(x), before(x).detach(), dtype="float32", steps=6)
    for (name, got), (_, want) in zip(model.named_parameters(), before.named_parameters(), strict=True):
        assert_parity(got.grad, want.grad, dtype="float32", steps=6, cell=name)
    assert accelerate(model, backend="llvm").swaps == ()
    report.undo()
    assert [*model.children()] == cells
    assert type(model.others[1]) is nn.RNNCell


def test_a_cell_with_a_weight_of_another_kind_is_left() -> None:
    cell = nn.GRUCell(3, 4)
    del cell._parameters["weight_hh"]
    cell.weight_hh_original = nn.Parameter(torch.zeros(12, 4))
    (swap,) = accelerate(nn.Sequential(cell), backend="llvm").swaps
    assert swap.reason == COMPUTED


def test_handles_of_hooks_remove_them_before_and_after_undo() -> None:
    model, calls = nn.Sequential(nn.GRU(2, 3)), []
    old = model[0].register_forward_hook(lambda *given, **named: calls.append("old"), with_kwargs=True)
    report = accelerate(model)
    new = model[0].register_forward_pre_hook(lambda *given: calls.append("new"))
    model(torch.zeros(1, 1, 2))
    assert calls == ["new", "old"]
    old.remove()
    report.undo()
    model(torch.zeros(1, 1, 2))
    assert calls == ["new", "old", "new"]
    new.remove()
    model(torch.zeros(1, 1, 2))
    assert calls == ["new", "old", "new"]


def test_what_the_engine_cannot_run_is_left() -> None:
    model = nn.Sequential(nn.LSTM(2, 3, device="meta"), nn.GRU(3, 3, device="meta"), nn.RNN(3, 2))
    before = [*model]
    report = accelerate(model)
    assert str(report) == (
        "0 (LSTM): left, the compiled engine cannot run this: the tensors are on meta; torch.lstm runs it (cuDNN on "
        "CUDA); masks, resets, gates and second derivatives go operation by operation\n"
        "1 (GRU): left, the compiled engine cannot run this: the tensors are on meta; torch.gru runs it (cuDNN on "
        "CUDA); masks, resets, gates and second derivatives go operation by operation\n"
        "2 (RNN): swapped, llvm: compiled for this processor"
    )
    report.undo()
    with pytest.raises(OptionError, match="the tensors are on meta"):
        accelerate(nn.Sequential(before[2], before[0]), backend="llvm")
    assert [*model] == before


@pytest.mark.parametrize("backend", ["triton", "llvm"])
def test_a_model_on_an_engine_is_the_model(backend: str) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.step = nn.LSTM(2, 3, 2, bidirectional=True), nn.GRUCell(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            state = None
            for line in self.rnn(x)[0]:
                state = self.step(line, state)
            assert state is not None
            return state

    def computed() -> list[Tensor]:
        output = model(x)
        return [output.detach(), *torch.autograd.grad(output.square().sum(), list(model.parameters()))]

    model, x = Model().double(), torch.randn(3, 2, 2, dtype=torch.float64)
    want = computed()
    report = accelerate(model, backend)
    assert [swap.reason.partition(":")[0] for swap in report.swaps] == [backend, backend]
    assert_parity(computed(), want, dtype="float64", steps=6)
    report.undo()
    assert isinstance(model.rnn, nn.LSTM)


def test_auto_swaps_what_tritons_kernels_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Recurrent, "plan", lambda _: Plan("triton", "kernels for this GPU; cuDNN cannot: it is off"))
    model = nn.Sequential(nn.GRU(2, 3))
    assert str(accelerate_recurrent(model)) == (
        "0 (GRU): swapped, triton: kernels for this GPU; cuDNN cannot: it is off"
    )


def test_full_backward_hooks_are_kept() -> None:
    model, seen = nn.Sequential(nn.GRU(2, 3)), []
    model[0].register_full_backward_hook(lambda module, given, of: seen.append(tuple(given[0].shape)))
    accelerate(model)
    model(torch.zeros(4, 1, 2, requires_grad=True))[0].sum().backward()
    assert seen == [(4, 1, 2)]
