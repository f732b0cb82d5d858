"""`accelerate` on layers of classes that somebody derived from torch.nn's: what is their own stays theirs."""

import copy
import pickle
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import gatewright as gw
from gatewright.errors import OptionError
from gatewright.nn import accelerate
from tests.parity.assertions import assert_parity

STEPS, BATCH, INPUT, HIDDEN = 5, 3, 2, 4


class Flexible(ABC, nn.RNNBase):
    """As the layers of a library for forecasts: lengths in the call, an abstract base beside torch.nn's."""

    @abstractmethod
    def start(self, x: Tensor) -> Any: ...

    def forward(self, x: Tensor, hx: Any = None, lengths: Tensor | None = None) -> Any:
        hx = self.start(x) if hx is None else hx
        if lengths is None:
            return super().forward(x, hx=hx)
        packed = pack_padded_sequence(x, lengths, enforce_sorted=False, batch_first=self.batch_first)
        output, last = super().forward(packed, hx=hx)
        return pad_packed_sequence(output, batch_first=self.batch_first)[0], last


class FlexibleLSTM(Flexible, nn.LSTM):
    def start(self, x: Tensor) -> tuple[Tensor, Tensor]:
        shape = self.num_layers, x.shape[0] if self.batch_first else x.shape[1], self.hidden_size
        return torch.full(shape, 0.5), torch.full(shape, -0.5)


