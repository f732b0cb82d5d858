"""Layers by torch's fused functions: torch.nn's numbers to the bit, gradients of every order, and what they refuse.

On CUDA "auto" takes them; the same functions are on the CPU, where they are asked for by name.
"""

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence
from torch.utils.checkpoint import checkpoint

import gatewright as gw
from gatewright.errors import GatewrightError, OptionError
from gatewright.nn import Recurrent
from gatewright.nn.calls import fused_call
from tests.parity.assertions import assert_parity

STEPS, BATCH, INPUT, HIDDEN = 4, 3, 2, 3
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "RNN": ("RNN", {"nonlinearity": "relu"}),
    "GRU": ("GRU", {"num_layers": 2, "bidirectional": True}),
    "LSTM": ("LSTM", {"batch_first": True, "proj_size": 2}),
    "dropout": ("LSTM", {"num_layers": 2, "dropout": 0.5}),
}
FUSED = "torch.gru runs it (cuDNN on CUDA); masks, resets, gates and second derivatives go operation by operation"
# torch's own: oneDNN has no projections
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN:UserWarning")


def twins(kind: str, backend: str = "torch-fused", **more: Any) -> tuple[nn.Module, Recurrent]:
    name, options = KINDS[kind]
    theirs = getattr(nn, name)(INPUT, HIDDEN, **options, **more)
    ours = getattr(gw.nn, name)(INPUT, HIDDEN, backend=backend, **options, **more)
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def called(layer: nn.Module, *given: Any, **options: Any) -> list[Tensor]:
    """The output's data and the final states, with dropout's masks drawn from one seed."""
    torch.manual_seed(3)
    output, last = layer(*given, **options)
    return [output.data if isinstance(output, PackedSequence) else output, *as_tuple(last)]


def as_tuple(states: Any) -> tuple[Tensor, ...]:
    return states if isinstance(states, tuple) else (states,)


def inputs() -> dict[str, Tensor | PackedSequence]:
    values = torch.randn(STEPS, BATCH, INPUT)
    rows = [values[:2, 0], values[:, 1], values[:3, 2]]
    return {"dense": values, "one row": values[:, 0], "packed": pack_sequence(rows, enforce_sorted=False)}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("given", ["dense", "one row", "packed"])
def test_numbers_and_gradients_are_torchs_to_the_bit(kind: str, given: str) -> None:
    theirs, ours = twins(kind)
    x = inputs()[given]
    results = [called(layer, x) for layer in (theirs, ours)]
    assert all(torch.equal(got, want) for got, want in zip(results[1], results[0], strict=True))
    states = [torch.randn_like(state) for state in results[0][1:]]
    hx = tuple(states) if len(states) > 1 else states[0]
    results = [called(layer, x, hx) for layer in (theirs, ours)]
    assert all(torch.equal(got, want) for got, want in zip(results[1], results[0], strict=True))
    gradients = [
        torch.autograd.grad(sum(result.square().sum() for result in found), list(layer.parameters()))
        for found, layer in zip(results, (theirs, ours), strict=True)
    ]
    assert all(torch.equal(got, want) for got, want in zip(gradients[1], gradients[0], strict=True))


def differentiated(layer: nn.Module, *, order: int, **options: Any) -> list[Tensor]:
    x = torch.randn(STEPS, BATCH, INPUT, generator=torch.manual_seed(1), dtype=torch.float64).requires_grad_()
    leaves = [x, *layer.parameters()]
    output, last, *_ = layer(x, **options)
    found: Any = [output, *as_tuple(last)]
    for _ in range(order):
        loss = sum(one.square().sum() for one in found)
        found = torch.autograd.grad(loss, leaves, create_graph=True)
    return list(found)


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize("lengths", [None, [2, 3, 1], [0, 3, 1]], ids=str)
def test_derivatives_of_every_order(kind: str, lengths: list[int] | None) -> None:
    """By torch's function, and operation by operation where a gradient is differentiated itself."""
    ours, eager = (twins(kind, backend, dtype=torch.float64)[1] for backend in ("torch-fused", "torch"))
    eager.load_state_dict(ours.state_dict())
    rows = lengths and ([*lengths, 3] if eager.batch_first else lengths)
    for order in (1, 2):
        got, want = (differentiated(layer, order=order, lengths=rows) for layer in (ours, eager))
        assert_parity(got, want, dtype="float64", steps=STEPS * order)


