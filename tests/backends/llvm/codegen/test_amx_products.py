"""Products by AMX: emulated at odd sizes, and the instructions that LLVM makes of them."""

import re
from dataclasses import replace

import numpy as np
import pytest

from gatewright.backends.llvm.codegen.amx_products import amx_bundle, amx_tile
from gatewright.backends.llvm.codegen.kernels import Kernels
from gatewright.backends.llvm.codegen.module import emit_module
from gatewright.backends.llvm.codegen.tiles import Tile
from gatewright.backends.llvm.emit.amx import AmxTiles
from gatewright.backends.llvm.jit.machine_code import emit_assembly, emit_object
from gatewright.backends.llvm.jit.target import host, target_named
from gatewright.backends.llvm.runtime.engine import Engine
from gatewright.lang import cell
from gatewright.schedule.plan import plan
from gatewright.schedule.residuals import save
from gatewright.trace import Trace, trace_cell
from tests.backends.llvm.emulated_amx import EmulatedAmx
from tests.backends.llvm.engines import HERE, On, check, engine, leaves, run, sizes_of
from tests.backends.llvm.runtime.test_bfloat16 import linear, whole_numbers
from tests.backends.llvm.runtime.test_engine import given_for, pair_of

EMULATED, VECTORS = On(products="bfloat16", amx=EmulatedAmx), On(products="bfloat16")
SAPPHIRE_RAPIDS = replace(
    target_named("x86-64-v4"),
    name="sapphirerapids",
    triple="x86_64-unknown-linux-gnu",
    cpu="sapphirerapids",
    features=target_named("x86-64-v4").features + ",+avx512bf16,+avx512vnni,+amx-tile,+amx-bf16",
)
needs_rounding = pytest.mark.skipif(not host().has_bfloat16_dot, reason="vectors are rounded by AVX512_BF16")


@cell
def many_products(x, h, W, U):
    """More products in one stage than there are tiles for."""
    return (W.a @ x + U.a @ h) * (W.b @ x) + (U.c @ h + W.d @ x) * (U.e @ h) + W.f @ x


def kernels_of(trace: Trace, rows: int, wide: int, hidden: int, on: On = EMULATED, *, ragged: bool = False) -> Kernels:
    return engine(given_for(trace, (2, rows, wide, hidden)), on).design(2, rows, ragged=ragged)


def stages_by_amx(kernels: Kernels) -> list[str]:
    return re.findall(r"(\w+) 16 lanes, 16x\dx1 of \d in emulated AMX tiles", kernels.layout)


@needs_rounding
@pytest.mark.parametrize(
    ("rows", "hidden", "expected"),
    [
        (8, 64, ["before0"]),  # the sums before the loop are of the rows of all steps
        (1, 64, []),
        (15, 16, ["before0"]),
        (16, 15, []),
        (16, 16, ["before0", "loop0", "loop1"]),
        (65, 65, ["before0", "loop0", "loop1"]),
    ],
)
def test_tiles_are_used_where_rows_and_units_fill_them(rows: int, hidden: int, expected: list[str]) -> None:
    forward = pair_of("gru")[0]
    assert stages_by_amx(kernels_of(forward, rows, 7, hidden)) == expected
    assert stages_by_amx(kernels_of(forward, rows, 7, hidden, VECTORS)) == []
    assert stages_by_amx(kernels_of(forward, rows, 7, hidden, ragged=True)) == []
    assert stages_by_amx(kernels_of(forward, rows, 7, hidden, replace(EMULATED, products=None))) == []


@needs_rounding
def test_kernels_by_instructions_and_by_functions_have_different_keys() -> None:
    """Object code on disk that was made for one is not taken for the other."""
    forward = pair_of("gru")[0]
    layouts = {kernels_of(forward, 16, 7, 16, replace(EMULATED, amx=amx)).layout for amx in (AmxTiles, EmulatedAmx)}
    assert len(layouts) == 2


def test_bundles_and_blocks_fit_the_tiles() -> None:
    assert [amx_bundle(products) for products in range(1, 10)] == [1, 2, 3, 4, 3, 3, 4, 4, 3]
    assert [amx_tile(1, blocks).blocks for blocks in range(1, 9)] == [1, 2, 3, 4, 3, 3, 4, 4]
    assert [amx_tile(2, blocks).blocks for blocks in (1, 2, 3, 4)] == [1, 2, 2, 2]
    assert amx_tile(3, 4) == amx_tile(4, 4) == Tile(16, 1)


