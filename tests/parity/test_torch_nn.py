"""The drop-ins against torch.nn itself: the same parameters, draws, results and gradients."""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

import gatewright as gw
from tests.parity.assertions import assert_parity

# torch says once that it has no fast form of its projected LSTM.
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN:UserWarning")

INPUT, HIDDEN, STEPS, BATCH = 3, 5, 7, 4
KINDS: dict[str, dict[str, Any]] = {
    "RNN": {},
    "RNN-relu": {"nonlinearity": "relu"},
    "GRU": {},
    "LSTM": {},
    "LSTM-projected": {"proj_size": 2},
}
OPTIONS = [
    {"num_layers": layers, "bias": bias, "batch_first": first, "bidirectional": both}
    for layers, bias, first, both in itertools.product((1, 2), (True, False), (False, True), (False, True))
]
kinds = pytest.mark.parametrize("kind", KINDS)
options = pytest.mark.parametrize(
    "given", OPTIONS, ids=lambda given: "-".join(str(value) for value in given.values()).lower()
)
dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])


def twins(kind: str, backend: str = "auto", **given: Any) -> tuple[nn.Module, nn.Module]:
    """torch.nn's layer and ours, each drawn from the same seed."""
    made = []
    for home, own in ((nn, {}), (gw.nn, {"backend": backend})):
        torch.manual_seed(11)
        made.append(getattr(home, kind.partition("-")[0])(INPUT, HIDDEN, **KINDS[kind], **given, **own))
    return made[0], made[1]


def numbers(theirs: nn.Module, form: str, dtype: torch.dtype) -> tuple[Tensor | PackedSequence, Any]:
    """An input in one of its forms, and initial states for it."""
    if form == "unbatched":
        shape: tuple[int, ...] = (STEPS, INPUT)
    else:
        shape = (BATCH, STEPS, INPUT) if theirs.batch_first and form == "batched" else (STEPS, BATCH, INPUT)
    x = torch.randn(shape, dtype=dtype, requires_grad=True)
    rows = theirs.num_layers * (2 if theirs.bidirectional else 1)
    batch = () if form == "unbatched" else (BATCH,)
    sizes = [theirs.proj_size or HIDDEN, HIDDEN][: 2 if isinstance(theirs, nn.LSTM) else 1]
    states = tuple(torch.randn(rows, *batch, size, dtype=dtype, requires_grad=True) for size in sizes)
    return x, states if len(states) > 1 else states[0]


def packed(x: Tensor, form: str) -> Tensor | PackedSequence:
    lengths = {"sorted": [7, 5, 5, 1], "unsorted": [2, 7, 1, 6]}.get(form)
    return pack_padded_sequence(x, torch.tensor(lengths), enforce_sorted=form == "sorted") if lengths else x


def outcome(layer: nn.Module, x: Tensor, form: str, states: Any) -> dict[str, Any]:
    """Everything that a call gives, and the gradient of a loss of it by everything that went in."""
    output, finals = layer(packed(x, form)) if states is None else layer(packed(x, form), states)
    found = {"output": output.data if isinstance(output, PackedSequence) else output, "finals": finals}
    leaves = {"x": x, **dict(layer.named_parameters())}
    given = () if states is None else states if isinstance(states, tuple) else (states,)
    leaves |= {f"state {index}": state for index, state in enumerate(given)}
    parts = [found["output"], *(finals if isinstance(finals, tuple) else (finals,))]
    loss = sum((part * torch.linspace(-1, 1, part.numel(), dtype=part.dtype).view_as(part)).sum() for part in parts)
    gradients = dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))
    return {**found, "gradients": gradients}


def check(ours: nn.Module, theirs: nn.Module, form: str, dtype: torch.dtype, with_states: bool) -> None:
    x, states = numbers(theirs, form, dtype)
    states = states if with_states else None
    got, want = outcome(ours, x, form, states), outcome(theirs, x, form, states)
    assert_parity(got, want, dtype=dtype, steps=STEPS, cell=repr(theirs), backend=f"gw.nn, {form}")


