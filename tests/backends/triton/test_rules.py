"""The functions that kernels call, in Triton's interpreter, against NumPy."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from gatewright.backends.expressions import CodeExpression
from gatewright.backends.triton.kernel_precision import KernelPrecision
from gatewright.backends.triton.kernel_text import KernelText
from gatewright.backends.triton.load import is_interpreted, kernel
from gatewright.backends.triton.resources import constants_of
from gatewright.backends.triton.rules import FUNCTIONS, RULES, function_texts
from gatewright.backends.triton.writer import HEADER
from gatewright.lang.ops import OPS, Op

KERNEL = """
@triton.jit
def apply(x_ptr, y_ptr, N: tl.constexpr):
    x = tl.load(x_ptr + tl.arange(0, N))
    tl.store(y_ptr + tl.arange(0, N), {expression})
"""
PRODUCT = """
@triton.jit
def multiply(a_ptr, b_ptr, c_ptr, A: tl.constexpr, D: tl.constexpr, P: tl.constexpr, EMULATED: tl.constexpr):
    at = tl.arange(0, 16)[:, None] * 16 + tl.arange(0, 16)[None, :]
    matrix = narrowed(tl.load(b_ptr + at), D, P, EMULATED)
    total = product(tl.load(a_ptr + at), matrix, tl.zeros((16, 16), A), A, D, P, EMULATED)
    tl.store(c_ptr + at, total)
"""
OF_MATRICES = {Op.MATMUL, Op.TRANSPOSE, Op.OUTER, Op.SUM, Op.MEAN, Op.SIZE}


def applied(expression: str, x: np.ndarray) -> np.ndarray:
    """A function of one number, by a kernel."""
    text = HEADER + function_texts(FUNCTIONS) + "\n" + KERNEL.format(expression=expression)
    given, result = torch.from_numpy(x), torch.empty(len(x), dtype=torch.from_numpy(x).dtype)
    with np.errstate(all="ignore"):
        kernel(KernelText("apply", text, ()))[(1,)](given, result, len(x))
    return result.numpy()


def multiplied(a: Tensor, b: Tensor, precision: KernelPrecision) -> Tensor:
    """The product of two matrices 16 x 16, by a kernel."""
    text, result = HEADER + function_texts(["product"]) + "\n" + PRODUCT, torch.empty(16, 16)
    kernel(KernelText("multiply", text, ()))[(1,)](a, b, result, **constants_of(precision))
    return result


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


def words(*, tie: int) -> Tensor:
    """float32 numbers 16 x 16 of both signs: random ones, ties between two shorter ones, and neighbours of ties."""
    drawn = torch.randint(
        0x20000000, 0x5F000000, (4, 64), generator=torch.Generator().manual_seed(0), dtype=torch.int32
    )
    tied = (drawn[1] & ~(2 * tie - 1)) | tie
    bits = torch.stack([drawn[0], tied, tied - 1, tied + 1]).T.reshape(16, 16)
    return bits.view(torch.float32) * torch.tensor([1.0, -1.0]).repeat(8)


def away(x: Tensor) -> Tensor:
    """float32 numbers rounded to the 10 bits of tf32's mantissa, ties away from 0."""
    fraction, exponent = torch.frexp(x.double())
    return (torch.ldexp(torch.copysign(torch.floor(fraction.abs() * 2**11 + 0.5), fraction), exponent - 11)).float()


def cut(x: Tensor) -> Tensor:
    """float32 numbers without the bits that tf32 does not have."""
    return (x.view(torch.int32) & ~0x1FFF).view(torch.float32)


ONE = torch.eye(16)


@pytest.mark.parametrize("operands", ["bfloat16", "float16"])
@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_operands_are_rounded_as_torch_rounds_them(operands: str) -> None:
    """Bit for bit, on either side of a product with the matrix of ones."""
    precision, dtype = KernelPrecision(operands=operands), getattr(torch, operands)  # pyright: ignore[reportArgumentType]
    x = words(tie=0x8000) if operands == "bfloat16" else words(tie=0x1000).clamp(-6e4, 6e4)
    x[0] = torch.tensor([0.0, -0.0, 1e-40, 3.3e38 if operands == "bfloat16" else 1.0]).repeat(4)
    wanted = x.to(dtype).float()
    assert not torch.equal(wanted, x)
    assert torch.equal(multiplied(x, ONE, precision), wanted)
    assert torch.equal(multiplied(ONE, x, precision), wanted)
    x[0] = wanted[0] = 1.0  # the interpreter knows no denormal bfloat16 numbers
    assert torch.equal(multiplied(x.to(dtype), ONE.to(dtype), precision), wanted)


def test_infinite_operands_stay_infinite_and_nan_stays() -> None:
    x = torch.diag(torch.tensor([np.inf, -np.inf, np.nan, 3.4e38] * 4))
    for precision in (KernelPrecision(operands="bfloat16"), KernelPrecision(mode="tf32")):
        x_again = torch.stack([multiplied(x, torch.ones(16, 16), precision)[row, 0] for row in range(4)])
        assert x_again[:2].tolist() == [np.inf, -np.inf]
        assert x_again[2].isnan()


def test_products_in_tf32_are_those_of_tensor_cores() -> None:
    """They read 10 bits of a mantissa, to which operands are rounded. Three products of the most and the rest of both
    operands have about 21."""
    x, y = words(tie=0x1000).clamp(-1e4, 1e4), torch.randn(16, 16, generator=torch.Generator().manual_seed(0))
    most = away(x)
    assert torch.equal(multiplied(x, ONE, KernelPrecision(mode="tf32")), most)
    assert torch.equal(multiplied(ONE, x, KernelPrecision(mode="tf32")), most)
    assert not torch.equal(most, cut(x))
    assert torch.equal(multiplied(x, ONE, KernelPrecision(mode="tf32x3")), most + cut(x - most))
    exact = y.double() @ y.double().T
    errors = {
        mode: (multiplied(y, y.T.contiguous(), KernelPrecision(mode=mode)) - exact).abs().max() / exact.abs().max()
        for mode in ("tf32", "tf32x3")
    }
    assert 1e-4 < errors["tf32"] < 1e-3
    assert errors["tf32x3"] < 2e-6