@needs_rounding
@pytest.mark.parametrize("rows", [1, 15, 16, 17, 33, 64])
@pytest.mark.parametrize(("wide", "hidden"), [(1, 16), (31, 17), (33, 33), (63, 48), (65, 65)])
def test_whole_numbers_give_the_same_bits(rows: int, wide: int, hidden: int) -> None:
    """Every element meets its own, and padding adds nothing; the units of a step are read by the next one."""
    pair = save(trace_cell(linear))
    for trace in (pair.forward, pair.backward):
        given = whole_numbers(trace, (2, rows, wide, hidden))
        got, want = (leaves(run(given, on)) for on in (EMULATED, HERE))
        assert max(float(np.abs(array).max()) for array in want) > 1
        for array, expected in zip(got, want, strict=True):
            np.testing.assert_array_equal(array, expected)


@needs_rounding
@pytest.mark.parametrize("hidden", [1, 2, 3, 7, 15, 16, 17, 31, 32, 47, 49, 63, 64, 65])
def test_one_step_differs_from_vectors_by_the_order_of_sums_alone(hidden: int) -> None:
    """Products with operands that are rounded alike; without a second step no sum is rounded again."""
    given = given_for(trace_cell(many_products), (1, 17, 2 * hidden + 1, hidden))
    got, want = (run(given, on)["states"]["h"] for on in (EMULATED, VECTORS))
    np.testing.assert_allclose(got, want, rtol=0, atol=4e-6 * np.abs(want).max())


@needs_rounding
@pytest.mark.parametrize("shape", [(3, 16, 21, 37), (2, 17, 33, 16), (4, 33, 1, 65)])
@pytest.mark.parametrize("name", ["gru", "lstm", "layer_norm(gru)", "lstm_projected"])
def test_errors_are_those_of_bfloat16(name: str, shape: tuple[int, int, int, int]) -> None:
    """Forward and backward, held to the reference in float64."""
    for trace in pair_of(name):
        kernels = engine(given_for(trace, shape), EMULATED).design(*shape[:2])
        assert stages_by_amx(kernels)
        check(given_for(trace, shape), EMULATED)


@needs_rounding
def test_what_is_not_finite_comes_out() -> None:
    given = given_for(pair_of("lstm")[0], (2, 17, 7, 20))
    given.params["U.i"][3, 5] = np.nan
    got = run(given, EMULATED)["states"]["h"]
    assert np.isnan(got[:, :, 3]).all()
    assert np.isfinite(got[0, :, :3]).all()


@needs_rounding
@pytest.mark.parametrize("depth", [6001, 10_000])
def test_long_sums_stay_as_exact_as_those_of_vectors(depth: int) -> None:
    given = given_for(trace_cell(many_products), (1, 16, depth, 16))
    got, want = (run(given, on)["states"]["h"] for on in (EMULATED, VECTORS))
    np.testing.assert_allclose(got, want, rtol=0, atol=4e-6 * np.abs(want).max())


def functions_of(assembly: str) -> dict[str, list[str]]:
    """The instructions of each function."""
    functions: dict[str, list[str]] = {}
    for line in assembly.splitlines():
        if label := re.match(r"([a-z]\w*):", line):
            functions[label[1]] = []
        elif functions and re.match(r"\t[a-z]", line):
            functions[list(functions)[-1]].append(line.strip())
    return functions


@pytest.mark.parametrize("name", ["gru", "lstm"])
def test_the_processor_gets_its_instructions(name: str) -> None:
    """Tiles are configured first and released last, and none is stored but as a result: nothing is spilled."""
    for trace, backwards in zip(pair_of(name), (False, True), strict=True):
        sizes = sizes_of(trace, 40, 64)
        program = plan(trace)
        engine = Engine(program, sizes, "float32", backwards, SAPPHIRE_RAPIDS, "bfloat16", amx=AmxTiles)
        kernels = engine.design(5, 32)
        text = emit_module(kernels)
        assert emit_object(text, kernels.functions, SAPPHIRE_RAPIDS)
        functions = functions_of(emit_assembly(text, SAPPHIRE_RAPIDS))
        for pass_name, designs in kernels.designs.items():
            code = functions[pass_name]
            by_amx = [design for design in designs if design.is_amx]
            sums = sum(len(design.stage.products) * design.tile.blocks for design in by_amx)
            terms = sum(design.tile.blocks * len(panel.parts) for design in by_amx for panel in design.panels)
            counts = {word: sum(line.startswith(word) for line in code) for word in INSTRUCTIONS}
            assert counts["tdpbf16ps"] == terms > 0
            assert counts["tilezero"] == counts["tilestored"] == sums
            assert counts["tileloadd"] == terms + sum(len(design.panels) for design in by_amx)
            assert counts["ldtilecfg"] == counts["tilerelease"] == 1
            own = [line for line in code if "tmm" in line or "tile" in line]
            assert own[0].startswith("ldtilecfg")
            assert own[-1] == "tilerelease"
        others = [line for name, code in functions.items() if name not in kernels.designs for line in code]
        assert not any("tmm" in line or "tile" in line for line in others)


INSTRUCTIONS = ("ldtilecfg", "tilezero", "tileloadd", "tdpbf16ps", "tilestored", "tilerelease")
