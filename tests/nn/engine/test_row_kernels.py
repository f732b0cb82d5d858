"""Kernels on rows against torch: products and their gradients, sums that are added to, exponentials."""

import pytest
import torch
from torch.nn import functional

from gatewright import set_num_threads
from gatewright.nn.engine.block_pool import BlockPool
from gatewright.nn.engine.row_kernels import PackedMatrix, exponentials, linear_kernels

SIZES = [(1, 1, 1), (7, 5, 3), (65, 20, 33), (300, 33, 2051), (200, 17, 8), (17, 200, 1)]
"""Rows, features in and out. The gradient by the weight of the fourth goes row by row: 128 lines of its left operand
take more than half of a second cache."""
CLOSE = {torch.float32: {"rtol": 1e-4, "atol": 1e-4}, torch.float64: {"rtol": 1e-11, "atol": 1e-11}}


def operands(rows: int, inputs: int, outputs: int, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    shapes = {"x": (rows, inputs), "W": (outputs, inputs), "b": (outputs,), "flow": (rows, outputs)}
    return {name: torch.randn(shape, dtype=dtype) for name, shape in shapes.items()}


def expected_gradients(values: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    flow = values["flow"]
    return {"x": flow @ values["W"], "W": flow.T @ values["x"], "b": flow.sum(0)}


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize("sizes", SIZES)
def test_products_and_gradients_are_those_of_torch(sizes: tuple[int, int, int], dtype: torch.dtype, count: int) -> None:
    set_num_threads(count)
    try:
        check_products(sizes, dtype)
    finally:
        set_num_threads(None)


def check_products(sizes: tuple[int, int, int], dtype: torch.dtype) -> None:
    rows, inputs, outputs = sizes
    values = operands(rows, inputs, outputs, dtype)
    kernels = linear_kernels(inputs, outputs, dtype, bias=True)
    results = torch.full((rows, outputs), torch.nan, dtype=dtype)
    kernels.outputs(values, results)
    torch.testing.assert_close(results, functional.linear(values["x"], values["W"], values["b"]), **CLOSE[dtype])
    expected = expected_gradients(values)
    for names in ("x", "W", "b", "xW", "Wb", "xWb"):
        by = {name: torch.full_like(values[name], torch.nan) for name in names}
        kernels.gradients(values, values["flow"], by)
        for name in names:
            torch.testing.assert_close(by[name], expected[name], **CLOSE[dtype])
        own = {name: values[name].clone() for name in names}
        kernels.gradients(values, values["flow"], own, adds=True)
        for name in names:
            total = expected[name] if name == "x" else expected[name] + values[name]
            torch.testing.assert_close(own[name], total, **CLOSE[dtype])


def test_without_a_bias() -> None:
    values = operands(20, 5, 7, torch.float64)
    results = torch.full((20, 7), torch.nan, dtype=torch.float64)
    linear_kernels(5, 7, torch.float64, bias=False).outputs(values, results)
    torch.testing.assert_close(results, values["x"] @ values["W"].T)


def test_blocks_of_rows_pack_their_matrix_once() -> None:
    values = operands(192, 9, 30, torch.float32)
    kernels, packed = linear_kernels(9, 30, torch.float32, bias=True), PackedMatrix(BlockPool())
    results = torch.full((192, 30), torch.nan)
    weight = values["W"].clone()
    for start in (0, 64, 128):
        span = slice(start, start + 64)
        kernels.outputs({**values, "x": values["x"][span]}, results[span], packed)
        values["W"].fill_(torch.nan)  # the first block has packed it, so it is not read again
    torch.testing.assert_close(results, functional.linear(values["x"], weight, values["b"]))


@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize("shape", [(1, 1), (5, 3), (70, 37)])
def test_exponentials_are_those_of_torch(shape: tuple[int, int], dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x = 50 * torch.randn(shape, dtype=dtype)
    largest, results = x.amax(1), torch.full(shape, torch.nan, dtype=dtype)
    exponentials(x, largest, results)
    torch.testing.assert_close(results, (x - largest[:, None]).exp(), **CLOSE[dtype])
