"""Which cells are ONNX's own operators, told by their equations."""

import pytest

import gatewright as gw
from gatewright import cells
from gatewright.backends.onnx.operators import Activation
from gatewright.backends.onnx.recognise import recognise
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
    assert (found.operator.name, found.operator.attributes) == ("GRU", {"linear_before_reset": 0})
    assert found.activations == (Activation("Sigmoid"), Activation("Tanh"))
    assert found.matrices == {
        "W.z": "In.update", "W.r": "In.reset", "W.n": "In.new",
        "U.z": "Rec.update", "U.r": "Rec.reset", "U.n": "Rec.new",
    }  # fmt: skip
    assert found.vectors["b.z"] == ((1, Var("bias.update", ("hidden",))),)


def test_all_that_is_added_to_a_gate_is_its_bias() -> None:
    found = recognise(trace_cell(two_biases))
    assert found is not None
    assert found.operator.name == "LSTM"
    vector = ("hidden",)
    assert found.vectors["b.f"] == ((1, Var("b.f", vector)), (-1, Var("d.f", vector)), (1, Literal(1.0)))
    assert found.vectors["b.g"] == ()


@pytest.mark.parametrize(
    ("cell", "name", "gates", "activations"),
    [
        (cells.elman(activation=gw.softplus), "RNN", ("h",), (Activation("Softplus"),)),
        (cells.elman(activation=cells.identity), "RNN", ("h",), (Activation("Affine", 1.0, 0.0),)),
        (
            cells.gru(update="replaces", gate=gw.hard_sigmoid_theano), "GRU", ("-z", "r", "n"),
            (Activation("HardSigmoid", 0.2, 0.5), Activation("Tanh")),
        ),
        (cells.lstm(coupled=True), "LSTM", ("i", "o", "-i", "g"), (Activation("Sigmoid"), *[Activation("Tanh")] * 2)),
        (
            cells.lstm_peephole(candidate=gw.relu, output=cells.identity), "LSTM", ("i", "o", "f", "g"),
            (Activation("Sigmoid"), Activation("Relu"), Activation("Affine", 1.0, 0.0)),
        ),
    ],
)  # fmt: skip
def test_activations_and_gates_that_are_turned_round(
    cell: Cell, name: str, gates: tuple[str, ...], activations: tuple[Activation, ...]
) -> None:
    found = recognise(trace_cell(cell))
    assert found is not None
    assert (found.operator.name, found.operator.gates, found.activations) == (name, gates, activations)


@pytest.mark.parametrize(
    "cell",
    [
        two_kinds_of_gate, sum_of_both_sides, bias_of_the_input, computed_matrix, crossed, powers,
        cells.gru(update="replaces", gate=gw.tanh),  # 1 - tanh(a) is not tanh(-a)
        cells.lstm(coupled=True, gate=gw.relu),
        cells.elman(activation=gw.exp), cells.lstm_projected, cells.lstm_full_gates, gw.layer_norm(cells.gru),
        cells.gru_update_only, cells.gru_reset_only, cells.lstm_peephole(input_gate=False), gw.residual(cells.elman),
    ],
    ids=lambda cell: cell.label,
)  # fmt: skip
def test_what_no_operator_computes(cell: Cell) -> None:
    assert recognise(trace_cell(cell)) is None
