"""Products over thousands of elements: sums in several chains, so that rounding errors stay small."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

import gatewright as gw
from gatewright.nn import Recurrent


@gw.cell
def product(x, h, W):
    """A product with the input, and nothing else."""
    return W.n @ x


@gw.cell
def two_products(x, h, W, U):
    """Products with the input and with the state, added up in the same registers."""
    return W.n @ x + U.n @ h


def layer(depth: int, hidden: int = 20) -> Recurrent:
    torch.manual_seed(depth)
    return Recurrent(product, depth, hidden, backend="llvm")


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def assert_close(got: Tensor, want: Tensor) -> None:
    """Within what sums of float32 numbers in chains of a thousand may be off."""
    assert got.shape == want.shape
    assert float((got - want).abs().max()) < 2e-6 * float(want.abs().max())


def exact(module: Recurrent, x: Tensor, rounds: bool = False) -> Tensor:
    (weight,) = module.parameters()
    x, weight = (value.detach().bfloat16() if rounds else value.detach() for value in (x, weight))
    return x.double() @ weight.double().T


@pytest.mark.parametrize("depth", [2047, 2048, 2049, 2052, 3075, 4097, 10_000])
@pytest.mark.parametrize("rows", [1, 3, 8, 21])
def test_sums_of_any_length(depth: int, rows: int) -> None:
    module = layer(depth)
    x = torch.randn(2, rows, depth)
    assert_close(module(x)[0], exact(module, x))


@pytest.mark.parametrize("rows", [1, 8])
def test_pairs_of_bfloat16_numbers(rows: int) -> None:
    module = layer(6001)
    module.products = "bfloat16"
    x = torch.randn(2, rows, 6001)
    assert_close(module(x)[0], exact(module, x, rounds=True))


def test_rows_that_end_early() -> None:
    module = layer(4097)
    x, lengths = torch.randn(5, 9, 4097), [5, 1, 3, 3, 2, 5, 1, 4, 2]
    want = exact(module, x) * (torch.arange(5)[:, None] < torch.tensor(lengths))[..., None]
    assert_close(module(x, lengths=lengths)[0], want)


def test_a_long_vector_beside_a_short_one() -> None:
    """Chains begin anew within the sum of one vector, and go on from the sum of the other one."""
    torch.manual_seed(0)
    module = Recurrent(two_products, 5000, 3000, backend="llvm")
    reference = Recurrent(two_products, 5000, 3000, backend="torch", dtype=torch.float64)
    reference.load_state_dict(module.state_dict())
    x = torch.randn(3, 2, 5000)
    assert_close(module(x)[0], reference(x.double())[0])


def test_the_error_of_ten_thousand_terms_is_that_of_a_thousand() -> None:
    """One chain of 10,000 numbers would be off by 1.8e-6 of the norm."""
    errors: dict[int, float] = {}
    for depth in (1000, 10_000):
        module = layer(depth, 64)
        x = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 40, depth), np.float32))
        want = exact(module, x)
        errors[depth] = float((module(x)[0] - want).norm() / want.norm())
    assert errors[1000] < 8e-7
    assert errors[10_000] < 8e-7
