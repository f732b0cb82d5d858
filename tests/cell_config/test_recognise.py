"""Which cell config a Trace has, told by its equations."""

import pytest

import gatewright as gw
from gatewright import cells
from gatewright.cell_config.config import CellConfig
from gatewright.cell_config.recognise import config_of, recognise
from gatewright.errors import ConversionError
from gatewright.lang import Cell
from gatewright.trace import trace_cell
from gatewright.trace.ir import Literal, Var


@gw.cell(spaces={"In": ("hidden", "input"), "Rec": ("hidden", "hidden"), "bias": ("hidden",)})
def by_other_names(x, state, In, Rec, bias):
    """A GRU: other names, another order, another way to write the mixture."""
    keep = gw.sigmoid(bias.update + Rec.update @ state + In.update @ x)
    look = gw.sigmoid(In.reset @ x + bias.reset + Rec.reset @ state)
    new = gw.tanh(Rec.new @ (state * look) + (bias.new + In.new @ x))
    return new * -(keep - 1) + state * keep


@gw.cell(spaces={"d": ("hidden",)})
def two_biases(x, h, c, W, U, b, d):
    """PyTorch's LSTM as it is documented."""
    i = gw.sigmoid(W.i @ x + b.i + U.i @ h + d.i)
    f = gw.sigmoid(W.f @ x + b.f + U.f @ h - d.f + 1)
    g = gw.tanh(W.g @ x + U.g @ h)
    o = gw.sigmoid(W.o @ x + b.o + U.o @ h + d.o)
    c = i * g + c * f
    return o * gw.tanh(c), c


@gw.cell
def two_kinds_of_gate(x, h, W, U, b):
    """ONNX has one activation for both gates of a GRU."""
    r = gw.sigmoid(W.r @ x + U.r @ h + b.r)
    z = gw.hard_sigmoid(W.z @ x + U.z @ h + b.z)
    n = gw.tanh(W.n @ x + U.n @ (r * h) + b.n)
    return z * h + (1 - z) * n


@gw.cell
def sum_of_both_sides(x, h, W, U, b):
    """Nearly a GRU: the candidate is mixed in by the same gate as the state."""
    r = gw.sigmoid(W.r @ x + U.r @ h + b.r)
    z = gw.sigmoid(W.z @ x + U.z @ h + b.z)
    n = gw.tanh(W.n @ x + U.n @ (r * h) + b.n)
    return z * h + (2 - z) * n


@gw.cell
def bias_of_the_input(x, h, W, U):
    """A sum that has a term which is no constant."""
    return gw.tanh(W.h @ x + U.h @ h + gw.mean(x))


@gw.cell
def computed_matrix(x, h, W, U, b):
    """The matrix of the product is no parameter."""
    return gw.tanh(W.h @ x + (U.h - U.h.T) @ h + b.h)


@gw.cell
def crossed(x, h, c, W, U, b):
    """An LSTM whose second state looks at the first."""
    i = gw.sigmoid(W.i @ x + U.i @ h + b.i)
    f = gw.sigmoid(W.f @ x + U.f @ h + b.f)
    g = gw.tanh(W.g @ x + U.g @ c + b.g)
    o = gw.sigmoid(W.o @ x + U.o @ h + b.o)
    c = f * c + i * g
    return o * gw.tanh(c), c


@gw.cell
def powers(x, h, b):
    """Products that double with every line."""
    for _ in range(60):
        h = h * h
    return h + b.h


def test_names_order_and_brackets_do_not_count() -> None:
    found = recognise(trace_cell(by_other_names))
    assert found is not None
    assert (found.config, found.inverted) == (CellConfig("gru", reset="before"), False)
    matrices = {f"{space}.{gate}": found.matrix(f"{space}.{gate}") for space in ("W", "U") for gate in "zrn"}
    assert matrices == {
        "W.z": "In.update", "W.r": "In.reset", "W.n": "In.new",
        "U.z": "Rec.update", "U.r": "Rec.reset", "U.n": "Rec.new",
    }  # fmt: skip
    assert found.constants("b", "z") == ((1, Var("bias.update", ("hidden",))),)


