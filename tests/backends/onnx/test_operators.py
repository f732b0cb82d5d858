"""The rows of ONNX's operators agree with the table by which weights are converted."""

from gatewright.backends.onnx.operators import OPERATORS
from gatewright.convert.layouts import LAYOUTS


def test_gates_lie_in_one_order_wherever_they_are_told() -> None:
    told = {(one.family.upper(), one.gates) for one in LAYOUTS if one.framework == "onnx"}
    plain = {(row.name, " ".join(row.gates)) for row in OPERATORS if not row.turned}
    assert plain == told
    assert {name for name, _ in told} == {"GRU", "LSTM", "RNN"}
