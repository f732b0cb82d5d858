"""A result that is changed in place before its gradient is taken: the gradient is the right one all the same."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

import gatewright as gw
from gatewright.nn.engine.autograd import ChangeMarks
from tests.parity.assertions import assert_parity

STEPS, BATCH, INPUT, HIDDEN = 5, 2, 3, 4
Change = Callable[[Tensor, Any], Tensor]
CHANGES: dict[str, Change] = {
    "the output": lambda output, last: output.mul_(2),
    "relu": lambda output, last: F.relu(output, inplace=True),
    "a part of it": lambda output, last: output[1:3].sin_(),
    "a view of it": lambda output, last: output.transpose(0, 1).mul_(torch.arange(1.0, output.shape[0] + 1)[:, None]),
    "twice": lambda output, last: output.mul_(2).add_(output),
    "the last state": lambda output, last: states(last)[-1].exp_(),
    "both": lambda output, last: output.mul_(2) + states(last)[0].mul_(3).sum(),
}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "RNN": ("RNN", {}),
    "GRU": ("GRU", {"batch_first": True}),
    "LSTM": ("LSTM", {"num_layers": 2, "bidirectional": True}),
}
CALLS: dict[str, dict[str, Any]] = {
    "dense": {},
    "lengths": {"lengths": [2, 1]},
    "mask": {"mask": torch.tensor([[1.0, 1.0], [0.0, 1.0]])},
    "gates": {"return_gates": True},
}


def states(last: Any) -> tuple[Tensor, ...]:
    return last if isinstance(last, tuple) else (last,)


def twins(kind: str) -> tuple[gw.nn.Recurrent, gw.nn.Recurrent]:
    """A layer on the engine, and operation by operation, where nothing that is handed out is kept."""
    name, options = KINDS[kind]
    layers = [getattr(gw.nn, name)(INPUT, HIDDEN, backend=backend, **options) for backend in ("llvm", "torch")]
    layers[1].load_state_dict(layers[0].state_dict())
    return layers[0], layers[1]


def gradients(layer: torch.nn.Module, x: Tensor, change: Callable[..., Tensor], **call: Any) -> list[Tensor]:
    x = x.clone().requires_grad_()
    loss = change(*layer(x, **call)).square().sum()
    return list(torch.autograd.grad(loss, [x, *layer.parameters()]))


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_what_is_changed(kind: str, change: str) -> None:
    ours, eager = twins(kind)
    x = torch.randn(STEPS, BATCH, INPUT)
    got, want = (gradients(layer, x, CHANGES[change]) for layer in (ours, eager))
    assert_parity(got, want, dtype="float32", steps=STEPS)


@pytest.mark.parametrize("call", CALLS)
def test_however_it_was_called(call: str) -> None:
    ours, eager = twins("LSTM")
    x = torch.randn(2, BATCH, INPUT)

    def change(output: Tensor, last: Any, gates: dict[str, Tensor] | None = None) -> Tensor:
        return output.mul_(2) + sum(gate.mul_(3).sum() for gate in (gates or {}).values())

    got, want = (gradients(layer, x, change, **CALLS[call]) for layer in (ours, eager))
    assert_parity(got, want, dtype="float32", steps=2)


def test_torch_s_own_gru_runs_the_same_program() -> None:
    ours, theirs = gw.nn.GRU(INPUT, HIDDEN), torch.nn.GRU(INPUT, HIDDEN)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(STEPS, BATCH, INPUT)
    got, want = (gradients(layer, x, CHANGES["relu"]) for layer in (ours, theirs))
    assert_parity(got, want, dtype="float32", steps=STEPS)


@pytest.mark.parametrize("kept", ["checkpoint", "on the cpu", "twice differentiated", "by torch.func"])
def test_however_its_gradient_is_taken(kept: str) -> None:
    ours, eager = twins("GRU")

    def loss(layer: torch.nn.Module, x: Tensor) -> Tensor:
        return layer(x)[0].mul_(2).square().sum()

    def gradient(layer: torch.nn.Module, x: Tensor) -> Tensor:
        if kept == "checkpoint":
            return torch.autograd.grad(checkpoint(loss, layer, x, use_reentrant=False), x)[0]
        if kept == "on the cpu":
            with torch.autograd.graph.save_on_cpu():
                value = loss(layer, x)
            return torch.autograd.grad(value, x)[0]
        if kept == "by torch.func":
            return torch.func.grad(lambda x: loss(layer, x))(x.detach())
        (first,) = torch.autograd.grad(loss(layer, x), x, create_graph=True)
        return torch.autograd.grad(first.square().sum(), x)[0]

    x = torch.randn(STEPS, BATCH, INPUT, requires_grad=True)
    assert_parity(gradient(ours, x), gradient(eager, x), dtype="float32", steps=STEPS)


def test_what_was_given_must_stay_as_it_was() -> None:
    """As for torch.nn: the gradient is made of it."""
    for layer in (gw.nn.GRU(INPUT, HIDDEN), torch.nn.GRU(INPUT, HIDDEN)):
        for changed in (0, 1):
            given = torch.randn(STEPS, BATCH, INPUT), torch.randn(1, BATCH, HIDDEN)
            output, _ = layer(*given)
            given[changed].zero_()
            with pytest.raises(RuntimeError, match="modified by an inplace operation"):
                output.sum().backward()


def test_marks_tell_of_changes_and_keep_no_memory() -> None:
    tensor = torch.zeros(1000)
    marks = ChangeMarks([torch.zeros(2), tensor])
    storage = tensor.untyped_storage()._cdata
    assert torch._C._storage_Use_Count(storage) == torch._C._storage_Use_Count(torch.zeros(1).untyped_storage()._cdata)
    assert not marks.changed
    tensor.view(10, 100)[0].add_(1)
    assert marks.changed