def test_all_that_is_added_to_a_gate_is_its_bias() -> None:
    found = recognise(trace_cell(two_biases))
    assert found is not None
    assert found.config == CellConfig("lstm", forget_bias=1.0)
    vector = ("hidden",)
    assert found.constants("b", "f") == ((1, Var("b.f", vector)), (-1, Var("d.f", vector)), (1, Literal(1.0)))
    assert found.constants("b", "g") == ()
    assert found.has_biases


def test_the_numbers_of_an_inverted_gate_are_negated() -> None:
    found = recognise(trace_cell(cells.gru(update="replaces")))
    assert found is not None
    assert found.inverted
    assert [[(sign, atom.name) for sign, atom in found.constants("W", gate)] for gate in "zr"] == [
        [(-1, "W.z")],
        [(1, "W.r")],
    ]


def test_a_coupled_forget_gate_is_the_negated_input_gate() -> None:
    found = recognise(trace_cell(cells.lstm_peephole(coupled=True)))
    assert found is not None
    assert [[(sign, atom.name) for sign, atom in found.constants(space, "f")] for space in "WUbp"] == [
        [(-1, "W.i")], [(-1, "U.i")], [(-1, "b.i")], [(-1, "p.i")],
    ]  # fmt: skip


CONFIGS = [
    CellConfig("rnn", activation="softplus"),
    CellConfig("rnn", activation="identity"),
    CellConfig("rnn", activation="softsign"),
    CellConfig("gru", reset="before", gate="hard_sigmoid_theano", activation="relu"),
    CellConfig("gru", reset="after", gate="hard_sigmoid(0.3,0.5)"),
    CellConfig("lstm", gate="hard_sigmoid_keras3", forget_bias=1.0),
    CellConfig("lstm", gate="sigmoid", activation="sigmoid", output="sigmoid"),
    CellConfig("lstm", coupled=True, output="identity"),
    CellConfig("lstm", forget_bias=2.0, cell_clip=2.0),
    CellConfig("lstm", peepholes=True, activation="relu", output="identity", cell_clip=3.0),
    CellConfig("lstm", peepholes=True, coupled=True, activation="softsign"),
    CellConfig("lstm", projection=True, cell_clip=1.0, proj_clip=2.0),
    CellConfig("lstm", projection=True, peepholes=True, forget_bias=-1.0, proj_clip=1.0),
]


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_a_config_is_found_again_from_its_cell(config: CellConfig) -> None:
    assert config_of(trace_cell(config.cell())) == (config, False)


def test_an_update_gate_that_replaces_is_inverted() -> None:
    cell = cells.gru(reset="after", update="replaces", gate=gw.hard_sigmoid_keras3)
    assert config_of(trace_cell(cell)) == (CellConfig("gru", reset="after", gate="hard_sigmoid_keras3"), True)


def test_a_config_is_given_for_the_usual_names_only() -> None:
    with pytest.raises(ConversionError, match=r"cell 'by_other_names' is no RNN, GRU or LSTM as another"):
        config_of(trace_cell(by_other_names))


@pytest.mark.parametrize(
    "cell",
    [
        two_kinds_of_gate, sum_of_both_sides, bias_of_the_input, computed_matrix, crossed, powers,
        cells.gru(update="replaces", gate=gw.tanh),  # 1 - tanh(a) is not tanh(-a)
        cells.elman(activation=gw.exp), cells.lstm_full_gates, gw.layer_norm(cells.gru),
        cells.gru_update_only, cells.gru_reset_only, cells.lstm_peephole(input_gate=False), gw.residual(cells.elman),
    ],
    ids=lambda cell: cell.label,
)  # fmt: skip
def test_what_is_no_known_cell(cell: Cell) -> None:
    assert recognise(trace_cell(cell)) is None
