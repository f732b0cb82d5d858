"""Functions on vectors: how far they are off over the whole range, on every kind of processor that runs here."""

import importlib.util
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from gatewright.backends import coefficients
from gatewright.backends.llvm.emit import vector_math
from gatewright.backends.llvm.emit.vector_math import LARGEST_ERRORS
from gatewright.backends.llvm.jit.machine_code import emit_assembly
from gatewright.backends.llvm.jit.target import TARGET_NAMES, runnable, target_named
from tests.backends.llvm.elementwise import applied, elementwise, ulps
from tests.paths import ROOT

DTYPES = ("float32", "float64")
RUNNABLE = [name for name in TARGET_NAMES if runnable(target_named(name))]
# The registers that only code for this processor can use; host code may be any of them.
REGISTERS = {"x86-64-v2": "%xmm", "x86-64-v3": "%ymm", "x86-64-v4": "%zmm", "neon": "v0."}
NAN, INF = np.nan, np.inf
TOOL = ROOT / "tools" / "derive_coefficients.py"

extended = pytest.mark.skipif(
    np.finfo(np.longdouble).nmant <= np.finfo(np.float64).nmant, reason="there are no wider numbers to compare with"
)
each_dtype = pytest.mark.parametrize("dtype", DTYPES)
each_target = pytest.mark.parametrize("target", RUNNABLE)


def sigmoid(x: np.ndarray) -> np.ndarray:
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, small) / (1 + small)


def softplus(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


TRUTH: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "exp": np.exp,
    "log": np.log,
    "sigmoid": sigmoid,
    "softplus": softplus,
    "tanh": np.tanh,
}
MAY_VANISH = {"sigmoid", "softplus"}  # where the result is denormal

# For each function what goes in and exactly what comes out; "tiny" is the smallest number above 0, "max" the largest.
EXACT = {
    "exp": [(0.0, 1.0), (-0.0, 1.0), (INF, INF), (-INF, 0.0), ("tiny", 1.0), (1e4, INF), (-1e4, 0.0)],
    "log": [(1.0, 0.0), (0.0, -INF), (-0.0, -INF), (INF, INF), (-INF, NAN), (-1.0, NAN), ("-tiny", NAN)],
    "sigmoid": [(0.0, 0.5), (-0.0, 0.5), (INF, 1.0), (-INF, 0.0), (40.0, 1.0), ("tiny", 0.5), ("-max", 0.0)],
    "softplus": [(INF, INF), (-INF, 0.0), ("max", "max"), ("-max", 0.0), (800.0, 800.0)],
    "tanh": [(0.0, 0.0), (-0.0, -0.0), (INF, 1.0), (-INF, -1.0), (20.0, 1.0), ("tiny", "tiny"), ("-max", -1.0)],
    "sign": [(0.0, 0.0), (-0.0, -0.0), (INF, 1.0), (-INF, -1.0), ("tiny", 1.0), ("-max", -1.0), (-3.0, -1.0)],
}
RANGES = {"exp": (0, INF), "sigmoid": (0, 1), "softplus": (0, INF), "tanh": (-1, 1)}


@cache
def numbers(dtype: str) -> np.ndarray:
    """Numbers of every exponent and sign, many where functions bend, those where reduced arguments jump, odd ones."""
    rng, limits = np.random.default_rng(20), np.finfo(dtype)
    if dtype == "float32":
        anything = np.arange(0, 1 << 32, 2003, dtype=np.uint32).view(dtype)
    else:
        anything = rng.integers(0, 1 << 64, 400_000, dtype=np.uint64).view(dtype)
    bent = [rng.normal(0, scale, 60_000) for scale in (1e-3, 0.1, 1, 3, 10, 30, 100, 700)]
    near_one = 1 + rng.normal(0, 0.3, 60_000) / 2.0 ** rng.integers(0, limits.nmant, 60_000)
    jumps = np.asarray(np.arange(-2200, 2200) / 2 * np.log(2), dtype)
    around = [np.nextafter(jumps, np.asarray(to, dtype)) for to in (-INF, INF)]
    odd = [0, limits.smallest_subnormal, limits.smallest_normal, limits.max, INF, NAN]
    parts = [anything, *bent, near_one, jumps, *around, odd, np.negative(odd)]
    return np.concatenate([np.asarray(part, dtype) for part in parts])


@cache
def truth(name: str, dtype: str) -> np.ndarray:
    with np.errstate(all="ignore"):
        return TRUTH[name](numbers(dtype).astype(np.float64 if dtype == "float32" else np.longdouble))


