"""The trace with resets: every use of a state reads 0 where a row starts anew."""

import gatewright as gw
from gatewright import cells
from gatewright.trace import parse, to_text, trace_cell
from gatewright.trace.mask import masked_trace
from gatewright.trace.reset import RESET, reset_trace


@gw.cell
def own_names(x, h, c, W, U):  # type: ignore[no-untyped-def]
    """A cell with values that are called like the parts of a reset, and a state that becomes another one."""
    reset = gw.sigmoid(W.reset @ x + U.reset @ h)
    read = reset * c
    return read, h


def test_every_use_of_a_state_is_replaced() -> None:
    text = to_text(reset_trace(trace_cell(own_names)))
    assert [line.strip() for line in text.splitlines() if line.startswith(("  ", "input", "next"))] == [
        "input x(input)",
        "input reset?()",
        "h?(hidden) = where reset? 0.0 h",
        "c?(hidden) = where reset? 0.0 c",
        "%0(hidden) = matmul W.reset x",
        "%1(hidden) = matmul U.reset h?",
        "%2(hidden) = add %0 %1",
        "reset(hidden) = sigmoid %2",
        "h'(hidden) = mul reset c?",
        "next h = h'",
        "next c = h?",
    ]


def test_its_text_can_be_read_and_it_is_reset_once() -> None:
    for cell in (*cells.CATALOGUE.values(), own_names, gw.masked(cells.lstm)):
        trace = reset_trace(trace_cell(cell))
        assert parse(to_text(trace)) == trace
        assert reset_trace(trace) is trace
        assert trace.inputs[-1].name == RESET


def test_a_mask_keeps_what_the_reset_left() -> None:
    masked = reset_trace(masked_trace(trace_cell(cells.elman)))
    assert [equation.args[2].name for equation in masked.equations if equation.target.name == "h'?"] == ["h?"]  # type: ignore[union-attr]
