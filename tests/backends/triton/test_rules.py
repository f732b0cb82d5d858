"""The functions that kernels call, in Triton's interpreter, against NumPy."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from gatewright.backends.expressions import CodeExpression
from gatewright.backends.triton.kernel_text import KernelText
from gatewright.backends.triton.load import is_interpreted, kernel
from gatewright.backends.triton.rules import FUNCTIONS, RULES, function_texts
from gatewright.backends.triton.writer import HEADER
from gatewright.lang.ops import OPS, Op

KERNEL = """
@triton.jit
def apply(x_ptr, y_ptr, N: tl.constexpr):
    x = tl.load(x_ptr + tl.arange(0, N))
    tl.store(y_ptr + tl.arange(0, N), {expression})
"""
OF_MATRICES = {Op.MATMUL, Op.TRANSPOSE, Op.OUTER, Op.SUM, Op.MEAN, Op.SIZE}


def applied(expression: str, x: np.ndarray) -> np.ndarray:
    """A function of one number, by a kernel."""
    text = HEADER + function_texts(FUNCTIONS) + "\n" + KERNEL.format(expression=expression)
    given, result = torch.from_numpy(x), torch.empty(len(x), dtype=torch.from_numpy(x).dtype)
    with np.errstate(all="ignore"):
        kernel(KernelText("apply", text, ()))[(1,)](given, result, len(x))
    return result.numpy()


def softplus(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def numbers(dtype: str) -> np.ndarray:
    """Numbers of every size up to 20, of both signs."""
    sizes = np.concatenate([np.geomspace(1e-30, 1, 512), np.linspace(0.4, 20, 512)])
    return np.concatenate([sizes, -sizes]).astype(dtype)


# In units in the last place. A sigmoid of -20 is exp(-20): an error of half a unit in the exponent is one of 20 halves.
@pytest.mark.parametrize(
    ("name", "function", "units"), [("tanh", np.tanh, 3), ("softplus", softplus, 20), ("sigmoid", sigmoid, 20)]
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_errors_are_a_few_units_in_the_last_place(
    name: str, function: Callable[[np.ndarray], np.ndarray], units: int, dtype: str
) -> None:
    x = numbers(dtype)
    wanted = function(x.astype(np.longdouble))
    error = np.abs((applied(f"{name}(x)", x) - wanted) / wanted) / np.finfo(dtype).eps
    assert float(error.max()) < units


@pytest.mark.parametrize("name", ["tanh", "softplus", "sigmoid", "sign", "relu"])
def test_ends_of_the_line(name: str) -> None:
    x = np.array([np.inf, -np.inf, np.nan, 0.0, 200.0, -200.0, 1e30, -1e30], np.float32)
    wanted = {
        "tanh": [1, -1, np.nan, 0, 1, -1, 1, -1],
        "softplus": [np.inf, 0, np.nan, np.log(2), 200, 0, 1e30, 0],
        "sigmoid": [1, 0, np.nan, 0.5, 1, 0, 1, 0],
        "sign": [1, -1, np.nan, 0, 1, -1, 1, -1],
        "relu": [np.inf, 0, np.nan, 0, 200, 0, 1e30, 0],
    }[name]
    np.testing.assert_allclose(applied(f"{name}(x)", x), np.array(wanted, np.float32), rtol=1e-6)


@pytest.mark.parametrize("name", ["maximum", "minimum"])
def test_nan_is_no_number_to_be_passed_over(name: str) -> None:
    x = np.array([np.nan, 1.0, -1.0, 2.0], np.float32)
    function = np.maximum if name == "maximum" else np.minimum
    np.testing.assert_array_equal(applied(f"{name}(x, 0.5)", x), function(x, np.float32(0.5)))
    np.testing.assert_array_equal(applied(f"{name}(0.5 + 0.0 * x, x)", x), function(np.float32(0.5) + 0 * x, x))


def test_every_elementwise_op_has_a_rule() -> None:
    assert RULES.keys() == OPS.keys() - OF_MATRICES


def test_parentheses_keep_the_order_of_operations() -> None:
    a, b, c = (CodeExpression(letter) for letter in "abc")
    inner = RULES[Op.SUB]([b, c], {})
    assert RULES[Op.SUB]([a, inner], {}).text == "a - (b - c)"
    assert RULES[Op.SUB]([inner, a], {}).text == "b - c - a"
    assert RULES[Op.MUL]([a, inner], {}).text == "a * (b - c)"
    assert RULES[Op.NEG]([inner], {}).text == "-(b - c)"
    assert RULES[Op.SUB]([a, RULES[Op.NEG]([b], {})], {}).text == "a - -b"


def test_functions_come_after_those_that_they_call() -> None:
    text = function_texts(["softplus"])
    assert text.index("def maximum") < text.index("def softplus")
    assert "def tanh" not in text


def test_kernels_run_in_the_interpreter() -> None:
    assert is_interpreted()
