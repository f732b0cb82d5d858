"""How many parameters a cell has, and in which order, counted by hand."""

from math import prod

import pytest

from gatewright import cells
from gatewright.axes import bind
from gatewright.lang import Cell
from gatewright.trace import trace_cell
from tests.cells.cases import SIZES

I, H, P, C = (SIZES[axis] for axis in ("input", "hidden", "projection", "context"))  # noqa: E741

COUNTS = [
    (cells.elman, H * I + H * H + H),
    (cells.gru, 3 * (H * I + H * H + H)),
    (cells.gru(reset="after"), 3 * (H * I + H * H + H) + H),
    (cells.gru_input_gates, 3 * H * I + H * H + 2 * H),
    (cells.mut1, 3 * H * I + 2 * H * H + 3 * H),
    (cells.mut2(project=False), 2 * H * I + 3 * H * H + 3 * H),
    (cells.mgu, 2 * (H * I + H * H + H)),
    (cells.atr, H * I + H * H + 2 * H),
    (cells.lstm, 4 * (H * I + H * H + H)),
    (cells.lstm(coupled=True), 3 * (H * I + H * H + H)),
    (cells.lstm_peephole, 4 * (H * I + H * H + H) + 3 * H),
    (cells.lstm_peephole(input_gate=False), 3 * (H * I + H * H + H) + 2 * H),
    (cells.lstm_full_gates, 4 * (H * I + H * H + H) + 3 * H + 9 * H * H),
    (cells.lstm_projected, 4 * (H * I + H * P + H) + P * H),
    (cells.lstm_projected(peepholes=True), 4 * (H * I + H * P + H) + 3 * H + P * H),
    (cells.indrnn, H * I + 2 * H),
    (cells.fastgrnn, H * I + H * H + 2 * H + 2),
    (cells.fastgrnn_low_rank, 2 * (H + I) + 3 * (H + H) + 2 * H + 2),
    (cells.ran, 3 * H * I + 2 * H * H + 2 * H),
    (cells.scrn, H * I + H * H + H + C * I + H * C),
    (cells.cornn, H * I + 2 * H * H + H),
    (cells.lem, 4 * (H * I + H * H + H)),
    (cells.mingru, 2 * (H * I + H)),
    (cells.sru, 4 * H * I + 2 * H),
    (cells.sru(peephole=True, skip="none"), 3 * H * I + 4 * H),
    (cells.hgrn(learned_bound=True), 2 * (H * I + H) + H),
]


@pytest.mark.parametrize(("cell", "count"), COUNTS, ids=lambda value: getattr(value, "label", None))
def test_counts_by_hand(cell: Cell, count: int) -> None:
    assert sum(prod(bind(param.shape, SIZES)) for param in trace_cell(cell).params) == count


def order(cell: Cell, space: str) -> str:
    return " ".join(param.name.partition(".")[2] for param in trace_cell(cell).spaces()[space])


def test_gates_are_in_pytorchs_order() -> None:
    for space in "WU":
        assert order(cells.gru, space) == order(cells.gru(reset="after"), space) == "r z n"
        assert order(cells.lstm, space) == order(cells.lstm_peephole, space) == "i f g o"
        assert order(cells.lstm_projected, space) == "i f g o"
    assert order(cells.gru(reset="after"), "b") == "r z n hn"


def test_states_of_their_own_sizes() -> None:
    shapes = {state.name: state.shape for name in ("lstm_projected", "scrn") for state in _states(name)}
    assert shapes == {"h": ("hidden",), "c": ("hidden",), "s": ("context",)}
    assert _states("lstm_projected")[0].shape == ("projection",)


def _states(name: str):
    return trace_cell(cells.CATALOGUE[name]).states
