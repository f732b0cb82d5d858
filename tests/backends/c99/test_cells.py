"""Every cell as C code gives what the reference gives."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

import gatewright as gw
from gatewright import cells
from gatewright.axes import bind
from gatewright.backends.c99.pair import Remarks, pair
from gatewright.backends.c99.parts import CellPart, CellStack
from gatewright.backends.c99.rules import RULES
from gatewright.export.c_check import main_program
from gatewright.export.c_parts import folded, with_whole_numbers
from gatewright.export.c_reading import run as reference
from gatewright.lang import Cell
from gatewright.lang.ops import Op
from gatewright.trace import Trace, trace_cell
from tests.backends.c99.compiled import CXX, GNU, SANITIZERS, build, compiler, run
from tests.backends.odd_cells import ODD
from tests.cells.cases import ALL, SQUARE
from tests.parity.assertions import assert_parity

STEPS = 6


@gw.cell
def exchanged(x, h, c, W):
    """Two states that change places, and one that is needed after its new value is known."""
    return 1 * c, h + W.c @ x


@gw.cell
def kept_until_the_end(x, h, c, d, W, U):
    """New states that are old ones, inputs or numbers."""
    g = gw.tanh(W.g @ x + U.g @ c)
    return gw.tanh(U.h @ g + U.c @ h + d), 1 * h, gw.relabel(x, like=h) * 1


@gw.cell
def products_of_products(x, h, W, U):
    """A product that is a product's vector, and a new state that is a product."""
    return U.a @ (U.b @ h - W.c @ x)


VARIED: Mapping[str, Cell] = {
    "masked(lstm)": gw.masked(cells.lstm),
    "zoneout(gru)": gw.zoneout(0.3)(cells.gru),
    "recurrent_dropout(gru)": gw.recurrent_dropout(0.2)(cells.gru),
    "layer_norm(lstm)": gw.layer_norm(cells.lstm),
    "residual(gru)": gw.residual(cells.gru),
    **{cell.name: cell for cell in (exchanged, kept_until_the_end, products_of_products)},
}
CASES = {case.cell.label: (case.trace, case.sizes) for case in ALL}
CASES |= {name: (trace_cell(cell), SQUARE) for name, cell in (ODD | VARIED).items()}
FEW = ("gru", "lstm", "slstm", "all_functions", "matrix_of_each_row", "layer_norm(lstm)")


def stack_of(name: str, rng: np.random.Generator, **options) -> CellStack:
    trace, sizes = CASES[name]
    return CellStack("model", (part_of(trace, sizes, rng),), **options)


def part_of(trace: Trace, sizes: Mapping[str, int], rng: np.random.Generator, name: str = "") -> CellPart:
    large = 4 if trace.name == "matrix_of_each_row" else 2  # its products of products enlarge what rounding leaves
    params = {v.name: rng.normal(size=bind(v.shape, sizes)) / large for v in trace.params}
    small, constants = folded(trace, params, sizes)
    return CellPart(name, small, constants, sizes)


def written(stack: CellStack, folder: Path) -> Path:
    texts = pair(stack, Remarks("a test"))
    (folder / f"{stack.name}.h").write_text(texts.header)
    (folder / f"{stack.name}.c").write_text(texts.source)
    (folder / "main.c").write_text(main_program(stack))
    return folder / f"{stack.name}.c"


def check(stack: CellStack, folder: Path, rng: np.random.Generator, **building) -> None:
    """Hold what C gives to the reference: by rounding, and in float32 to a millionth."""
    program = build(folder, written(stack, folder), folder / "main.c", **building)
    xs = rng.normal(size=(STEPS, 1, stack.parts[0].input_size)).astype(stack.dtype)
    got, want = run(program, xs, stack.dtype, stack.parts[-1].output_size), reference(stack, xs)[:, 0]
    assert_parity(got, want, dtype=stack.dtype, steps=STEPS, backend="C")
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-6 * max(1.0, np.abs(want).max()))


@pytest.mark.parametrize("name", CASES)
def test_a_cell_gives_what_the_reference_gives(name: str, tmp_path: Path, rng: np.random.Generator) -> None:
    check(stack_of(name, rng), tmp_path, rng)


@pytest.mark.parametrize("name", FEW)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_with_the_functions_of_math_h(name: str, dtype: str, tmp_path: Path, rng: np.random.Generator) -> None:
    check(stack_of(name, rng, math="libm", dtype=dtype), tmp_path, rng)


