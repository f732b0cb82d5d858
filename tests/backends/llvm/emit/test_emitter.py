"""The emitter, by running what it emits."""

from collections.abc import Callable

import numpy as np
import pytest
from llvmlite import ir

from gatewright.backends.llvm.emit.emitter import Emitter
from gatewright.backends.llvm.emit.vector_type import Value, VectorType
from gatewright.backends.llvm.jit.target import TARGET_NAMES, runnable, target_named
from tests.backends.llvm.elementwise import applied, kernel, loaded

DTYPES = ("float32", "float64")
WIDTHS = (1, 2, 4, 8, 16)
RUNNABLE = [name for name in TARGET_NAMES if runnable(target_named(name))]
NAN, INF = np.nan, np.inf

Emit = Callable[[Emitter, Value, Value, Value], None]

each_dtype = pytest.mark.parametrize("dtype", DTYPES)
each_width = pytest.mark.parametrize("width", WIDTHS)
each_target = pytest.mark.parametrize("target", RUNNABLE)


def ran(emit: Emit, source: np.ndarray, size: int, width: int, count: int = 0, target: str = "host") -> np.ndarray:
    """What a kernel leaves in an array of so many elements, which held NaN before."""
    result = np.full(size, NAN, source.dtype)
    library = loaded(kernel(emit, source.dtype.name, width), target_named(target))
    library["apply"](source.ctypes.data, result.ctypes.data, count)
    return result


def ramp(size: int, dtype: str) -> np.ndarray:
    return np.arange(1, size + 1, dtype=dtype)


ODD = [0.0, -0.0, 1.0, -1.5, 3.25, INF, -INF, NAN]
ARITHMETIC = {
    "add": (lambda e, x: e.add(x, 0.5), lambda x: x + 0.5),
    "sub": (lambda e, x: e.sub(0.5, x), lambda x: 0.5 - x),
    "mul": (lambda e, x: e.mul(x, -2.0), lambda x: x * -2),
    "div": (lambda e, x: e.div(1.0, x), lambda x: 1 / x),
    "neg": (lambda e, x: e.neg(x), np.negative),
    "fma": (lambda e, x: e.fma(x, 2.0, 1.0), lambda x: x * 2 + 1),
    "sqrt": (lambda e, x: e.sqrt(x), np.sqrt),
    "abs": (lambda e, x: e.abs(x), np.abs),
    "copysign": (lambda e, x: e.copysign(2.0, x), lambda x: np.copysign(2, x)),
    "minimum": (lambda e, x: e.minimum(x, 1.0), lambda x: np.minimum(x, 1)),
    "minimum, second": (lambda e, x: e.minimum(1.0, x), lambda x: np.minimum(1, x)),
    "maximum": (lambda e, x: e.maximum(x, 1.0), lambda x: np.maximum(x, 1)),
    "maximum, second": (lambda e, x: e.maximum(1.0, x), lambda x: np.maximum(1, x)),
    "smaller": (lambda e, x: e.smaller(x, 1.0), lambda x: np.where(x < 1, x, 1)),
    "smaller, second": (lambda e, x: e.smaller(1.0, x), lambda x: np.where(x > 1, 1, x)),
    "larger": (lambda e, x: e.larger(x, 1.0), lambda x: np.where(x > 1, x, 1)),
    "relu": (lambda e, x: e.larger(0.0, x), lambda x: np.maximum(0, x)),
    "is_nan": (lambda e, x: e.select(e.is_nan(x), 1.0, 0.0), lambda x: np.where(np.isnan(x), 1, 0)),
    "<": (lambda e, x: e.select(e.compare("<", x, 1.0), 1.0, x), lambda x: np.where(x < 1, 1, x)),
    "<=": (lambda e, x: e.select(e.compare("<=", x, 1.0), 1.0, x), lambda x: np.where(x <= 1, 1, x)),
    "==": (lambda e, x: e.select(e.compare("==", x, 1.0), 2.0, x), lambda x: np.where(x == 1, 2, x)),
    "!=": (lambda e, x: e.select(e.compare("!=", x, x), 2.0, x), lambda x: np.where(np.isnan(x), 2, x)),
    ">": (lambda e, x: e.select(e.compare(">", x, 1.0), 1.0, x), lambda x: np.where(x > 1, 1, x)),
    ">=": (lambda e, x: e.select(e.compare(">=", x, 1.0), 1.0, x), lambda x: np.where(x >= 1, 1, x)),
    "bits": (lambda e, x: e.from_bits(e.and_bits(e.bits(x), (1 << e.vector.limits.bits - 1) - 1)), np.abs),
}


@each_target
@each_dtype
@pytest.mark.parametrize("name", ARITHMETIC)
def test_arithmetic_is_that_of_numpy(name: str, dtype: str, target: str) -> None:
    emit, meaning = ARITHMETIC[name]
    x = np.array(ODD, dtype)
    with np.errstate(all="ignore"):
        want = np.asarray(meaning(x), dtype)
    assert list(map(repr, applied(emit, x, target_named(target)))) == list(map(repr, want))


@each_dtype
@each_width
def test_bits_are_shifted_and_added(dtype: str, width: int) -> None:
    def twice(e: Emitter, x: Value) -> Value:
        mantissa = e.vector.limits.nmant
        exponent = e.shift_right(e.bits(x), mantissa)
        significand = e.and_bits(e.bits(x), (1 << mantissa) - 1)
        return e.from_bits(e.or_bits(e.shift_left(e.add_bits(exponent, 1), mantissa), significand))

    x = ramp(16, dtype)
    assert np.array_equal(applied(twice, x, target_named("host"), width), 2 * x)


