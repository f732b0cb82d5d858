"""Projected steps: which cells have one, and what it reads."""

import pytest

import gatewright as gw
from gatewright.nn.options import trace_of
from gatewright.trace.check import check
from gatewright.trace.projected import projected_trace


def test_a_step_reads_products_in_place_of_its_input() -> None:
    trace = trace_of(gw.cells.gru(reset="after"))
    projected = projected_trace(trace)
    assert projected is not None
    check(projected.trace)
    assert projected.matrices == ("W.r", "W.z", "W.n")
    assert [value.name for value in projected.trace.inputs] == ["W.r*x", "W.z*x", "W.n*x"]
    assert not {value.name for value in projected.trace.params} & {"W.r", "W.z", "W.n"}
    assert projected.trace.states == trace.states
    assert projected.trace.gates == trace.gates


@gw.cell
def input_norm(x, h, W, U):  # type: ignore[no-untyped-def]
    return gw.tanh(W.h @ x + U.h @ h) * gw.mean(x)


@gw.cell
def one_matrix(x, h, W):  # type: ignore[no-untyped-def]
    return h + gw.tanh(W.h @ x) * (W.h @ x)


@gw.cell
def no_matrix(x, h, p):  # type: ignore[no-untyped-def]
    return gw.tanh(p.h * h + gw.mean(x))


@pytest.mark.parametrize("cell", [input_norm, one_matrix, no_matrix], ids=["input", "matrix", "none"])
def test_no_form_where_something_is_used_in_another_way(cell: gw.Cell) -> None:
    assert projected_trace(trace_of(cell)) is None
