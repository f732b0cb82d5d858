"""What gates do to the old state is told by the equations: of the catalogue, of its options, and of any spelling."""

from collections.abc import Callable

import pytest

import gatewright as gw
from gatewright import cells
from gatewright.lang import Cell
from gatewright.trace import parse, to_text, trace_cell, without
from gatewright.trace.roles import GateRoles, gate_roles

NONE = GateRoles()
KEEPS_Z, REPLACES_Z, KEEPS_F = GateRoles(keeps=("z",)), GateRoles(replaces=("z",)), GateRoles(keeps=("f",))
FORGETS = GateRoles(keeps=("f",), writes={"i": "f"})
CATALOGUE = {
    "antisymmetric_rnn": NONE,
    "atr": FORGETS,
    "brc": GateRoles(keeps=("c",)),
    "cfn": NONE,
    "cornn": NONE,
    "dsgu": GateRoles(replaces=("z",), writes={"n": "z"}),
    "elman": NONE,
    "fastgrnn": KEEPS_Z,
    "fastgrnn_low_rank": KEEPS_Z,
    "fastrnn": NONE,
    "gru": KEEPS_Z,
    "gru_input_gates": KEEPS_Z,
    "gru_reset_only": NONE,
    "gru_update_only": KEEPS_Z,
    "hgrn": KEEPS_F,
    "indrnn": NONE,
    "intersection_rnn": GateRoles(keeps=("gh",)),
    "irnn": NONE,
    "janet": KEEPS_F,
    "lem": GateRoles(replaces=("dy", "dz")),
    "light_ru": GateRoles(replaces=("f",)),
    "ligru": KEEPS_Z,
    "lstm": FORGETS,
    "lstm_full_gates": FORGETS,
    "lstm_peephole": FORGETS,
    "lstm_projected": FORGETS,
    "mclstm": FORGETS,
    "mgu": GateRoles(replaces=("f",)),
    "mingru": REPLACES_Z,
    "minimal_rnn": GateRoles(keeps=("u",)),
    "minlstm": GateRoles(keeps=("f",), replaces=("i",)),
    "miru1": NONE,
    "miru2": NONE,
    "multiplicative_lstm": FORGETS,
    "mut1": REPLACES_Z,
    "mut2": REPLACES_Z,
    "mut3": REPLACES_Z,
    "nas": NONE,
    "nbrc": GateRoles(keeps=("c",)),
    "original_lstm": NONE,
    "qrnn": KEEPS_F,
    "ran": FORGETS,
    "residual_lstm": FORGETS,
    "rhn": GateRoles(replaces=("t1", "t2", "t3")),
    "scrn": NONE,
    "sgrn": NONE,
    "sgu": REPLACES_Z,
    "slstm": FORGETS,
    "sru": KEEPS_F,
    "star": NONE,
    "tau_gru": GateRoles(replaces=("g",)),
    "tgru": KEEPS_F,
    "tlstm": KEEPS_F,
    "trnn": KEEPS_F,
    "unicornn": NONE,
    "wmclstm": FORGETS,
}


def roles(cell: Cell) -> GateRoles:
    return gate_roles(trace_cell(cell))


@pytest.mark.parametrize("name", cells.CATALOGUE)
def test_every_cell_of_the_catalogue(name: str) -> None:
    assert roles(cells.get(name)) == CATALOGUE[name]


