"""A single step of a layer: by the operation that cells have, with the results and gradients of a layer."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

import gatewright as gw
from gatewright.nn.torch_fused import runs_as_step
from tests.parity.assertions import assert_parity

OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "batch first": {"batch_first": True},
    "two levels": {"num_layers": 2},
    "no biases": {"bias": False},
}


def pair(kind: str, **options: Any) -> tuple[Any, Any]:
    ours, theirs = (getattr(lib, kind)(3, 5, dtype=torch.float64, **options) for lib in (gw.nn, torch.nn))
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def flat(results: Any) -> list[Tensor]:
    output, finals = results
    return [output, *([finals] if isinstance(finals, Tensor) else finals)]


@pytest.mark.parametrize("with_states", [False, True])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_results_and_gradients_are_those_of_torch(kind: str, options: dict[str, Any], with_states: bool) -> None:
    ours, theirs = pair(kind, **options)
    assert runs_as_step(ours, 2)
    size = (ours.num_layers, 2, 5)
    leaves = [torch.randn((2, 1, 3) if ours.batch_first else (1, 2, 3)), *(torch.randn(size) for _ in range(2))]
    results: list[list[Tensor]] = []
    for layer in (ours, theirs):
        x, h, c = (leaf.double().requires_grad_() for leaf in leaves)
        states = (None if not with_states else (h, c) if kind == "LSTM" else h,)
        with torch.no_grad():
            inference = flat(layer(x, *states))
        trained = flat(layer(x, *states))
        loss = sum(result.square().sum() * weight for weight, result in enumerate(trained, 1))
        wanted = [
            x,
            *layer.parameters(),
            *([h] if with_states else []),
            *([c] if with_states and kind == "LSTM" else []),
        ]
        results.append([*inference, *(result.detach() for result in trained), *torch.autograd.grad(loss, wanted)])
    assert_parity(results[0], results[1], dtype="float64", steps=1)


@pytest.mark.parametrize("used", [0, 1, 2])
def test_a_gradient_by_one_result_alone(used: int) -> None:
    ours, theirs = pair("LSTM")
    x = torch.randn(1, 2, 3, dtype=torch.float64)
    gradients = [
        torch.autograd.grad(flat(layer(x))[used].sin().sum(), layer.weight_ih_l0)[0] for layer in (ours, theirs)
    ]
    assert_parity(gradients[0], gradients[1], dtype="float64", steps=1)


@pytest.mark.parametrize("check", [gradcheck, gradgradcheck])
def test_derivatives_of_first_and_second_order(check: Callable[..., bool]) -> None:
    ours, _ = pair("GRU")
    x = torch.randn(1, 2, 3, dtype=torch.float64).requires_grad_()
    h = torch.randn(1, 2, 5, dtype=torch.float64).requires_grad_()
    assert check(ours, (x, h))


def test_the_output_may_be_changed_in_place() -> None:
    ours, _ = pair("GRU")
    x = torch.randn(1, 2, 3, dtype=torch.float64)
    output, last = ours(x)
    (expected,) = torch.autograd.grad(ours(x)[1].sum(), ours.weight_hh_l0)
    kept = last.detach().clone()
    output.mul_(2)
    assert torch.equal(last, kept)
    assert torch.equal(torch.autograd.grad(last.sum(), ours.weight_hh_l0)[0], expected)


def test_a_step_is_the_first_of_a_sequence() -> None:
    layer = gw.nn.Recurrent("lstm_peephole", 3, 5)
    assert not runs_as_step(layer, 2)
    layer, x = gw.nn.GRU(3, 5), torch.randn(4, 2, 3)
    states, h = [], None
    for step in x:
        output, h = layer(step[None], h)
        states.append(output)
    assert_parity(torch.cat(states).detach(), layer(x)[0].detach(), dtype="float32", steps=4)