class WithHelpers(nn.GRU):
    """A class whose forward is torch.nn's."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.head, self.calls = nn.Linear(HIDDEN, 1), 0
        self.register_buffer("seen", torch.zeros(1))

    def initial(self) -> Tensor:
        return torch.zeros(1)


class OfItsOwn(nn.GRU):
    def forward(self, input: Tensor, hx: Any = None) -> Any:
        return input * 2, hx


class CallsByName(nn.GRU):
    def forward(self, input: Tensor, hx: Any = None) -> Any:
        return nn.GRU.forward(self, input, hx)


class ChecksNothing(nn.GRU):
    def check_forward_args(self, *given: Any) -> None: ...


def model() -> nn.ModuleDict:
    flexible = FlexibleLSTM(INPUT, HIDDEN, 2, batch_first=True)
    return nn.ModuleDict({"flexible": flexible, "helpers": WithHelpers(INPUT, HIDDEN)})


def outcome(model: nn.Module, x: Tensor) -> list[Tensor]:
    lengths = torch.tensor([2, 5, 1]) if x.shape[0] == BATCH else None
    found = [*model["flexible"](x, lengths=lengths), *model["helpers"](x.transpose(0, 1))]
    tensors = [one for each in found for one in (each if isinstance(each, tuple) else (each,))]
    used = [p for name, p in model.named_parameters() if "head" not in name]
    return [*tensors, *torch.autograd.grad(sum(one.square().sum() for one in tensors), used)]


def check_same(model: nn.Module, other: nn.Module) -> None:
    x = torch.randn(BATCH, STEPS, INPUT)
    assert_parity(outcome(model, x), outcome(other, x), dtype="float32", steps=STEPS)


def runs_of_the_engine(monkeypatch: pytest.MonkeyPatch) -> list[gw.nn.Recurrent]:
    """The layers of gatewright.nn that are called from now on."""
    called: list[gw.nn.Recurrent] = []
    forward = gw.nn.Recurrent.forward

    def remember(self: gw.nn.Recurrent, *given: Any, **options: Any) -> Any:
        called.append(self)
        return forward(self, *given, **options)

    monkeypatch.setattr(gw.nn.Recurrent, "forward", remember)
    return called


def test_they_stay_what_they_are_and_run_on_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = model()
    theirs, layers, parameters = copy.deepcopy(ours), list(ours.values()), list(ours.parameters())
    report = accelerate(ours)
    assert str(report) == (
        "flexible (FlexibleLSTM): swapped, llvm: compiled for this processor; "
        "it stays a FlexibleLSTM, whose calls of torch's forward run so\n"
        "helpers (WithHelpers): swapped, llvm: compiled for this processor; "
        "it stays a WithHelpers, whose calls of torch's forward run so"
    )
    assert list(ours.values()) == layers
    assert isinstance(ours["flexible"], FlexibleLSTM)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert all(a is b for a, b in zip(ours.parameters(), parameters, strict=True))
    assert repr(ours) == repr(theirs)
    called = runs_of_the_engine(monkeypatch)
    check_same(ours, theirs)
    assert len(called) == 2
    assert str(accelerate(ours)) == "the model has no recurrent layer"
    report.undo()
    assert [type(layer) for layer in ours.values()] == [FlexibleLSTM, WithHelpers]
    assert not any("gatewright" in name for layer in layers for name in vars(layer))
    check_same(ours, theirs)
    assert len(called) == 2


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))], ids=["copy", "pickle"]
)
def test_copies_share_nothing_and_run_on_the_engine_too(
    copied: Callable[[nn.Module], nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = model()
    ours = copy.deepcopy(theirs)
    accelerate(ours)
    other = copied(ours)
    with torch.no_grad():
        ours["helpers"].weight_hh_l0.zero_()
    called = runs_of_the_engine(monkeypatch)
    check_same(other, theirs)
    assert len(called) == 2


def test_what_is_done_to_them_afterwards_counts() -> None:
    ours = model()
    theirs = copy.deepcopy(ours)
    accelerate(ours)
    for one in (ours, theirs):
        one["flexible"].weight_hh_l1 = nn.Parameter(torch.ones(4 * HIDDEN, HIDDEN))
        one["helpers"].load_state_dict({n: p + 0.25 for n, p in one["helpers"].state_dict().items()}, assign=True)
        torch.manual_seed(1)
        parametrizations.weight_norm(one["helpers"], "weight_hh_l0")
    check_same(ours, theirs)
    x = torch.randn(STEPS, BATCH, INPUT)
    weights = {"weight_ih_l0": torch.zeros(3 * HIDDEN, INPUT)}
    results = [torch.func.functional_call(one["helpers"], weights, (x,))[0] for one in (ours, theirs)]
    assert_parity(*results, dtype="float32", steps=STEPS)
    for one in (ours, theirs):
        one.eval().double()
    states = (torch.zeros(2, BATCH, HIDDEN, dtype=torch.float64),) * 2
    results = [one["flexible"](x.transpose(0, 1).double(), states)[0] for one in (ours, theirs)]
    assert_parity(*results, dtype="float64", steps=STEPS)


def test_dropout_follows_the_module() -> None:
    ours = nn.ModuleDict({"layer": FlexibleLSTM(INPUT, HIDDEN, 2, dropout=0.5)})
    accelerate(ours)
    x = torch.randn(STEPS, BATCH, INPUT)
    assert not torch.equal(ours["layer"](x)[0], ours["layer"](x)[0])
    ours.eval()
    assert torch.equal(ours["layer"](x)[0], ours["layer"](x)[0])
    ours.train()["layer"].dropout = 0.0
    assert torch.equal(ours["layer"](x)[0], ours["layer"](x)[0])


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (OfItsOwn, "it is a subclass whose own forward does not call super().forward"),
        (CallsByName, "it is a subclass whose own forward does not call super().forward"),
        (ChecksNothing, "it is a subclass that overrides check_forward_args, which torch's forward calls"),
    ],
)
def test_what_the_engine_would_not_see_is_left(kind: type[nn.GRU], reason: str) -> None:
    layer = kind(INPUT, HIDDEN)
    (swap,) = accelerate(nn.Sequential(layer)).swaps
    assert (swap.swapped, swap.reason) == (False, reason)
    assert type(layer) is kind


def test_one_alone_and_one_that_cannot_be() -> None:
    alone = WithHelpers(INPUT, HIDDEN)
    assert accelerate(alone).swaps[0].swapped
    elsewhere = nn.Sequential(WithHelpers(INPUT, HIDDEN), WithHelpers(HIDDEN, HIDDEN).to("meta"))
    assert [swap.swapped for swap in accelerate(elsewhere).swaps] == [True, False]
    with pytest.raises(OptionError, match="got: the tensors are on meta"):
        accelerate(nn.Sequential(WithHelpers(INPUT, HIDDEN), WithHelpers(HIDDEN, HIDDEN).to("meta")), backend="llvm")
