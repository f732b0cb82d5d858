"""Engines whose products have bfloat16 operands: exact where rounding changes nothing, and within a bound elsewhere."""

from dataclasses import replace

import numpy as np
import pytest

from gatewright.backends.llvm.jit.target import runnable, target_named
from gatewright.backends.llvm.runtime.engine import Engine
from gatewright.errors import OptionError
from gatewright.lang import cell
from gatewright.schedule.plan import plan
from gatewright.schedule.residuals import save
from gatewright.trace import Trace, trace_cell
from tests.backends.llvm.engines import On, check, leaves, run
from tests.backends.llvm.runtime.test_engine import given_for, pair_of
from tests.schedule.running import Given

TARGETS = [
    target for target in ("host", "x86-64-v4", "x86-64-v3", "x86-64-v2", "neon") if runnable(target_named(target))
]
SHAPES = [  # steps, batch, input, hidden: odd depths, fewer units than lanes, tails of every kind, whole vectors
    (3, 2, 1, 1), (2, 3, 3, 2), (3, 7, 5, 3), (3, 5, 17, 5), (2, 9, 31, 17), (3, 1, 33, 33), (2, 17, 64, 48),
    (1, 1, 2, 16),
]  # fmt: skip


@cell
def linear(x, h, c, W, U):
    """Products and sums alone, one of a product; whole numbers stay whole."""
    new = W.h @ x + U.h @ h + c
    return new, U.c @ (new - W.c @ x)


def whole_numbers(trace: Trace, shape: tuple[int, int, int, int], seed: int = 0) -> Given:
    """Small whole numbers, and matrices of so few ones that every value stays one that bfloat16 holds."""
    given, rng = given_for(trace, shape), np.random.default_rng(seed)

    def drawn(values: dict[str, np.ndarray], least: float) -> dict[str, np.ndarray]:
        return {n: rng.choice([-1.0, 0.0, 1.0], v.shape) * (rng.random(v.shape) > least) for n, v in values.items()}

    def sparse(values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """At most one number in each row and column."""
        return {n: _sparse(v.shape, rng) for n, v in values.items()}

    return replace(given, inputs=drawn(given.inputs, 0.2), states=drawn(given.states, 0.2), params=sparse(given.params))


def _sparse(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    matrix = np.zeros(shape)
    count = min(shape)
    matrix[rng.permutation(shape[0])[:count], rng.permutation(shape[1])[:count]] = rng.choice([-1.0, 1.0], count)
    return matrix


def check_same_bits(given: Given, target: str) -> None:
    """Hold products in bfloat16 to those in float32, whose numbers they hold exactly."""
    got, want = (leaves(run(given, On("float32", target, products))) for products in ("bfloat16", None))
    assert max(float(np.abs(array).max()) for array in want) > 1
    for one, other in zip(got, want, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("target", TARGETS)
def test_whole_numbers_give_the_same_bits(target: str, shape: tuple[int, int, int, int]) -> None:
    """Every element meets its own: of matrices that are packed both ways, and of sums over pairs of lines."""
    pair = save(trace_cell(linear))
    for trace in (pair.forward, pair.backward):
        check_same_bits(whole_numbers(trace, shape), target)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", ["gru", "lstm", "layer_norm(gru)", "lstm_projected", "sru"])
def test_errors_are_those_of_bfloat16(name: str, target: str) -> None:
    for trace in pair_of(name):
        check(given_for(trace, (5, 3, 21, 37)), On("float32", target, "bfloat16"))


@pytest.mark.parametrize("steps", [1, 10, 100])
@pytest.mark.parametrize("name", ["gru", "lstm"])
def test_errors_do_not_grow_with_the_length(name: str, steps: int) -> None:
    trace = pair_of(name)[0]
    check(given_for(trace, (steps, 4, 32, 64)), On(products="bfloat16"))


def test_it_is_another_arithmetic() -> None:
    given = given_for(pair_of("gru")[0], (3, 3, 16, 32))
    got, want = (leaves(run(given, On(products=products))) for products in ("bfloat16", None))
    assert not any(np.array_equal(one, other) for one, other in zip(got, want, strict=True))


@pytest.mark.parametrize("target", TARGETS)
def test_what_is_not_finite_comes_out(target: str) -> None:
    given = given_for(pair_of("lstm")[0], (4, 2, 7, 20))
    given.params["U.i"][3, 5] = np.nan
    got = run(given, On("float32", target, "bfloat16"))["states"]["h"]
    assert np.isnan(got[:, :, 3]).all()
    assert np.isfinite(got[0, :, :3]).all()


def test_the_key_and_the_layout_say_so() -> None:
    given = given_for(pair_of("gru")[0], (2, 2, 16, 16))
    sizes, program = given.sizes, plan(given.trace)
    plain, rounded = (Engine(program, sizes, "float32", products=products) for products in (None, "bfloat16"))
    assert plain.key != rounded.key
    assert "bfloat16" not in plain.design(2, 2).layout
    host = target_named()
    products = "bfloat16 products" if host.has_bfloat16_dot else "bfloat16 matrices"
    assert rounded.design(2, 2).layout.endswith(products)
    older = Engine(program, sizes, "float32", target=target_named(TARGETS[-1]), products="bfloat16")
    assert older.design(2, 2).layout.endswith("bfloat16 matrices")


def test_sums_are_float32() -> None:
    given = given_for(pair_of("gru")[0], (2, 2, 3, 4))
    with pytest.raises(OptionError) as caught:
        Engine(plan(given.trace), given.sizes, "float64", products="bfloat16")
    assert str(caught.value) == (
        "products in bfloat16 are added up in float32\n  expected: an engine of dtype 'float32'\n  got: 'float64'"
    )


def test_products_that_do_not_exist_are_refused() -> None:
    given = given_for(pair_of("gru")[0], (2, 2, 3, 4))
    with pytest.raises(OptionError) as caught:
        Engine(plan(given.trace), given.sizes, "float32", products="int4")  # type: ignore[arg-type]
    assert str(caught.value) == (
        "the engine cannot multiply in this dtype\n  expected: products=None or 'bfloat16' or 'int8'\n  got: 'int4'"
    )