@kinds
@options
def test_parameters_have_torch_s_names_order_shapes_and_draws(kind: str, given: dict[str, Any]) -> None:
    theirs, ours = twins(kind, **given)
    want, got = dict(theirs.named_parameters()), dict(ours.named_parameters())
    assert list(got) == list(want)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for name, parameter in want.items():
        assert torch.equal(got[name], parameter), name
        assert got[name].data_ptr() != parameter.data_ptr()
    assert repr(ours) == repr(theirs)
    assert [[p.shape for p in ps] for ps in ours.all_weights] == [[p.shape for p in ps] for ps in theirs.all_weights]
    torch.manual_seed(5)
    theirs.reset_parameters()
    torch.manual_seed(5)
    ours.reset_parameters()
    assert all(torch.equal(got[name], want[name]) for name in want)


@kinds
def test_weights_go_both_ways(kind: str) -> None:
    theirs, ours = twins(kind, num_layers=2, bidirectional=True)
    with torch.no_grad():
        for index, weight in enumerate(theirs.parameters()):
            weight.add_(index)
    for source, target in ((theirs, ours), (ours, twins(kind, num_layers=2, bidirectional=True)[0])):
        assert target.load_state_dict(source.state_dict()).missing_keys == []
        assert all(torch.equal(a, b) for a, b in zip(source.parameters(), target.parameters(), strict=True))


@kinds
@options
@pytest.mark.parametrize("form", ["batched", "unbatched", "sorted", "unsorted"])
def test_results_and_gradients(kind: str, given: dict[str, Any], form: str) -> None:
    theirs, ours = (layer.double() for layer in twins(kind, backend="torch", **given))
    check(ours, theirs, form, torch.float64, with_states=form in {"batched", "unsorted"})


@kinds
@pytest.mark.parametrize("form", ["batched", "unsorted"])
@dtypes
def test_results_and_gradients_of_what_runs_by_default(kind: str, form: str, dtype: torch.dtype) -> None:
    theirs, ours = (layer.to(dtype) for layer in twins(kind, num_layers=2, bidirectional=True))
    for with_states in (False, True):
        check(ours, theirs, form, dtype, with_states)


@kinds
@pytest.mark.parametrize("backend", ["torch", "auto"])
def test_second_derivatives(kind: str, backend: str) -> None:
    theirs, ours = (layer.double() for layer in twins(kind, backend))
    x, states = numbers(theirs, "batched", torch.float64)

    def curvature(layer: nn.Module) -> list[Tensor]:
        leaves = [x, *layer.parameters()]
        first = torch.autograd.grad(layer(x, states)[0].square().sum(), leaves, create_graph=True)
        return list(torch.autograd.grad(sum(one.square().sum() for one in first), leaves))

    assert_parity(curvature(ours), curvature(theirs), dtype="float64", steps=2 * STEPS, cell=kind, backend="gw.nn")


@kinds
def test_dropout_draws_what_torch_draws(kind: str) -> None:
    for probability in (0.0, 0.4, 1.0):
        theirs, ours = twins(kind, num_layers=3, dropout=probability, bidirectional=True)
        x, _ = numbers(theirs, "batched", torch.float32)
        results = []
        for layer in (ours, theirs):
            torch.manual_seed(3)
            results.append(outcome(layer, x, "batched", None))
        assert_parity(*results, dtype=torch.float32, steps=STEPS, cell=kind, backend=f"dropout={probability}")


@kinds
def test_no_dropout_in_evaluation(kind: str) -> None:
    theirs, ours = (layer.eval() for layer in twins(kind, "torch", num_layers=2, dropout=0.9))
    check(ours, theirs, "batched", torch.float32, with_states=True)


