"""The process does not grow: layers and compiled layers over many extents, called, trained and derived twice."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from gatewright.nn import GRU
from tests.backends.llvm.memory import growth, needs_proc

WIDE, UNITS = 6, 10
EXTENTS = [(steps, batch) for steps in range(20, 60) for batch in (16, 17, 21)]  # more than are remembered


def trained(layer: nn.Module, number: int) -> None:
    x = torch.randn(*EXTENTS[number * 7 % len(EXTENTS)], WIDE)
    layer(x)[0].square().sum().backward()


def called(layer: nn.Module, number: int) -> None:
    with torch.no_grad():
        layer(torch.randn(*EXTENTS[number * 7 % len(EXTENTS)], WIDE))


def ragged(layer: nn.Module, number: int) -> None:
    steps, batch = EXTENTS[number * 7 % len(EXTENTS)]
    lengths = torch.randint(0, steps + 1, (batch,))
    layer(torch.randn(steps, batch, WIDE), lengths=lengths)[0].sum().backward()


def derived_twice(layer: nn.Module, number: int) -> None:
    x = torch.randn(*EXTENTS[number * 7 % len(EXTENTS)], WIDE).requires_grad_()
    (flow,) = torch.autograd.grad(layer(x)[0].square().sum(), x, create_graph=True)
    flow.square().sum().backward()


@needs_proc
@pytest.mark.parametrize("use", [trained, called, ragged, derived_twice])
def test_layers_give_memory_back_whatever_the_extent(use: Callable[[nn.Module, int], None]) -> None:
    layer = GRU(WIDE, UNITS, backend="llvm")
    for number in range(len(EXTENTS)):
        use(layer, number)
    assert growth(lambda number: use(layer, number), 2 * len(EXTENTS)) < 3e6


@needs_proc
def test_compiled_layers_give_memory_back() -> None:
    layer = torch.compile(GRU(WIDE, UNITS, backend="llvm"), fullgraph=True, dynamic=True, backend="aot_eager")
    for number in range(len(EXTENTS)):
        trained(layer, number)
    assert growth(lambda number: trained(layer, number), 2 * len(EXTENTS)) < 3e6
