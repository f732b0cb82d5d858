"""exp, log, tanh and their like in C: how far they are off over the whole range."""

import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from gatewright.backends.c99.functions import Functions
from gatewright.backends.c99.own_math import LARGEST_ERRORS
from gatewright.lang.ops import Op
from tests.backends.c99.compiled import WARNINGS, compiler
from tests.backends.llvm.elementwise import ulps

WANTED: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "sigmoid": lambda a: 1 / (1 + np.exp(-a)),
    "tanh": np.tanh,
    "softplus": lambda a: np.maximum(a, 0) + np.log1p(np.exp(-np.abs(a))),
}
SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, -3.0])


@pytest.fixture(scope="module", params=["float32", "float64"])
def functions(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A dtype, and a program that applies the function of a place in WANTED to what it reads."""
    folder = tmp_path_factory.mktemp("functions")
    known = Functions("m", request.param, "own")
    cases = "".join(f"case '{place}': x = {known.called(Op(name))}(x); break;\n" for place, name in enumerate(WANTED))
    (folder / "main.c").write_text(
        "#include <stdint.h>\n#include <stdio.h>\n"
        + known.text(map(Op, WANTED))
        + f"int main(int n, char **which) {{ {'float' if request.param == 'float32' else 'double'} x; (void)n;\n"
        + f"while (fread(&x, sizeof x, 1, stdin) == 1) {{ switch (which[1][0]) {{ {cases} }}\n"
        + "fwrite(&x, sizeof x, 1, stdout); } return 0; }\n"
    )
    command = [compiler(), "-std=c99", "-O2", *WARNINGS, str(folder / "main.c"), "-o", str(folder / "program")]
    subprocess.run(command, check=True)
    return request.param, folder / "program"


def applied(functions: tuple[str, Path], name: str, xs: np.ndarray) -> np.ndarray:
    dtype, program = functions
    done = subprocess.run(
        [program, str(list(WANTED).index(name))], input=xs.astype(dtype).tobytes(), capture_output=True, check=True
    )
    return np.frombuffer(done.stdout, dtype)


def grid(name: str, dtype: str, rng: np.random.Generator) -> np.ndarray:
    """Numbers whose results are normal ones, dense where functions bend."""
    limits = np.finfo(dtype)
    most = float(np.log(limits.max.astype(np.float64))) * 0.98
    if name in ("log", "sqrt"):
        return np.concatenate([np.exp(rng.uniform(-most, most, 200_000)), rng.uniform(0.5, 2, 200_000)])
    return np.concatenate(
        [rng.uniform(-most, most, 200_000), rng.uniform(-2, 2, 200_000), rng.normal(size=9_999) / 1e4]
    )


def test_every_function_has_its_error_stated() -> None:
    assert LARGEST_ERRORS.keys() == WANTED.keys()


@pytest.mark.parametrize("name", WANTED)
def test_a_function_is_as_near_as_stated(name: str, functions: tuple[str, Path], rng: np.random.Generator) -> None:
    dtype, _ = functions
    xs = grid(name, dtype, rng).astype(dtype)
    want = WANTED[name](xs.astype(np.longdouble))
    off = ulps(applied(functions, name, xs), want)
    assert off.max() <= LARGEST_ERRORS[name], f"{off.max()} at {xs[off.argmax()]!r}"
    assert off.max() > LARGEST_ERRORS[name] / 3  # what is stated is not far from what is


@pytest.mark.parametrize("name", WANTED)
def test_what_is_no_number_stays_none_and_limits_are_reached(name: str, functions: tuple[str, Path]) -> None:
    dtype, _ = functions
    with np.errstate(all="ignore"):
        want = WANTED[name](SPECIAL.astype(np.longdouble))
    got = applied(functions, name, SPECIAL).astype(np.longdouble)
    np.testing.assert_allclose(got, want, rtol=4 * np.finfo(dtype).eps, atol=2 * np.finfo(dtype).smallest_normal)
