"""What several tests look into: a layer with gates in all of their range, and a model of layers with other steps."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

import gatewright as gw
from gatewright.inspect import Activations, record

LENGTHS = [6, 2, 4]


def recorded_lstm(symbols: Sequence[Sequence[str]] | None = None) -> Activations:
    """An LSTM of 5 units with large weights, which has read rows of `LENGTHS` steps."""
    torch.manual_seed(0)
    layer = gw.nn.Recurrent("lstm", 3, 5)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=3.0)
    return record(layer, torch.randn(6, 3, 3), lengths=LENGTHS, symbols=symbols)


class Halving(nn.Module):
    """The layer above reads every second step of the one below."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.below, self.above = nn.GRU(3, 4), nn.GRU(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.above(self.below(x)[0][::2])[0]
