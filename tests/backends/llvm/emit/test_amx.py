"""Tiles: their configuration, the instructions, and the functions that stand for these in tests."""

import ctypes
from collections.abc import Callable

import numpy as np
import pytest

from gatewright.backends.llvm.emit.amx import AmxTiles, configuration
from gatewright.backends.llvm.emit.emitter import POINTER
from gatewright.backends.llvm.emit.native import NativeModule
from gatewright.backends.llvm.emit.vector_type import Value
from gatewright.backends.llvm.jit.target import host
from tests.backends.llvm.elementwise import loaded
from tests.backends.llvm.emulated_amx import EmulatedAmx

ARGUMENTS = {"left": POINTER, "right": POINTER, "result": POINTER}
Use = Callable[[AmxTiles, Value, Value, Value], None]


def module(tiles: type[AmxTiles], use: Use) -> str:
    """A function of two operands and a result of 16 rows of 64 bytes."""
    written = NativeModule()
    with written.function("product", dtype="float32", width=1, **ARGUMENTS) as (e, args):
        own = tiles(e)
        own.configure()
        use(own, args.left, args.right, args.result)
        own.release()
    return str(written)


def multiplied(own: AmxTiles, left: Value, right: Value, result: Value) -> None:
    own.load(0, result, 64)
    own.load(1, left, 64)
    own.load(7, right, 64)
    own.dot(0, 1, 7)
    own.store(0, result, 64)


def emulated(words: np.ndarray, weights: np.ndarray, result: np.ndarray, use: Use = multiplied) -> np.ndarray:
    """The result after the function; operands are bits of 16 x 32 bfloat16 numbers."""
    result = result.astype(np.float32)
    functions = {"product": (ctypes.c_void_p,) * 3}
    library = loaded(module(EmulatedAmx, use), host(), functions)
    arrays = [np.ascontiguousarray(words, np.uint16), np.ascontiguousarray(weights, np.uint16), result]
    library["product"](*(array.ctypes.data for array in arrays))
    return result


def widened(bits: np.ndarray) -> np.ndarray:
    return (bits.astype(np.uint32) << 16).view(np.float32)


def by_definition(words: np.ndarray, weights: np.ndarray, result: np.ndarray) -> np.ndarray:
    """The manual's loop: even and odd elements apart, each product added without a rounding of its own."""
    a, b = widened(words).reshape(16, 16, 2), widened(weights).reshape(16, 16, 2)
    halves = np.zeros((2, 16, 16), np.float32)
    for k in range(16):
        for half in range(2):
            # the product of two numbers of 8 bits is exact in float64; the sum is rounded twice, here without effect
            products = a[:, k, half, None].astype(np.float64) * b[k, :, half].astype(np.float64)
            halves[half] = (halves[half] + products).astype(np.float32)
    return result + (halves[0] + halves[1])


def numbers(rng: np.random.Generator) -> np.ndarray:
    """The bits of 16 x 32 random bfloat16 numbers."""
    return (rng.standard_normal((16, 32)).astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)


def test_the_configuration_is_the_one_of_the_manual() -> None:
    """Palette 1, no row to begin at, 14 bytes of zeros, the row bytes of 16 tiles in 16 bits, the rows in 8 bits."""
    content = configuration()
    assert len(content) == 64
    assert content[:16] == bytes([1]) + bytes(15)
    assert np.frombuffer(content[16:48], "<u2").tolist() == [64] * 8 + [0] * 8
    assert list(content[48:]) == [16] * 8 + [0] * 8


def test_the_instructions_are_those_of_the_processor() -> None:
    text = module(AmxTiles, multiplied)
    calls = [line.strip() for line in text.splitlines() if "call" in line]
    assert [call.split("@", 1)[1].split("(")[0].strip('"') for call in calls] == [
        f"llvm.x86.{name}"
        for name in (
            "ldtilecfg", "tileloadd64", "tileloadd64", "tileloadd64", "tdpbf16ps", "tilestored64", "tilerelease"
        )
    ]  # fmt: skip
    assert 'tdpbf16ps"(i8 0, i8 1, i8 7)' in text
    assert 'tileloadd64"(i8 7, ptr %"right", i64 64)' in text


def test_a_product_is_that_of_the_definition() -> None:
    rng = np.random.default_rng(0)
    words, weights, before = numbers(rng), numbers(rng), rng.standard_normal((16, 16)).astype(np.float32)
    np.testing.assert_array_equal(emulated(words, weights, before), by_definition(words, weights, before))
    assert not np.array_equal(emulated(weights, words, before), by_definition(words, weights, before))


def test_denormal_numbers_are_zero() -> None:
    """Those of operands, of sums that were there before, and of results."""
    small, one = np.full((16, 32), 0x007F, np.uint16), np.full((16, 32), 0x3F80, np.uint16)
    zeros = np.zeros((16, 16), np.float32)
    assert not emulated(small, one, zeros).any()
    assert not emulated(one, small, zeros).any()
    assert (emulated(one, one, np.full((16, 16), 1e-40)) == 32).all()
    tiny = np.full((16, 32), 0x1F80, np.uint16)  # 2**-64: its square is denormal
    assert not emulated(tiny, tiny, zeros).any()


def test_what_is_not_finite_comes_out() -> None:
    words, weights = np.full((16, 32), 0x3F80, np.uint16), np.full((16, 32), 0x3F80, np.uint16)
    words[3, 4], words[5, 6] = 0x7F80, 0x7FC0
    result = emulated(words, weights, np.zeros((16, 16)))
    assert np.isposinf(result[3]).all()
    assert np.isnan(result[5]).all()
    assert (np.delete(result, (3, 5), axis=0) == 32).all()


def test_tiles_are_lost_when_they_are_released() -> None:
    def use(own: AmxTiles, left: Value, right: Value, result: Value) -> None:
        own.load(0, left, 64)
        own.release()
        own.store(0, result, 64)

    before = np.ones((16, 16), np.float32)
    np.testing.assert_array_equal(emulated(np.zeros((16, 32)), np.zeros((16, 32)), before, use), before)


def test_a_tile_is_zeroed() -> None:
    def use(own: AmxTiles, left: Value, right: Value, result: Value) -> None:
        own.load(2, left, 64)
        own.zero(2)
        own.store(2, result, 64)

    rng = np.random.default_rng(0)
    assert not emulated(numbers(rng), numbers(rng), np.ones((16, 16)), use).any()


def test_operands_of_another_size_give_no_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    content = bytearray(configuration())
    content[48 + 7] = 15
    monkeypatch.setattr("gatewright.backends.llvm.emit.amx.configuration", lambda: bytes(content))
    rng = np.random.default_rng(0)
    assert np.isnan(emulated(numbers(rng), numbers(rng), np.zeros((16, 16)))).all()