@pytest.mark.parametrize(
    ("cell", "want"),
    [
        (cells.gru(update="replaces"), REPLACES_Z),
        (cells.gru(reset="after"), KEEPS_Z),
        (cells.gru(reset="after", update="replaces", gate=gw.hard_sigmoid_theano), REPLACES_Z),
        (cells.lstm(coupled=True), GateRoles(replaces=("i",))),
        (cells.lstm(gate=gw.hard_sigmoid_keras3, forget_bias=1.0), FORGETS),
        (cells.lstm_peephole(coupled=True), GateRoles(replaces=("i",))),
        (cells.lstm_peephole(forget_gate=False), NONE),
        (cells.lstm_peephole(input_gate=False), KEEPS_F),
        (cells.janet(beta=0.0), KEEPS_F),
        (cells.sru(peephole=True, skip="none", output=cells.identity), KEEPS_F),
        (cells.qrnn(pool="f"), KEEPS_F),
        (cells.qrnn(pool="ifo"), FORGETS),
        (cells.hgrn(lower_bound=0.4), KEEPS_F),
        (cells.hgrn(learned_bound=True), KEEPS_F),
        (cells.slstm(forget="exp"), FORGETS),
        (cells.mingru(candidate=gw.tanh), REPLACES_Z),
    ],
    ids=lambda value: value.label if isinstance(value, Cell) else "",
)
def test_options_that_change_a_role_change_it(cell: Cell, want: GateRoles) -> None:
    assert roles(cell) == want


@pytest.mark.parametrize("name", ["gru", "mgu", "lstm", "mingru"])
@pytest.mark.parametrize(
    "vary",
    [gw.masked, gw.zoneout(0.2), gw.recurrent_dropout(0.2), gw.layer_norm, gw.residual],
    ids=["masked", "zoneout", "recurrent_dropout", "layer_norm", "residual"],
)
def test_a_variation_leaves_the_roles(name: str, vary: Callable[[Cell], Cell]) -> None:
    varied = roles(vary(cells.get(name)))
    assert (varied.keeps, varied.replaces) == (CATALOGUE[name].keeps, CATALOGUE[name].replaces)


@gw.cell
def toward_the_candidate(x, h, W, U, b):
    z = gw.sigmoid(W.z @ x + U.z @ h + b.z)
    return h + z * (gw.tanh(W.n @ x + U.n @ h + b.n) - h)


@gw.cell
def toward_the_state(x, h, W, U, b):
    z = gw.sigmoid(W.z @ x + U.z @ h + b.z)
    n = gw.tanh(W.n @ x + U.n @ h + b.n)
    return n - z * (n - h)


@gw.cell
def chosen(x, h, W, U, b):
    z = gw.sigmoid(W.z @ x + U.z @ h + b.z)
    return gw.where(z < 0.5, gw.tanh(W.n @ x + b.n), h)


@gw.cell
def divided(x, h, W, b):
    z = gw.exp(W.z @ x + b.z)
    return (h + z * (W.n @ x)) / (1 + z)


@gw.cell
def either_way(x, h, W, b):
    z = gw.sigmoid(W.z @ x + b.z)
    return (W.s @ x) * z * h + W.n @ x


@gw.cell
def two_memories(x, h, c, W, U, b):
    f = gw.sigmoid(W.f @ x + U.f @ h + b.f)
    n = gw.tanh(W.n @ x + b.n)
    return f * h + n, (1 - f) * c + n


@gw.cell
def seen_by_a_matrix(x, h, W, U, b):
    r = gw.sigmoid(W.r @ x + b.r)
    return gw.tanh(W.n @ x + U.n @ (r * h)) + gw.tanh(r * h)


@pytest.mark.parametrize(
    ("cell", "want"),
    [
        (toward_the_candidate, REPLACES_Z),
        (toward_the_state, KEEPS_Z),
        (chosen, KEEPS_Z),
        (divided, REPLACES_Z),
        (either_way, NONE),
        (two_memories, NONE),
        (seen_by_a_matrix, NONE),
    ],
    ids=lambda value: value.name if isinstance(value, Cell) else "",
)
def test_the_spelling_of_an_update_does_not_matter(cell: Cell, want: GateRoles) -> None:
    assert roles(cell) == want


def test_roles_are_read_off_a_trace_that_was_saved_or_has_no_bias() -> None:
    trace = trace_cell(cells.lstm)
    assert gate_roles(parse(to_text(trace))) == FORGETS
    assert gate_roles(without(trace, "b")) == FORGETS


def test_the_way_that_each_gate_has_to_go_to_keep_more() -> None:
    assert roles(cells.minlstm).signs() == {"f": 1, "i": -1}
    assert NONE.signs() == {}