@pytest.mark.parametrize("name", FEW)
def test_in_double(name: str, tmp_path: Path, rng: np.random.Generator) -> None:
    check(stack_of(name, rng, dtype="float64"), tmp_path, rng)


@pytest.mark.parametrize("name", FEW)
def test_under_sanitizers_of_memory_and_undefined_behaviour(
    name: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    check(stack_of(name, rng), tmp_path, rng, flags=("-std=c99", *SANITIZERS))


@pytest.mark.parametrize("name", FEW)
@pytest.mark.parametrize("cc", ["gcc", "clang"])
def test_it_is_c_plus_plus_too(name: str, cc: str, tmp_path: Path, rng: np.random.Generator) -> None:
    check(stack_of(name, rng), tmp_path, rng, flags=CXX, cc=compiler(cc))


@pytest.mark.parametrize("name", FEW)
def test_clang_compiles_it(name: str, tmp_path: Path, rng: np.random.Generator) -> None:
    check(stack_of(name, rng), tmp_path, rng, cc=compiler("clang"))


@pytest.mark.parametrize("math", ["own", "libm"])
def test_it_may_be_compiled_to_be_fast(math: str, tmp_path: Path, rng: np.random.Generator) -> None:
    """Fast math takes what is added and subtracted again for nothing, which the functions must not rest on."""
    check(stack_of("lstm", rng, math=math), tmp_path, rng, flags=(*GNU, "-O3", "-ffast-math"))


@pytest.mark.parametrize("name", FEW)
def test_weights_of_eight_bits_give_what_their_numbers_say(name: str, tmp_path: Path, rng: np.random.Generator) -> None:
    exact = stack_of(name, rng)
    check(CellStack("model", tuple(with_whole_numbers(part, "float32") for part in exact.parts)), tmp_path, rng)


def test_several_layers_are_one_above_the_other(tmp_path: Path, rng: np.random.Generator) -> None:
    sizes = {"input": 3, "hidden": 5}
    lower = part_of(trace_cell(cells.lstm), sizes, rng, "l0")
    middle = part_of(trace_cell(cells.sru), {"input": 5, "hidden": 5}, rng, "l1")
    upper = part_of(trace_cell(cells.gru), {"input": 5, "hidden": 4}, rng, "l2")
    check(CellStack("model", (lower, middle, upper)), tmp_path, rng)


def test_two_models_are_linked_into_one_program(tmp_path: Path, rng: np.random.Generator) -> None:
    """Neither defines a name of the other's, even where both are one file."""
    stacks = [
        CellStack(name, (part_of(trace_cell(cells.gru), {"input": 2, "hidden": size}, rng),))
        for name, size in (("first", 3), ("second", 5))
    ]
    sources = [written(stack, tmp_path) for stack in stacks]
    (tmp_path / "both.c").write_text('#include "first.c"\n#include "second.c"\n')
    for stack in stacks:
        (tmp_path / "main.c").write_text(main_program(stack))
        xs = rng.normal(size=(STEPS, 1, 2)).astype("float32")
        want = reference(stack, xs)[:, 0]
        for files in (sources, [tmp_path / "both.c"]):
            program = build(tmp_path, *files, tmp_path / "main.c")
            assert_parity(run(program, xs, "float32", want.shape[1]), want, dtype="float32", steps=STEPS)


def test_every_op_has_a_rule() -> None:
    assert set(RULES) == set(Op)


def test_the_code_of_a_small_gru(golden) -> None:
    sizes = {"input": 2, "hidden": 3}
    trace = trace_cell(cells.gru)
    params = {
        v.name: np.linspace(-1, 1, int(np.prod(bind(v.shape, sizes)))).reshape(bind(v.shape, sizes)) / (1 + place)
        for place, v in enumerate(trace.params)
    }
    for name, math, whole in (("gru", "own", False), ("gru_int8_libm", "libm", True)):
        part = CellPart("", *folded(trace, params, sizes), sizes)
        part = with_whole_numbers(part, "float32") if whole else part
        texts = pair(
            CellStack("gru", (part,), math=math), Remarks("a small one", input="2 numbers", output="3 numbers")
        )
        golden(f"c99/{name}.h", texts.header)
        golden(f"c99/{name}.c", texts.source)
