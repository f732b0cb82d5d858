"""torch.utils.checkpoint repeats a call: the first one takes the generic path, and its repetition a fast one."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence
from torch.utils.checkpoint import checkpoint

import gatewright as gw


def folded() -> nn.Module:
    model = nn.Sequential(nn.Embedding(30, 64), nn.GRU(64, 128))
    gw.nn.accelerate(model)
    return model


SYMBOLS = torch.arange(320).reshape(40, 8) % 30
CASES: dict[str, tuple[Callable[[], nn.Module], Callable[[nn.Module], Tensor]]] = {
    "padded": (lambda: gw.nn.LSTM(8, 16, 2), lambda layer: layer(torch.ones(20, 4, 8))[0]),
    "both directions": (lambda: gw.nn.GRU(8, 16, bidirectional=True), lambda layer: layer(torch.ones(20, 4, 8))[0]),
    "packed": (
        lambda: gw.nn.GRU(8, 16),
        lambda layer: layer(pack_padded_sequence(torch.ones(9, 3, 8), [9, 7, 2]))[0].data,
    ),
    "embedding": (folded, lambda model: model(SYMBOLS)[0]),
}


@pytest.mark.parametrize(("make", "call"), CASES.values(), ids=CASES)
def test_a_first_call_may_be_repeated(make: Callable[[], nn.Module], call: Callable[[nn.Module], Tensor]) -> None:
    torch.manual_seed(0)
    model = make()
    plain = copy.deepcopy(model)
    for _ in range(2):
        checkpoint(lambda: call(model), use_reentrant=False).square().sum().backward()
        call(plain).square().sum().backward()
    for own, expected in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(own.grad, expected.grad, atol=1e-4, rtol=1e-4)