@each_dtype
@each_width
@pytest.mark.parametrize("target", [name for name in RUNNABLE if name != "host"])
def test_only_the_first_elements_are_read_and_written(dtype: str, width: int, target: str) -> None:
    source = ramp(width, dtype)
    for lanes in range(1, width + 1):

        def emit(e: Emitter, source: Value, target: Value, count: Value, lanes: int = lanes) -> None:
            x = e.load_first(source, lanes)
            e.store_first(e.add(x, 1.0), target, lanes)
            e.store(x, e.address(target, width))

        result = ran(emit, source, 2 * width, width, target=target)
        assert np.array_equal(result[:lanes], source[:lanes] + 1)
        assert np.isnan(result[lanes:width]).all()
        assert np.array_equal(result[width:], np.where(np.arange(width) < lanes, source, 0))


@each_dtype
@each_width
def test_lanes_are_summed_and_filled(dtype: str, width: int) -> None:
    def emit(e: Emitter, source: Value, target: Value, count: Value) -> None:
        x = e.load(source)
        scalar = e.with_width(1)
        scalar.store(e.sum_lanes(x, "total"), target)
        scalar.store(e.lane(x, width - 1, "last"), e.address(target, 1))
        e.store(e.broadcast(e.address(source, width - 1), "last"), e.address(target, 2))

    x = ramp(width, dtype)
    want = np.concatenate([[x.sum(), width], np.full(width, width)])
    assert np.array_equal(ran(emit, x, 2 + width, width), want)


@pytest.mark.parametrize(("start", "stop", "step"), [(0, 5, 1), (1, 6, 2), (0, 0, 1), (3, 2, 1)])
def test_a_loop_carries_values_from_turn_to_turn(start: int, stop: int, step: int) -> None:
    def emit(e: Emitter, source: Value, target: Value, count: Value) -> None:
        with e.loop(start, count, step, "k", {"sum": e.constant(0.0), "last": e.constant(-1.0)}) as k:
            x = e.load(e.address(source, k.index), "x")
            k.carry({"sum": e.add(k.values["sum"], x), "last": x})
        e.store(k.values["sum"], target)
        e.store(k.values["last"], e.address(target, 1))

    x = ramp(8, "float64")
    seen = [0.0, *x[start:stop:step]] if stop > start else [0.0]
    want = [sum(seen), seen[-1] if len(seen) > 1 else -1]
    assert ran(emit, x, 2, 1, count=stop).tolist() == want


def test_loops_and_branches_nest() -> None:
    def emit(e: Emitter, source: Value, target: Value, count: Value) -> None:
        with e.loop(0, count, 1, "row") as row:
            first = e.mul_index(row.index, count, "first")
            with e.loop(0, count, 1, "column", {"sum": e.constant(0.0)}) as column:
                x = e.load(e.address(source, e.add_index(first, column.index, "at")), "x")
                with e.when(e.compare_index("<", column.index, row.index, "is_below"), "below"):
                    e.store(x, e.address(target, e.add_index(first, column.index)))
                column.carry({"sum": e.add(column.values["sum"], x)})
            e.store(column.values["sum"], e.address(target, e.add_index(first, row.index)))

    x = ramp(9, "float32").reshape(3, 3)
    result = ran(emit, x, 9, 1, count=3).reshape(3, 3)
    assert np.array_equal(np.tril(result, -1), np.tril(x, -1))
    assert np.array_equal(np.diag(result), x.sum(axis=1))
    assert np.isnan(result[np.triu_indices(3, 1)]).all()


def test_known_indices_are_numbers() -> None:
    module = ir.Module()
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), []), "empty")
    e = Emitter(ir.IRBuilder(function.append_basic_block("entry")), "float32", 4)
    assert (e.add_index(2, 3), e.mul_index(2, 3)) == (5, 6)
    assert "add" not in str(function)


def test_a_loop_has_to_carry_on_what_it_started_with() -> None:
    def emit(e: Emitter, source: Value, target: Value, count: Value) -> None:
        with e.loop(0, count, 1, "k", {"sum": e.constant(0.0), "last": e.constant(0.0)}) as k:
            k.carry({"sum": k.values["sum"]})

    with pytest.raises(ValueError, match=r"loop 'k' carries \['last', 'sum'\], but its body gave \['sum'\]"):
        kernel(emit, "float32", 4)


@pytest.mark.parametrize("width", [0, 3, 6])
def test_lanes_come_in_powers_of_two(width: int) -> None:
    with pytest.raises(ValueError, match=f"a vector has a power of two of lanes, not {width}"):
        VectorType("float32", width)


def test_values_are_named_within_their_scope() -> None:
    def emit(e: Emitter, source: Value, target: Value, count: Value) -> None:
        with e.scope("r"):
            double = e.mul(e.load(source, "x"), 2.0, "double")
            e.store(e.add(double, 1.0), target)

    module = kernel(emit, "float32", 4)
    assert '%"r.double" = fmul <4 x float> %"r.x", splat (float 0x4000000000000000)\n' in module
    assert '%"r" = fadd <4 x float> %"r.double", splat' in module


@each_width
def test_a_scalar_fills_all_lanes(width: int) -> None:
    def emit(e: Emitter, source: Value, target: Value, count: Value) -> None:
        e.store(e.splat(e.with_width(1).load(source), "x"), target)

    assert ran(emit, ramp(1, "float32"), width, width).tolist() == [1.0] * width