@kinds
@pytest.mark.parametrize("both", [False, True], ids=["forward", "both ways"])
def test_lengths_are_what_packing_is(kind: str, both: bool) -> None:
    theirs, ours = (layer.double() for layer in twins(kind, num_layers=2, bidirectional=both, batch_first=True))
    x = torch.randn(BATCH, STEPS, INPUT, dtype=torch.float64)
    lengths = [2, 0, 7, 5]
    _, states = numbers(theirs, "batched", torch.float64)
    states = states if isinstance(states, tuple) else (states,)
    rows = [row for row, length in enumerate(lengths) if length]
    pack = pack_padded_sequence(x[rows], torch.tensor(lengths)[rows], batch_first=True, enforce_sorted=False)
    some = tuple(state[:, rows] for state in states)
    packed_output, finals = theirs(pack, some if len(some) > 1 else some[0])
    want = nn.utils.rnn.pad_packed_sequence(packed_output, batch_first=True, total_length=STEPS)[0]
    output, ours_finals = ours(x, states if len(states) > 1 else states[0], lengths=lengths)
    ours_finals, finals = (one if isinstance(one, tuple) else (one,) for one in (ours_finals, finals))
    got = {"output": output[rows], "finals": tuple(final[:, rows] for final in ours_finals)}
    assert_parity(got, {"output": want, "finals": finals}, dtype="float64", steps=STEPS, cell=kind, backend="lengths")
    assert not output[1].any()
    for final, state in zip(ours_finals, states, strict=True):
        assert torch.equal(final[:, 1], state[:, 1])


@kinds
def test_a_packed_sequence_comes_back_as_it_was_packed(kind: str) -> None:
    theirs, ours = twins(kind)
    for form in ("sorted", "unsorted"):
        pack = packed(torch.randn(STEPS, BATCH, INPUT), form)
        got, want = ours(pack)[0], theirs(pack)[0]
        assert torch.equal(got.batch_sizes, want.batch_sizes)
        assert (got.sorted_indices is None) == (want.sorted_indices is None)
        if want.sorted_indices is not None:
            assert torch.equal(got.sorted_indices, want.sorted_indices)
            assert torch.equal(got.unsorted_indices, want.unsorted_indices)


def test_arguments_by_position() -> None:
    shown = ["num_layers", "bias", "batch_first", "dropout", "bidirectional"]
    arguments = (INPUT, HIDDEN, 2, False, True, 0.25, True)
    for kind in ("GRU", "LSTM"):
        theirs, ours = (getattr(home, kind)(*arguments) for home in (nn, gw.nn))
        assert [getattr(ours, name) for name in shown] == [getattr(theirs, name) for name in shown]
    theirs, ours = (home.RNN(INPUT, HIDDEN, 2, "relu", False, True, 0.25, True) for home in (nn, gw.nn))
    assert [getattr(ours, name) for name in shown] == [getattr(theirs, name) for name in shown]
    assert ours.nonlinearity == theirs.nonlinearity == "relu"
    theirs, ours = (home.LSTM(*arguments, 2) for home in (nn, gw.nn))
    assert ours.proj_size == theirs.proj_size == 2


@kinds
def test_device_and_dtype_are_arguments(kind: str) -> None:
    theirs, ours = twins(kind, device="meta", dtype=torch.bfloat16)
    assert [(p.device, p.dtype) for p in ours.parameters()] == [(p.device, p.dtype) for p in theirs.parameters()]


def test_a_model_written_for_torch_runs_on_the_drop_in() -> None:
    class Tagger(nn.Module):
        def __init__(self, home: Any) -> None:
            super().__init__()
            self.rnn = home.LSTM(INPUT, HIDDEN, num_layers=2, bidirectional=True, batch_first=True)
            self.out = nn.Linear(2 * HIDDEN, 2)

        def forward(self, x: Tensor) -> Tensor:
            self.rnn.flatten_parameters()
            states, (h, c) = self.rnn(x)
            assert h.shape == c.shape == (4, len(x), HIDDEN)
            return self.out(states)

    theirs, ours = Tagger(nn), Tagger(gw.nn)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(BATCH, STEPS, INPUT)
    assert_parity(ours(x), theirs(x), dtype="float32", steps=STEPS, cell="tagger", backend="gw.nn")