@pytest.mark.parametrize(("kind", "lengths", "order"), [("RNN", None, 3), ("LSTM", [2, 3, 1, 3], 2)])
def test_derivatives_of_a_gradient_by_tritons_kernels(
    kind: str, lengths: list[int] | None, order: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU, where cuDNN has no second derivatives. In Triton's interpreter here."""
    asked: list[Any] = []
    monkeypatch.setattr(fused_call, "differentiable_backend", lambda *call: asked.append(call) or "triton")
    ours, eager = (twins(kind, backend, dtype=torch.float64)[1] for backend in ("torch-fused", "torch"))
    eager.load_state_dict(ours.state_dict())
    got, want = (differentiated(layer, order=order, lengths=lengths) for layer in (ours, eager))
    assert asked
    assert_parity(got, want, dtype="float64", steps=STEPS * order)


def test_a_packed_sequence_by_tritons_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused_call, "differentiable_backend", lambda *call: "triton")
    ours, eager = (twins("RNN", backend)[1] for backend in ("torch-fused", "torch"))
    eager.load_state_dict(ours.state_dict())
    packed, found = inputs()["packed"], []
    for layer in (ours, eager):
        (by_first,) = torch.autograd.grad(called(layer, packed)[0].sin().sum(), layer.weight_hh_l0, create_graph=True)
        found.append(torch.autograd.grad(by_first.square().sum(), list(layer.parameters())))
    assert_parity(found[0], found[1], dtype="float32", steps=2 * STEPS)


def test_lengths_are_a_packed_sequence() -> None:
    theirs, ours = twins("GRU")
    rows = [torch.randn(length, INPUT) for length in (2, 4, 3)]
    packed = pack_sequence(rows, enforce_sorted=False)
    padded = nn.utils.rnn.pad_sequence(rows, padding_value=float("nan")).requires_grad_()
    output, last = ours(padded, lengths=[2, 4, 3])
    want, want_last = theirs(packed)
    assert torch.equal(output, nn.utils.rnn.pad_packed_sequence(want)[0])
    assert torch.equal(last, want_last)
    (gradient,) = torch.autograd.grad(output.sum(), padded)
    assert not gradient.isnan().any()


def test_rows_without_a_step_keep_their_states() -> None:
    ours = gw.nn.LSTM(INPUT, HIDDEN, backend="torch-fused")
    values = torch.full((STEPS, 2, INPUT), float("nan"))
    values[:3, 1] = 1.0
    states = tuple(torch.randn(1, 2, HIDDEN, requires_grad=True) for _ in range(2))
    output, last = ours(values, states, lengths=[0, 3])
    assert not output[:, 0].any()
    assert all(torch.equal(end[:, 0], start[:, 0]) for end, start in zip(last, states, strict=True))
    gradients = torch.autograd.grad(output.sum() + last[0].sum(), [*states, *ours.parameters()])
    assert not any(gradient.isnan().any() for gradient in gradients)


@pytest.mark.parametrize("changed", [False, True], ids=["kept", "changed in place"])
@pytest.mark.parametrize("way", ["plain", "checkpoint", "on the cpu"])
def test_however_its_gradient_is_taken(changed: bool, way: str) -> None:
    """torch.nn.LSTM keeps its output on the CPU, as cuDNN does: that is computed again where it was changed."""
    ours, eager = gw.nn.LSTM(INPUT, HIDDEN, backend="torch-fused"), gw.nn.LSTM(INPUT, HIDDEN, backend="torch")
    eager.load_state_dict(ours.state_dict())
    x = torch.randn(STEPS, BATCH, INPUT, requires_grad=True)

    def loss(layer: nn.Module, x: Tensor) -> Tensor:
        output, _ = layer(x)
        return (output.mul_(2) if changed else output).square().sum()

    def gradients(layer: nn.Module) -> tuple[Tensor, ...]:
        leaves = [x, *layer.parameters()]
        if way == "checkpoint":
            return torch.autograd.grad(checkpoint(loss, layer, x, use_reentrant=False), leaves)
        with torch.autograd.graph.save_on_cpu() if way == "on the cpu" else torch.enable_grad():
            value = loss(layer, x)
        return torch.autograd.grad(value, leaves)

    assert_parity(list(gradients(ours)), list(gradients(eager)), dtype="float32", steps=STEPS)


