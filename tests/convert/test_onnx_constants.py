"""Constants of ONNX graphs are folded by each version of the operators, and no node makes more than it is given."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

onnx = pytest.importorskip("onnx")

from gatewright.convert.onnx_files.constants import folded  # noqa: E402

MATRIX = np.arange(6, dtype=np.float32).reshape(2, 3)


def numbers(*values: int) -> NDArray[np.int64]:
    return np.array(values, np.int64)


def results(
    op: str, operands: Sequence[NDArray[Any] | None], opset: int, outputs: int = 1, **attributes: Any
) -> list[NDArray[Any]]:
    """What a node of that version of the operators gives."""
    inputs = [f"in{index}" if array is not None else "" for index, array in enumerate(operands)]
    node = onnx.helper.make_node(op, inputs, [f"out{index}" for index in range(outputs)], **attributes)
    return folded(node, operands, opset)


@pytest.mark.parametrize(
    ("op", "operands", "opset", "attributes", "expected"),
    [
        ("Slice", [MATRIX], 9, {"starts": [1], "ends": [9]}, MATRIX[1:]),
        ("Slice", [MATRIX, numbers(-1), numbers(-9), numbers(1), numbers(-1)], 13, {}, MATRIX[:, ::-1]),
        ("Slice", [MATRIX, numbers(0), numbers(2**62), None, numbers(2)], 13, {}, MATRIX[::2]),
        ("Squeeze", [MATRIX[None]], 11, {"axes": [0]}, MATRIX),
        ("Squeeze", [MATRIX[None], numbers(0)], 13, {}, MATRIX),
        ("Unsqueeze", [MATRIX], 11, {"axes": [2]}, MATRIX[..., None]),
        ("Unsqueeze", [MATRIX, numbers(-1)], 13, {}, MATRIX[..., None]),
        ("Reshape", [MATRIX, numbers(0, -1, 1)], 13, {}, MATRIX[..., None]),
        ("Transpose", [MATRIX], 13, {}, MATRIX.T),
        ("Gather", [MATRIX, numbers(2, 0)], 13, {"axis": 1}, MATRIX[:, [2, 0]]),
        ("Concat", [MATRIX, MATRIX], 13, {"axis": 1}, np.concatenate([MATRIX, MATRIX], axis=1)),
        ("Cast", [MATRIX], 13, {"to": 11}, MATRIX.astype(np.float64)),
        ("Identity", [MATRIX], 13, {}, MATRIX),
    ],
)
def test_a_node_on_constants_is_computed(
    op: str, operands: list[Any], opset: int, attributes: dict[str, Any], expected: NDArray[Any]
) -> None:
    (got,) = results(op, operands, opset, **attributes)
    assert got.dtype == expected.dtype
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(
    ("opset", "operands", "attributes"), [(11, [MATRIX], {"split": [1, 2]}), (13, [MATRIX, numbers(1, 2)], {})]
)
def test_an_array_is_split(opset: int, operands: list[Any], attributes: dict[str, Any]) -> None:
    first, second = results("Split", operands, opset, 2, axis=1, **attributes)
    np.testing.assert_array_equal(first, MATRIX[:, :1])
    np.testing.assert_array_equal(second, MATRIX[:, 1:])


@pytest.mark.parametrize(
    ("op", "operands", "attributes", "problem"),
    [
        ("Split", [MATRIX], {"num_outputs": 10**9}, "num_outputs is not the number of its outputs, 1"),
        ("Gather", [MATRIX, np.zeros(1000, np.int64)], {}, "more is gathered than there is"),
        ("Unsqueeze", [MATRIX, np.arange(40)], {}, "more than 16 axes"),
        ("Cast", [MATRIX], {"to": 8}, "8"),
        ("Reshape", [MATRIX, numbers(5, -1)], {}, "reshape"),
        ("Identity", [None], {}, "the first operand is missing"),
    ],
)
def test_what_is_too_large_or_does_not_fit_is_refused(
    op: str, operands: list[Any], attributes: dict[str, Any], problem: str
) -> None:
    with pytest.raises((ValueError, KeyError), match=problem):
        results(op, operands, 18, **attributes)
