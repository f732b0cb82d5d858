"""Pairs of bfloat16 numbers: rounding, order, and what is not finite."""

from collections.abc import Callable

import numpy as np
import pytest

from gatewright.backends.llvm.emit import bfloat16
from gatewright.backends.llvm.emit.emitter import Emitter
from gatewright.backends.llvm.emit.vector_type import Value
from gatewright.backends.llvm.jit.target import host
from tests.backends.llvm.elementwise import kernel, loaded

NATIVE = [False, *([True] if host().has_bfloat16_dot else [])]
Pair = Callable[[Emitter, Value, Value], Value]


def rounded(x: np.ndarray) -> np.ndarray:
    """The nearest numbers of 8 significant bits, ties to even; denormal numbers of bfloat16 are not meant."""
    mantissa, exponent = np.frexp(x.astype(np.float64))
    near = np.ldexp(np.rint(mantissa * 256) / 256, exponent)
    return np.where(np.abs(near) > 3.3895314e38, np.copysign(np.inf, x), near).astype(np.float32)


def words(pair: Pair, x: np.ndarray, width: int) -> np.ndarray:
    """The first and the second numbers of the words of each two vectors that follow one another."""

    def emit(e: Emitter, source: Value, target: Value, count: Value) -> None:
        with e.loop(0, count, 2 * width, "at") as at:
            first = e.load(e.address(source, at.index))
            second = e.load(e.address(source, e.add_index(at.index, width)))
            e.store(pair(e, first, second), e.address(target, e.div_index(at.index, 2)))

    result = np.zeros(len(x) // 2, np.uint32)
    library = loaded(kernel(emit, "float32", width), host())
    library["apply"](x.ctypes.data, result.ctypes.data, len(x))
    return np.stack([result << 16, result & 0xFFFF0000]).view(np.float32)


def numbers() -> np.ndarray:
    """Any bits, ties among them, without denormal numbers: some processors take those for 0."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2**32, 4096, np.uint32).view(np.float32)
    ties = (rng.integers(0, 2**16, 4096, np.uint32) << 16 | 0x8000).view(np.float32)
    x = np.concatenate([x, ties, np.array([np.inf, -np.inf, 3.4e38, -3.4e38, 0.0, -0.0, 1.0, -2.0], np.float32)])
    x = x[np.isfinite(x) | np.isinf(x)]
    x = x[(np.abs(x) >= 2.0**-126) | (x == 0)]
    return x[: len(x) // 64 * 64].copy()


@pytest.mark.parametrize("width", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("native", NATIVE)
def test_pairs_are_rounded_to_the_nearest(native: bool, width: int) -> None:
    x = numbers()
    vectors = rounded(x).reshape(-1, 2, width)
    first, second = words(lambda e, a, b: bfloat16.pair(e, a, b, native=native), x, width)
    np.testing.assert_array_equal(first, vectors[:, 0].ravel())
    np.testing.assert_array_equal(second, vectors[:, 1].ravel())
    even, odd = words(lambda e, a, b: bfloat16.pair_neighbours(e, a, b, native=native), x, width)
    np.testing.assert_array_equal(even, rounded(x)[::2])
    np.testing.assert_array_equal(odd, rounded(x)[1::2])


@pytest.mark.parametrize("native", NATIVE)
def test_nan_stays_nan(native: bool) -> None:
    """Those too whose bits are all in the half that is cut off."""
    bits = np.array([0x7F800001, 0xFF800001, 0x7FFFFFFF, 0xFFFFFFFF, 0x7FC00000, 0x7F80FFFF, 0xFF808000, 1], np.uint32)
    got = words(lambda e, a, b: bfloat16.pair(e, a, b, native=native), bits.view(np.float32), 4)
    assert np.isnan(got).ravel().tolist() == [True] * 7 + [False]


@pytest.mark.parametrize("width", [1, 4, 16])
def test_words_are_widened_exactly(width: int) -> None:
    def both(e: Emitter, first: Value, second: Value) -> Value:
        """Pairs that are taken apart, and put together again the other way round."""
        one, other = bfloat16.widened(e, bfloat16.pair(e, first, second, native=False))
        return bfloat16.pair(e, other, one, native=False)

    x = numbers()
    second, first = words(both, x, width)
    vectors = rounded(x).reshape(-1, 2, width)
    np.testing.assert_array_equal(first, vectors[:, 0].ravel())
    np.testing.assert_array_equal(second, vectors[:, 1].ravel())
