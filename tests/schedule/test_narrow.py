"""Saved values in 16 bits: factors that are carried nowhere, and gates by which a state is carried."""

from typing import Any

import pytest

import gatewright as gw
from gatewright import cells
from gatewright.schedule.narrow import NarrowForm, narrow_saved, stored_names
from gatewright.schedule.plan import plan
from gatewright.schedule.residuals import save
from gatewright.trace import trace_cell
from gatewright.trace.simplify import simplify

VALUE, FROM_ONE = NarrowForm.VALUE, NarrowForm.FROM_ONE


def forms_of(cell: Any) -> dict[str, NarrowForm]:
    """The forms of a cell's saved values by their names in its equations."""
    trace = simplify(trace_cell(cell))
    pair = save(trace, (trace.states[0].name,))
    return stored_names(pair, narrow_saved(pair, plan(pair.forward)))


def saved_by(cell: Any) -> set[str]:
    trace = simplify(trace_cell(cell))
    return {name.removeprefix("saved(").removesuffix(")") for name in save(trace, (trace.states[0].name,)).saved}


@gw.cell
def leaky(x, h, W, U, b):
    z = gw.sigmoid(W.z @ x + U.z @ h + b.z)
    return (1 - z) * h + z * gw.tanh(W.h @ x + U.h @ h)


@gw.cell
def doubled(x, h, W, U, b):
    z = gw.sigmoid(W.z @ x + U.z @ h + b.z)
    return 2.0 * (z * h) + gw.tanh(W.h @ x + U.h @ h)


@gw.cell
def skipped(x, h, W, U, b):
    z = gw.sigmoid(W.z @ x + U.z @ h + b.z)
    return h + z * h + gw.tanh(W.h @ x + U.h @ h)


@gw.cell
def unbounded(x, h, W, U, b):
    z = gw.tanh(W.z @ x + U.z @ h + b.z)
    return z * h + gw.tanh(W.h @ x + U.h @ h)


@gw.cell
def exchanged(x, h, c, W, U, b):
    f = gw.sigmoid(W.f @ x + U.f @ h + b.f)
    return gw.tanh(W.h @ x) + f * c, f * h


def test_gates_of_an_lstm() -> None:
    """The forget gate alone carries the cell state."""
    forms = forms_of(cells.lstm())
    assert len(forms) == 5
    assert {name for name, form in forms.items() if form is FROM_ONE} == {"f"}


def test_gates_of_a_gru() -> None:
    forms = forms_of(cells.gru(reset="after"))
    assert forms.keys() == saved_by(cells.gru(reset="after"))
    assert {name for name, form in forms.items() if form is FROM_ONE} == {"z"}


def test_a_gate_whose_complement_carries_is_exact_near_0() -> None:
    assert forms_of(leaky)["z"] is VALUE


@pytest.mark.parametrize("cell", [doubled, skipped, unbounded, exchanged])
def test_what_may_grow_from_step_to_step_is_float32(cell: Any) -> None:
    """Another factor or term than a gate from 0 to 1, or a way over several states."""
    assert not forms_of(cell).keys() & {"z", "f"}
    assert saved_by(cell) & {"z", "f"}


def test_peepholes_carry_through_all_gates_but_the_last() -> None:
    forms = forms_of(cells.lstm_peephole())
    assert set(forms.values()) == {VALUE}
    assert not forms.keys() & {"i", "f", "g"}


def test_values_that_the_forward_run_reads_again_are_float32() -> None:
    """The reset gate before the product is in another stage than the new state, which reads z."""
    forms = forms_of(cells.gru(reset="before"))
    assert "z" not in forms
    assert "n" in forms


def test_values_that_are_subtracted_are_float32() -> None:
    """The mean of a layer is subtracted from them, and leaves few digits of a rounded one."""
    normed = gw.layer_norm(cells.lstm())
    assert forms_of(normed).keys() < saved_by(normed)


@pytest.mark.parametrize("name", cells.CATALOGUE)
def test_every_cell_has_forms_for_values_that_it_saves(name: str) -> None:
    assert forms_of(cells.CATALOGUE[name]).keys() <= saved_by(cells.CATALOGUE[name])
