"""What a forward run keeps for its gradient: half the memory where products are in bfloat16, and gradients as exact."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

import gatewright as gw

STEPS, BATCH, HIDDEN = 7, 3, 32


def saved_bytes(layer: Any, products: str | None) -> int:
    """The size of the block of saved values."""
    layer.products = products
    blocks: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: blocks.append(t) or t, lambda t: t):  # type: ignore[func-returns-value]
        layer(torch.randn(STEPS, BATCH, layer.input_size))
    (block,) = (tensor for tensor in blocks if tensor.dtype == torch.uint8)
    return block.nbytes


@pytest.mark.parametrize(("kind", "count"), [("GRU", 4), ("LSTM", 5)])
def test_saved_values_take_half_the_memory(kind: str, count: int) -> None:
    layer = getattr(gw.nn, kind)(5, HIDDEN)
    values = count * STEPS * BATCH * HIDDEN
    assert saved_bytes(layer, None) == 4 * values
    assert saved_bytes(layer, "bfloat16") == 2 * values
    plan = str(layer.plan())
    assert plan.endswith(
        f"{count} x {HIDDEN} numbers a step and row, {count} x {HIDDEN} of them in bfloat16, and the states"
    )


def test_a_state_that_a_gate_keeps_for_a_thousand_steps() -> None:
    """The forget gates are 0.9985, which bfloat16 rounds to 1: the gradient would be 4.5 times as large."""
    layer = gw.nn.LSTM(3, 20)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
        layer.weight_hh_l0.normal_(std=0.001)
        layer.bias_ih_l0[20:40] = 6.5
    wide = copy.deepcopy(layer).double()
    layer.products = "bfloat16"
    x, h, c = torch.randn(1000, 2, 3), torch.zeros(1, 2, 20), torch.randn(1, 2, 20)
    gradients: list[Tensor] = []
    for own, dtype in ((layer, torch.float32), (wide, torch.float64)):
        start = c.to(dtype).requires_grad_()
        final = own(x.to(dtype), (h.to(dtype), start))[1][1]
        gradients.append(torch.autograd.grad(final.sum(), start)[0].double())
    got, exact = gradients
    assert 0.2 < float(exact.abs().mean()) < 0.5
    assert float((got - exact).abs().max()) < 0.005 * float(exact.abs().max())


@pytest.mark.parametrize("name", ["gru", "lstm_peephole", "janet", "mut1", "lem", "ran"])
@pytest.mark.parametrize("steps", [1, 30, 300])
def test_other_cells_keep_their_stated_error(name: str, steps: int) -> None:
    """At most 1 % of the largest value and 0.5 % in the root mean square, as without narrow values."""
    layer = gw.nn.Recurrent(name, input_size=16, hidden_size=32)
    wide = copy.deepcopy(layer).double()
    layer.products = "bfloat16"
    x, seeds = torch.randn(steps, 4, 16), torch.randn(steps, 4, 32)
    gradients: list[list[Tensor]] = []
    for own, dtype in ((layer, torch.float32), (wide, torch.float64)):
        values = x.to(dtype).requires_grad_()
        results = torch.autograd.grad(own(values)[0], [values, *own.parameters()], seeds.to(dtype))
        gradients.append([tensor.double() for tensor in results])
    for got, exact in zip(*gradients, strict=True):
        error = got - exact
        assert float(error.abs().max()) <= 0.01 * float(exact.abs().max())
        assert float(error.norm()) <= 0.005 * float(exact.norm())


def test_ragged_and_second_derivatives_still_agree() -> None:
    layer, x = gw.nn.LSTM(4, 17), torch.randn(5, 3, 4, requires_grad=True)
    results: list[list[Tensor]] = []
    for products in ("bfloat16", None):
        layer.products = products
        output = layer(x, lengths=[5, 2, 4])[0]
        (first,) = torch.autograd.grad(output.square().sum(), x, create_graph=True)
        (second,) = torch.autograd.grad(first.square().sum(), x)
        output = layer(x, lengths=[5, 2, 4])[0]
        (plain,) = torch.autograd.grad(output.square().sum(), x)
        results.append([first.detach(), second, plain])
    for rounded, exact in zip(*results, strict=True):
        assert 0 < float((rounded - exact).abs().max()) < 0.03 * float(exact.abs().max())
