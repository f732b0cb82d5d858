"""Engines whose products are in eight bits, held to the whole numbers of `gatewright.int8`."""

from dataclasses import replace

import numpy as np
import pytest

from gatewright.backends.llvm.jit.target import runnable, target_named
from gatewright.backends.llvm.runtime.engine import Engine
from gatewright.errors import OptionError
from gatewright.int8 import MOST_COLUMNS, product, quantised
from gatewright.lang import cell
from gatewright.schedule.plan import plan
from gatewright.schedule.residuals import save
from gatewright.trace import trace_cell
from tests.backends.llvm.engines import On, leaves, run
from tests.backends.llvm.runtime.test_engine import given_for, pair_of
from tests.schedule.running import Given

TARGETS = [
    target for target in ("host", "x86-64-v4", "x86-64-v3", "x86-64-v2", "neon") if runnable(target_named(target))
]
SHAPES = [  # steps, batch, input, hidden: words that are not full, fewer units than lanes, overlapping blocks
    (1, 1, 1, 1), (1, 2, 3, 2), (1, 7, 5, 3), (1, 5, 17, 5), (1, 9, 31, 17), (1, 1, 33, 33), (1, 17, 64, 48),
    (1, 1, 130, 200),
]  # fmt: skip


@cell
def linear(x, h, c, W, U):
    """Two vectors in one sum, each with a scale of its own; and a product of a second stage."""
    new = W.h @ x + U.h @ h
    return new, U.c @ new + c


def single_precision(given: Given) -> Given:
    """The same numbers, rounded to what the engine is given."""

    def rounded(values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: value.astype(np.float32) for name, value in values.items()}

    return replace(given, inputs=rounded(given.inputs), states=rounded(given.states), params=rounded(given.params))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("target", TARGETS)
def test_products_are_those_of_the_whole_numbers(target: str, shape: tuple[int, int, int, int]) -> None:
    given = single_precision(given_for(trace_cell(linear), shape))
    got = run(given, On("float32", target, "int8"))["states"]
    w, u, c = (quantised(given.params[name]) for name in ("W.h", "U.h", "U.c"))
    new = product(w, given.inputs["x"][0]) + product(u, given.states["h"])
    np.testing.assert_allclose(got["h"][0], new, rtol=1e-6, atol=1e-6 * np.abs(new).max())
    second = product(c, got["h"][0]) + given.states["c"]
    np.testing.assert_allclose(got["c"][0], second, rtol=1e-6, atol=1e-6 * np.abs(second).max())


def errors_of(name: str, shape: tuple[int, int, int, int], target: str = "host") -> float:
    """The largest difference to float32."""
    given = given_for(pair_of(name)[0], shape)
    got, want = (leaves(run(given, On("float32", target, products))) for products in ("int8", None))
    return max(float(np.abs(one - other).max()) for one, other in zip(got, want, strict=True))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", ["gru", "lstm", "layer_norm(gru)", "lstm_projected", "sru", "lstm_peephole"])
def test_any_cell_is_close_to_float32_and_is_not_float32(name: str, target: str) -> None:
    assert 1e-6 < errors_of(name, (5, 3, 21, 37), target) < 0.1


def test_all_targets_give_the_same_whole_numbers() -> None:
    given = given_for(trace_cell(linear), (1, 4, 30, 40))
    results = [run(given, On("float32", target, "int8"))["states"]["h"] for target in TARGETS]
    for result in results[1:]:
        np.testing.assert_allclose(result, results[0], rtol=1e-6)


@pytest.mark.parametrize("target", TARGETS)
def test_what_is_not_finite_comes_out(target: str) -> None:
    given = given_for(pair_of("lstm")[0], (1, 2, 7, 20))
    given.params["U.i"][3, 5] = np.nan
    got = run(given, On("float32", target, "int8"))["states"]["h"]
    assert np.isnan(got[:, :, 3]).all()
    assert np.isfinite(got[:, :, :3]).all()
    given = given_for(pair_of("lstm")[0], (1, 2, 7, 20))
    given.inputs["x"][0, 1, 2] = np.nan
    got = run(given, On("float32", target, "int8"))["states"]["h"]
    assert np.isnan(got[0, 1]).all()
    assert np.isfinite(got[0, 0]).all()


@pytest.mark.parametrize("target", TARGETS)
def test_zeros_are_zero(target: str) -> None:
    given = given_for(trace_cell(linear), (1, 2, 5, 6))
    given.states["h"][...] = 0
    given.inputs["x"][...] = 1e-38
    given.params["W.h"][2] = 0
    assert (run(given, On("float32", target, "int8"))["states"]["h"] == 0).all()


def test_the_key_and_the_layout_say_so() -> None:
    given = given_for(pair_of("gru")[0], (2, 2, 16, 16))
    plain, rounded = (
        Engine(plan(given.trace), given.sizes, "float32", products=products) for products in (None, "int8")
    )
    assert plain.key != rounded.key
    assert rounded.design(2, 2).layout.endswith("int8 products")


def test_matrices_take_a_quarter_of_the_memory() -> None:
    given = given_for(pair_of("gru")[0], (1, 1, 256, 256))
    sizes = [
        Engine(plan(given.trace), given.sizes, "float32", products=products).runner(1, 1).panel_bytes
        for products in (None, "int8")
    ]
    assert sizes[1] / sizes[0] < 0.27


def test_gradients_are_refused() -> None:
    given = given_for(save(trace_cell(linear)).backward, (1, 2, 3, 4))
    with pytest.raises(OptionError) as caught:
        Engine(plan(given.trace), given.sizes, "float32", products="int8")
    assert "sums gradients, which products in int8 are too coarse for" in str(caught.value)
    assert "expected: a forward run" in str(caught.value)


def test_sums_that_may_not_fit_are_refused() -> None:
    sizes = {"input": MOST_COLUMNS + 1, "hidden": 4}
    with pytest.raises(OptionError, match="a matrix has too many columns for weights of eight bits"):
        Engine(plan(trace_cell(linear)), sizes, "float32", products="int8")
