"""The two directions of a level by Triton's kernels: launched together, with the numbers of the CPU engine."""

import copy
from typing import Any

import pytest
import torch

import gatewright as gw
from gatewright.nn.engine import sequence_pair


@pytest.fixture
def launches(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The results of all pairs that were launched together."""
    made: list[Any] = []
    original = sequence_pair.run_on_two_streams

    def noted(like: Any, first: Any, second: Any, tensors_of: Any) -> Any:
        results = original(like, first, second, tensors_of)
        made.append([list(tensors_of(result)) for result in results])
        return results

    monkeypatch.setattr(sequence_pair, "run_on_two_streams", noted)
    return made


def results_of(layer: gw.nn.Recurrent, x: torch.Tensor, **options: Any) -> list[torch.Tensor]:
    output, states = layer(x, **options)
    finals = list(states) if isinstance(states, tuple) else [states]
    weights = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).view_as(output)
    loss = (output * weights).sum() + sum(final.square().sum() for final in finals)
    return [output, *finals, *torch.autograd.grad(loss, [x, *layer.parameters()])]


def close(got: list[torch.Tensor], want: list[torch.Tensor]) -> None:
    for own, other in zip(got, want, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("cell", ["gru", "lstm", "mingru"])
def test_padded_sequences(cell: str, launches: list[Any]) -> None:
    torch.manual_seed(0)
    layer = gw.nn.Recurrent(cell, 3, 5, num_layers=2, bidirectional=True, backend="triton").double()
    x = torch.randn(7, 3, 3, dtype=torch.float64, requires_grad=True)
    twin = copy.deepcopy(layer)
    twin.backend = "llvm"
    close(results_of(layer, x), results_of(twin, x))
    assert len(launches) == 4  # of two levels, forward and gradient
    assert all(len(own) == len(other) > 0 for own, other in launches)
    with torch.no_grad():
        torch.testing.assert_close(layer(x)[0], twin(x)[0])
    assert len(launches) == 6


def test_one_direction_alone_has_a_gradient(launches: list[Any]) -> None:
    torch.manual_seed(0)
    layer = gw.nn.Recurrent("gru", 3, 5, bidirectional=True, backend="triton").double()
    twin = copy.deepcopy(layer)
    twin.backend = "llvm"
    x = torch.randn(6, 2, 3, dtype=torch.float64)
    grads: list[list[torch.Tensor]] = []
    for own in (layer, twin):
        for name, parameter in own.named_parameters():
            parameter.requires_grad_(not name.endswith("reverse"))
        leaves = [parameter for parameter in own.parameters() if parameter.requires_grad]
        grads.append(list(torch.autograd.grad(own(x)[0].square().sum(), leaves)))
    close(*grads)
    assert len(launches) == 1  # forward


def test_second_derivatives_run_one_after_the_other(launches: list[Any]) -> None:
    torch.manual_seed(0)
    layer = gw.nn.Recurrent("gru", 2, 3, bidirectional=True, backend="triton").double()
    twin = copy.deepcopy(layer)
    twin.backend = "llvm"
    x = torch.randn(4, 2, 2, dtype=torch.float64, requires_grad=True)
    twice: list[torch.Tensor] = []
    for own in (layer, twin):
        (slope,) = torch.autograd.grad(own(x)[0].square().sum(), x, create_graph=True)
        twice += torch.autograd.grad(slope.square().sum(), x)
    torch.testing.assert_close(twice[0], twice[1], rtol=1e-9, atol=1e-11)
    assert len(launches) == 2  # forward, and what the output's square adds to the second derivative


@pytest.mark.parametrize("options", [{"lengths": torch.tensor([4, 2])}, {"mask": torch.tensor([[1, 0]] * 4).bool()}])
def test_ragged_sequences_run_one_after_the_other(options: dict[str, Any], launches: list[Any]) -> None:
    torch.manual_seed(0)
    layer = gw.nn.Recurrent("gru", 2, 3, bidirectional=True, backend="triton").double()
    twin = copy.deepcopy(layer)
    twin.backend = "llvm"
    x = torch.randn(4, 2, 2, dtype=torch.float64, requires_grad=True)
    close(results_of(layer, x, **options), results_of(twin, x, **options))
    assert launches == []
