"""The operators' tables have their gates and activations as ONNX has them."""

import pytest

from gatewright import cells
from gatewright.backends.onnx.operators import OPERATORS, attributes_of, operator_cell
from gatewright.convert.layouts import BY_KEY
from gatewright.lang import Cell, exp, hard_sigmoid_theano, relu, softplus, softsign, tanh
from gatewright.trace import trace_cell


def test_gates_are_in_the_order_of_the_operators() -> None:
    order = {operator.name: " ".join(operator.gates) for operator in OPERATORS.values()}
    assert order == {"RNN": "h", "GRU": "z r n", "LSTM": "i o f g"}


def test_weights_are_converted_in_that_order() -> None:
    (peepholes,) = (one for one in BY_KEY["onnx/lstm"].arrays if one.kinds == "p")
    assert (BY_KEY["onnx/lstm"].gates, peepholes.gates) == ("i o f g", "i o f")
    assert BY_KEY["onnx/gru-before"].gates == BY_KEY["onnx/gru"].gates == "z r n"


@pytest.mark.parametrize(
    ("cell", "attributes"),
    [
        (cells.elman(activation=softplus), {"activations": ("Softplus",)}),
        (
            cells.elman(activation=cells.identity),
            {"activations": ("Affine",), "activation_alpha": (1.0,), "activation_beta": (0.0,)},
        ),
        (
            cells.gru(update="replaces", gate=hard_sigmoid_theano),
            {
                "activations": ("HardSigmoid", "Tanh"),
                "activation_alpha": (0.2,),
                "activation_beta": (0.5,),
                "linear_before_reset": 0,
            },
        ),
        (cells.gru(reset="after"), {"activations": ("Sigmoid", "Tanh"), "linear_before_reset": 1}),
        (cells.lstm(coupled=True), {"activations": ("Sigmoid", "Tanh", "Tanh")}),
        (
            cells.lstm_peephole(candidate=relu, output=cells.identity),
            {
                "activations": ("Sigmoid", "Relu", "Affine"),
                "activation_alpha": (1.0,),
                "activation_beta": (0.0,),
            },
        ),
    ],
    ids=lambda value: value.label if isinstance(value, Cell) else "",
)
def test_a_cell_is_an_operator_with_these_attributes(cell: Cell, attributes: dict[str, object]) -> None:
    recognised = operator_cell(trace_cell(cell))
    assert recognised is not None
    assert attributes_of([recognised.config]) == attributes


@pytest.mark.parametrize(
    "cell",
    [
        cells.gru(update="replaces", gate=tanh),  # 1 - tanh(a) is not tanh(-a)
        cells.lstm(coupled=True, gate=relu),
        cells.lstm(cell_clip=3.0),
        cells.elman(activation=softsign),
        cells.lstm_projected,
        cells.elman(activation=exp),
    ],
    ids=lambda cell: cell.label,
)
def test_what_no_operator_computes(cell: Cell) -> None:
    assert operator_cell(trace_cell(cell)) is None
