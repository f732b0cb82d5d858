"""The cells of torch.nn's recurrent layers, which are told by the names of their classes: torch is not imported."""

from typing import Any

from gatewright import cells
from gatewright.lang import Cell, relu, tanh
from gatewright.lang.cell import BIAS_SPACE
from gatewright.trace import Trace, trace_cell
from gatewright.trace.simplify import without

_MODULE = "torch.nn.modules.rnn"


def cell_of_torch(layer: Any) -> tuple[Cell, Trace] | None:
    """The cell of torch.nn's RNN, GRU, LSTM, of their single steps (GRUCell) and of classes derived from these.

    With it its Trace, which has no biases where the layer has none. None for anything else.
    """
    for kind in type(layer).__mro__:
        name = kind.__name__.removesuffix("Cell") if kind.__module__ == _MODULE else ""
        if name in _CELLS:
            cell = _CELLS[name](layer)
            trace = trace_cell(cell)
            return cell, trace if layer.bias else without(trace, BIAS_SPACE)
    return None


def _rnn(layer: Any) -> Cell:
    return cells.elman(activation=relu if layer.nonlinearity == "relu" else tanh)


def _gru(layer: Any) -> Cell:
    return cells.gru(reset="after")


def _lstm(layer: Any) -> Cell:
    return cells.lstm_projected if getattr(layer, "proj_size", 0) else cells.lstm


_CELLS = {"RNN": _rnn, "GRU": _gru, "LSTM": _lstm}
