"""The card of a cell: every number that is learned is named, counted and explained."""

import numpy as np
import pytest

import gatewright as gw
from gatewright import cells
from gatewright.errors import OptionError
from gatewright.inspect.card import Card, card
from gatewright.inspect.card_text import card_text, gradient_text
from gatewright.lang import Cell
from tests.backends.formulas.cases import CASES

GRU, LSTM = cells.get("gru"), cells.get("lstm")


def lines(found: Card) -> list[str]:
    return card_text(found).plain.split("\n")


@pytest.mark.parametrize("name", CASES)
def test_every_weight_and_bias_of_a_cell_has_its_row_and_they_add_up(name: str) -> None:
    found = card(CASES[name], {"input": 7, "hidden": 5})
    assert sum(one.count for one in found.parameters) == found.parameter_count
    rows = [line.split() for line in lines(found)]
    for one in found.parameters:
        assert one.count == np.prod(one.shape, initial=1)
        assert one.symbol in found.equations
        assert [row for row in rows if row[:1] == [one.symbol] and f"{one.count:,}" in row], one.symbol
        assert one.role


@pytest.mark.parametrize("name", CASES)
def test_a_card_fits_a_terminal(name: str) -> None:
    for text in (card_text(card(CASES[name])), gradient_text(CASES[name])):
        assert max(line.cell_len for line in text.split("\n")) <= 80


def test_the_numbers_of_a_gru() -> None:
    found = card(GRU, {"input": 28, "hidden": 256})
    assert found.parameter_count == 3 * (256 * 28 + 256 * 256 + 256)
    assert [one.name for one in found.parameters] == [f"{space}.{gate}" for space in "WUb" for gate in "rzn"]
    assert {one.name: one.shape for one in found.parameters if one.name.endswith("r")} == {
        "W.r": (256, 28),
        "U.r": (256, 256),
        "b.r": (256,),
    }
    assert found.sizes == {"input": 28, "hidden": 256}
    assert found.inputs == {"x": 28}


@gw.cell(spaces={"a": ()}, initial={"a.alpha": -2.0})
def everything(x, h, c, W, U, b, p, a):
    """A cell in which parameters do all that they can.

    Of a second paragraph.

    Raises OptionError where nothing is right.
    """
    r = gw.sigmoid(W.r @ x + U.r @ h + b.r + p.r * c)
    z = gw.sigmoid(W.r @ x + U.r.T @ h + b.r)
    n = gw.tanh(U.n @ (r * h + (1 - r) * c) + p.n * (r * h + (1 - r) * c))
    return a.alpha * n + (1 - z) * h, p.c


def test_what_each_parameter_does_is_read_off_the_equations() -> None:
    assert {one.symbol: (one.role, one.starts_at) for one in card(everything).parameters} == {
        "W_r": ("weights of xₜ in rₜ, zₜ", None),
        "U_r": ("weights of hₜ₋₁ in rₜ; weights, transposed, in zₜ", None),
        "U_n": ("weights of what they multiply in nₜ", None),
        "b_r": ("bias of rₜ, zₜ", None),
        "p_r": ("weights of cₜ₋₁, one a unit, in rₜ", None),
        "p_n": ("weights of the units of nₜ", None),
        "p_c": ("is cₜ", None),
        "a_α": ("used as a_α · nₜ in hₜ", -2.0),
    }


def test_a_description_is_the_docstring_without_its_errors() -> None:
    assert card(everything).description == (
        "A cell in which parameters do all that they can.\n\nOf a second paragraph."
    )


def test_states_say_which_is_given_out_and_which_is_read() -> None:
    found = card(cells.get("sru"))
    assert [(one.name, one.symbol, one.emitted, one.read) for one in found.states] == [
        ("h", "hₜ", True, False),
        ("c", "cₜ", False, True),
    ]
    assert found.parallel_in_time
    assert "All steps can be computed at once, by an associative scan." in card_text(found).plain.replace("\n  ", " ")


def test_a_cell_that_is_not_parallel_in_time_says_why_without_lines_of_its_file() -> None:
    found = card(GRU)
    assert not found.parallel_in_time
    assert found.why_not_parallel.startswith("h reaches its own update through U_")
    assert "line" not in found.why_not_parallel


def test_gates_have_the_range_of_their_activation() -> None:
    gates = {one.name: (one.least, one.largest) for one in card(GRU(activation=gw.relu)).gates}
    assert gates == {"r": (0, 1), "z": (0, 1), "n": (0, None)}
    assert card(cells.get("mingru")).gates[1].least is None
    assert "z (0 to 1), n (any number)" in card_text(card(cells.get("mingru"))).plain


def test_options_have_their_choices() -> None:
    options = {one.name: one for one in card(GRU(reset="after", gate=gw.hard_sigmoid_theano)).options}
    assert (options["reset"].value, options["reset"].default) == ('"after"', '"before"')
    assert options["reset"].choices == ("before", "after")
    assert options["recurrent_bias"].choices == ("True", "False")
    assert options["activation"].choices == ()
    text = card_text(card(GRU(reset="after", gate=gw.hard_sigmoid_theano))).plain
    assert 'reset          = "after"   (or "before")' in text
    assert "gate           = hard_sigmoid_theano   (or sigmoid)" in text


def test_other_axes_are_half_as_wide_unless_they_are_given() -> None:
    projected = cells.get("lstm_projected")
    assert card(projected, {"hidden": 64}).sizes == {"input": 128, "hidden": 64, "projection": 32}
    assert card(projected, {"hidden": 64, "projection": 8}).states[0].size == 8


def test_an_axis_that_a_cell_does_not_have_is_refused() -> None:
    with pytest.raises(OptionError) as refused:
        card(LSTM, {"projection": 8})
    assert str(refused.value) == ("cell 'lstm' has no axis 'projection'\n  expected: input, hidden\n  got: projection")


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        (GRU, "σ(a) = 1 / (1 + exp(−a)) lies between 0 and 1."),
        (GRU, "W_r xₜ is a matrix times a vector."),
        (gw.masked(GRU), "maskₜ is a further input, one number."),
        (gw.zoneout(0.1)(GRU), "Bernoulli(p) draws 1 with probability p, else 0; in evaluation it is p."),
        (cells.get("irnn"), "ReLU(a) = max(a, 0)."),
    ],
)
def test_the_signs_of_the_equations_are_explained(cell: Cell, said: str) -> None:
    assert said in card_text(card(cell)).plain.replace("\n  ", " ")
