"""The rows of ONNX's operators have their gates as ONNX has them."""

from gatewright.backends.onnx.operators import OPERATORS
from gatewright.convert.layouts import BY_KEY


def test_all_rows_of_an_operator_have_its_order() -> None:
    told = {(row.name, " ".join(row.gates).replace("-z", "z").replace("-i", "f")) for row in OPERATORS}
    assert told == {("RNN", "h"), ("GRU", "z r n"), ("LSTM", "i o f g")}


def test_weights_are_converted_in_that_order() -> None:
    (peepholes,) = (one for one in BY_KEY["onnx/lstm"].arrays if one.kinds == "p")
    assert (BY_KEY["onnx/lstm"].gates, peepholes.gates) == ("i o f g", "i o f")
    assert BY_KEY["onnx/gru-before"].gates == BY_KEY["onnx/gru"].gates == "z r n"
