"""Gradients in batches, which torch.nn has too: the numbers of one gradient after the other."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import functional

import gatewright as gw
from tests.parity.assertions import assert_parity

# torch's own, where it looks for the forward mode of its operations
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
STEPS, BATCH, INPUT, HIDDEN, COUNT = 3, 2, 2, 3, 4
LAYERS: dict[str, Callable[[], gw.nn.Recurrent]] = {
    "RNN": lambda: gw.nn.RNN(INPUT, HIDDEN),
    "GRU": lambda: gw.nn.GRU(INPUT, HIDDEN, 2, bidirectional=True),
    "LSTM": lambda: gw.nn.LSTM(INPUT, HIDDEN, batch_first=True, proj_size=2),
    "any cell": lambda: gw.nn.Recurrent("indrnn", INPUT, HIDDEN),
}
layers = pytest.mark.parametrize("kind", LAYERS)


def made(kind: str) -> tuple[gw.nn.Recurrent, Tensor]:
    return LAYERS[kind]().double(), torch.randn(STEPS, BATCH, INPUT, dtype=torch.float64, requires_grad=True)


def one_by_one(output: Tensor, leaves: list[Tensor], flows: Tensor) -> list[Tensor]:
    found = [torch.autograd.grad(output, leaves, flow, retain_graph=True) for flow in flows]
    return [torch.stack(each) for each in zip(*found, strict=True)]


@layers
@pytest.mark.parametrize("call", ["dense", "lengths", "gates"])
def test_grads_batched(kind: str, call: str) -> None:
    layer, x = made(kind)
    rows = x.shape[0] if layer.batch_first else x.shape[1]
    options: dict[str, Any] = {"lengths": [1, 2, 1][:rows]} if call == "lengths" else {}
    output, last, *gates = layer(x, return_gates=call == "gates", **options)
    parts = [output, *(last if isinstance(last, tuple) else [last]), *(gates[0].values() if gates else [])]
    results = torch.cat([part.flatten() for part in parts])
    leaves, flows = [x, *layer.parameters()], torch.randn(COUNT, len(results), dtype=torch.float64)
    want = one_by_one(results, leaves, flows)
    got = torch.autograd.grad(results, leaves, flows, is_grads_batched=True)
    assert_parity(list(got), want, dtype="float64", steps=STEPS)


@layers
def test_they_can_be_differentiated_again(kind: str) -> None:
    layer, x = made(kind)
    output, _ = layer(x)
    flows = torch.randn(COUNT, *output.shape, dtype=torch.float64)
    (got,) = torch.autograd.grad(output, x, flows, is_grads_batched=True, create_graph=True)
    want = torch.stack([torch.autograd.grad(output, x, flow, create_graph=True)[0] for flow in flows])
    leaves = [x, *layer.parameters()]
    again = [
        torch.autograd.grad(one.square().sum(), leaves, retain_graph=True, allow_unused=True) for one in (got, want)
    ]
    assert_parity(again[0][:3], again[1][:3], dtype="float64", steps=STEPS)


@layers
def test_jacobians_and_hessians(kind: str) -> None:
    layer, x = made(kind)

    def call(x: Tensor) -> Tensor:
        return layer(x)[0]

    def loss(x: Tensor) -> Tensor:
        return layer(x)[0].square().sum()

    want = functional.jacobian(call, x)
    for strategy in ("reverse-mode", "forward-mode"):
        got = functional.jacobian(call, x, vectorize=True, strategy=strategy)
        assert_parity(got, want, dtype="float64", steps=STEPS)
    want = functional.hessian(loss, x)
    for strategy in ("reverse-mode", "forward-mode"):
        got = functional.hessian(loss, x, vectorize=True, outer_jacobian_strategy=strategy)
        assert_parity(got, want, dtype="float64", steps=STEPS)


def test_batches_within_batches() -> None:
    """A gradient in batches whose own gradient is taken in batches, and one of what torch.func.vmap has run."""
    layer, x = made("GRU")
    output, _ = layer(x)
    flows = torch.randn(COUNT, *output.shape, dtype=torch.float64)
    (first,) = torch.autograd.grad(output, x, flows, is_grads_batched=True, create_graph=True)
    outer = torch.randn(2, *first.shape, dtype=torch.float64)
    got = torch.autograd.grad(first, x, outer, is_grads_batched=True, retain_graph=True)
    assert_parity(list(got), one_by_one(first, [x], outer), dtype="float64", steps=STEPS)
    mapped = torch.func.vmap(lambda x: layer(x)[0])(torch.stack([x, 2 * x]))
    flows = torch.randn(COUNT, *mapped.shape, dtype=torch.float64)
    got = torch.autograd.grad(mapped, x, flows, is_grads_batched=True, retain_graph=True)
    assert_parity(list(got), one_by_one(mapped, [x], flows), dtype="float64", steps=STEPS)


def test_mapped_gradients() -> None:
    layer, x = made("GRU")
    output, _ = layer(x)
    flows = torch.randn(COUNT, *output.shape, dtype=torch.float64)
    got = torch.func.vmap(lambda flow: torch.autograd.grad(output, x, flow, retain_graph=True)[0])(flows)
    assert_parity([got], one_by_one(output, [x], flows), dtype="float64", steps=STEPS)