@each_target
@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=extended)])
@pytest.mark.parametrize("name", TRUTH)
def test_results_are_off_by_no_more_than_is_stated(name: str, dtype: str, target: str) -> None:
    x, want = numbers(dtype), truth(name, dtype)
    got = applied(getattr(vector_math, name), x, target_named(target))
    off = ulps(got, want)
    if name in MAY_VANISH:
        off[(got == 0) & (np.abs(want) < np.finfo(dtype).smallest_normal)] = 0
    worst = int(np.argmax(off))
    assert off[worst] <= LARGEST_ERRORS[name], f"{name}({x[worst]!r}) gave {got[worst]!r}, not {want[worst]!r}"


@each_target
@each_dtype
@pytest.mark.parametrize("name", EXACT)
def test_odd_numbers_give_exactly_what_they_should(name: str, dtype: str, target: str) -> None:
    limits = np.finfo(dtype)
    known = {"tiny": limits.smallest_subnormal, "max": limits.max}
    known |= {f"-{key}": -number for key, number in known.items()}
    x, want = (
        np.array([known.get(number, number) for number in column], dtype)
        for column in zip(*EXACT[name], (NAN, NAN), strict=True)
    )
    got = applied(getattr(vector_math, name), x, target_named(target))
    assert list(map(repr, got)) == list(map(repr, want))


@each_target
@each_dtype
@pytest.mark.parametrize("name", RANGES)
def test_results_reach_the_ends_of_their_range_and_no_further(name: str, dtype: str, target: str) -> None:
    got = applied(getattr(vector_math, name), numbers(dtype), target_named(target))
    assert (np.nanmin(got), np.nanmax(got)) == RANGES[name]


@each_dtype
@pytest.mark.parametrize("name", TRUTH)
def test_the_width_of_vectors_changes_no_bit(name: str, dtype: str) -> None:
    fused = [target for target in map(target_named, RUNNABLE) if target.has_fma]
    if not fused:
        pytest.skip("this machine does not fuse multiplications and additions")
    function, x = getattr(vector_math, name), numbers(dtype)[::97]
    results = [applied(function, x, target) for target in fused]
    results += [applied(function, x, fused[0], width) for width in (1, 32)]
    assert {result.tobytes() for result in results} == {results[0].tobytes()}


@pytest.mark.parametrize("target", REGISTERS)
@each_dtype
@pytest.mark.parametrize("name", EXACT)
def test_every_processor_does_it_in_its_own_registers(name: str, dtype: str, target: str) -> None:
    kind = target_named(target)
    assembly = emit_assembly(elementwise(getattr(vector_math, name), dtype, kind.lanes(dtype)), kind)
    instructions = [line.split()[0] for line in assembly.splitlines() if line.startswith("\t")]
    assert REGISTERS[target] in assembly
    assert {"call", "callq", "bl"}.isdisjoint(instructions)
    assert sum("div" in instruction for instruction in instructions) <= 1


def test_generated_code_is_readable(golden: Callable[[str, str], None]) -> None:
    def update_gate(e, x):
        return vector_math.sigmoid(e, x, "update_gate")

    golden("llvm/sigmoid.ll", elementwise(update_gate, "float32", 8))


@pytest.mark.parametrize(
    ("got", "want", "off"),
    [
        (1.0, 1 - 2.0**-24, 1.0),  # the last place of what is just below 1 is half that of 1
        (1.0, 1 + 2.0**-24, 0.5),
        (2.0**-149, 0.0, 1.0),
        (2.0**-149, 2.0**-150, 0.5),
        (INF, 2.0**128, 0.0),
        (INF, 2.0**127, INF),
        (1.0, INF, INF),
        (NAN, 1.0, INF),
        (1.0, NAN, INF),
        (NAN, NAN, 0.0),
        (-INF, INF, INF),
    ],
)
def test_errors_are_measured_right(got: float, want: float, off: float) -> None:
    assert ulps(np.array([got], np.float32), np.array([want]))[0] == off


def derivation() -> ModuleType:
    """The script that makes the coefficients."""
    pytest.importorskip("mpmath")
    if not TOOL.is_file():
        pytest.skip("the tools do not come with an installed package")
    spec = importlib.util.spec_from_file_location(Path(TOOL).stem, TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("polynomial", ["exp_near", "exp_wide"])
def test_coefficients_can_be_derived_again(polynomial: str) -> None:
    script = derivation()
    found, error = script.derive(script.POLYNOMIALS[polynomial], "float32")
    assert tuple(map(float, found)) == getattr(coefficients.COEFFICIENTS["float32"], polynomial)
    assert error < 2.0**-26