def test_a_gradient_is_taken_once_unless_it_is_retained() -> None:
    layer = gw.nn.GRU(INPUT, HIDDEN, backend="torch-fused")
    loss = layer(torch.randn(STEPS, BATCH, INPUT))[0].sum()
    first, second = (torch.autograd.grad(loss, list(layer.parameters()), retain_graph=True) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    loss.backward()
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        loss.backward()


@pytest.mark.parametrize("retained", [True, False])
def test_what_torchs_function_has_saved_is_freed_with_the_gradient(retained: bool) -> None:
    """On CUDA it is most of the memory of a training step, and the output may live on."""
    _, ours = twins("GRU")
    output = ours(torch.randn(STEPS, BATCH, INPUT))[0]
    node: Any = output.grad_fn  # the node is its own context
    output.sum().backward(retain_graph=retained)
    leaves = [leaf for leaf in node.leaves if leaf is not None and leaf.requires_grad]
    again = partial(torch.autograd.grad, node.results[0].sum(), leaves)
    with nullcontext() if retained else pytest.raises(RuntimeError, match="a second time"):
        assert len(again()) == len(leaves)


def test_what_cannot_be_repeated_is_told() -> None:
    _, ours = twins("dropout")
    output, _ = ours(torch.randn(STEPS, BATCH, INPUT))
    with pytest.raises(GatewrightError) as raised:
        torch.autograd.grad(output.sum(), list(ours.parameters()), create_graph=True)
    assert str(raised.value) == (
        "a gradient of this layer is to be differentiated itself, and backend 'torch-fused' cannot compute it\n"
        "  got: dropout between its levels, whose masks torch's function keeps to itself\n"
        "  do: make the layer with backend='torch'"
    )
    output, _ = ours(torch.randn(STEPS, BATCH, INPUT))
    output.mul_(2)
    with pytest.raises(GatewrightError, match="an output of this layer was changed in place"):
        output.sum().backward()
    torch.autograd.grad(ours.eval()(torch.randn(STEPS, BATCH, INPUT))[0].sum(), ours.weight_ih_l0, create_graph=True)


def test_asked_for_by_name_it_runs_or_raises() -> None:
    x, layer = torch.randn(STEPS, BATCH, INPUT), gw.nn.GRU(INPUT, HIDDEN, backend="torch-fused")
    assert str(layer.plan()) == f"torch-fused: asked for by name: {FUSED}"
    refused: dict[str, Callable[[], Any]] = {
        "it knows no masks": lambda: layer(x, mask=torch.ones(STEPS, BATCH)),
        "it does not give out gates": lambda: layer(x, return_gates=True),
        "torch.func is at work": lambda: torch.func.vmap(lambda x: layer(x)[0])(x[None]),
        "it draws dropout anew for every step": lambda: Recurrent(
            "elman", INPUT, HIDDEN, 2, dropout=0.5, dropout_per="sequence", backend="torch-fused"
        )(x),
        "the equations are not those of torch.nn's RNN, GRU or LSTM": Recurrent(
            "gru", INPUT, HIDDEN, backend="torch-fused"
        ).plan,
        "a single step is no sequence": gw.nn.GRUCell(INPUT, HIDDEN, backend="torch-fused").plan,
    }
    for reason, call in refused.items():
        with pytest.raises(OptionError) as raised:
            call()
        assert str(raised.value).partition("\n")[2] == (
            "  expected: the equations of torch.nn's RNN, GRU or LSTM, called without a mask, resets or return_gates\n"
            f"  got: {reason}\n"
            "  do: use backend='auto' or 'torch'"
        )


def test_what_auto_takes_where_the_engine_cannot_run() -> None:
    """The plan of a layer on CUDA, told without one: it asks a tensor for nothing but its place and its dtype."""
    wide, other = (make(INPUT, HIDDEN, dtype=torch.float64) for make in (gw.nn.GRU, partial(Recurrent, "gru")))
    reason = "the compiled engine cannot run this: autocast is on, and the dtype is float64"
    x = torch.randn(STEPS, BATCH, INPUT, dtype=torch.float64)
    theirs = nn.GRU(INPUT, HIDDEN, dtype=torch.float64)
    theirs.load_state_dict(wide.state_dict())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert str(wide.plan()) == f"torch-fused: {reason}; {FUSED}"
        assert str(other.plan()) == (
            f"torch: {reason}; nor can torch's fused functions: the equations are not those of torch.nn's RNN, GRU or "
            "LSTM"
        )
        assert torch.equal(wide(x)[0], theirs(x)[0])
        assert set(wide(x, return_gates=True)[2]) == {"r", "z", "n"}


def test_where_there_is_nothing_to_compute() -> None:
    for steps, batch in ((0, BATCH), (STEPS, 0)):
        x = torch.zeros(steps, batch, INPUT, dtype=torch.bfloat16)
        assert gw.nn.GRU(INPUT, HIDDEN, dtype=torch.bfloat16)(x)[0].shape == (steps, batch, HIDDEN)
        with pytest.raises(OptionError, match="it takes at least one step of one row"):
            gw.nn.GRU(INPUT, HIDDEN, backend="torch-fused", dtype=torch.bfloat16)(x)


@pytest.mark.parametrize("make", [gw.nn.LSTM, lambda *s, **o: Recurrent("lstm", *s, **o)], ids=["LSTM", "own packing"])
def test_torch_compile_sees_one_function(make: Callable[..., Recurrent]) -> None:
    layer = make(INPUT, HIDDEN, backend="torch-fused")
    graphs: list[Any] = []

    def remember(graph: Any, _: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    x = torch.randn(STEPS, BATCH, INPUT)
    torch.compiler.reset()
    assert torch.equal(torch.compile(layer, backend=remember, fullgraph=True)(x)[0], layer(x)[0])
    assert [node.target for node in graphs[0].graph.nodes if node.op == "call_function"].count(torch.lstm) == 1
