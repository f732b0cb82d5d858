"""Counters of operations see what the engine runs, and count it as torch counts the same products."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import gatewright as gw
from tests.parity.assertions import assert_parity

STEPS, BATCH, INPUT, HIDDEN = 5, 2, 3, 4
LAYERS: dict[str, tuple[str, dict[str, Any]]] = {
    "RNN": ("RNN", {}),
    "GRU": ("GRU", {"num_layers": 2, "bidirectional": True}),
    "LSTM": ("LSTM", {"proj_size": 2}),
}


def counted(layer: nn.Module, x: torch.Tensor, hx: Any) -> tuple[int, int]:
    """The operations of a call, and of it with its gradient."""
    with FlopCounterMode(display=False) as counter:
        output, _ = layer(x, hx)
        forward = counter.get_total_flops()
        output.sum().backward()
    return forward, counter.get_total_flops()


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN:UserWarning")
@pytest.mark.parametrize("kind", LAYERS)
def test_products_are_counted_as_torchs(kind: str) -> None:
    name, options = LAYERS[kind]
    theirs, ours = (getattr(home, name)(INPUT, HIDDEN, **options) for home in (nn, gw.nn))
    x = torch.randn(STEPS, BATCH, INPUT, requires_grad=True)
    last = theirs(x)[1]
    states = [torch.zeros_like(state, requires_grad=True) for state in (last if isinstance(last, tuple) else (last,))]
    hx = tuple(states) if len(states) > 1 else states[0]
    forward, both = counted(ours, x, hx)
    assert (forward, both) == counted(theirs, x, hx)
    assert both == 3 * forward > 0


def test_the_numbers_are_the_same_whoever_watches() -> None:
    layer, x = gw.nn.GRU(INPUT, HIDDEN, 2), torch.randn(STEPS, BATCH, INPUT)
    want = [*layer(x, lengths=[5, 3]), *torch.autograd.grad(layer(x)[0].sum(), list(layer.parameters()))]
    with FlopCounterMode(display=False):
        got = [*layer(x, lengths=[5, 3]), *torch.autograd.grad(layer(x)[0].sum(), list(layer.parameters()))]
    assert_parity(got, want, dtype="float32", steps=STEPS)
