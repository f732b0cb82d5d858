"""Products of the pass before the loop, computed inside the loop of a single row: which kernels do it, and the same
bits as without it."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from gatewright import cells
from gatewright.backends.llvm.codegen import overlap
from gatewright.backends.llvm.codegen.kernels import Kernels
from gatewright.backends.llvm.codegen.overlap import split_by_product
from gatewright.backends.llvm.emit.vector_type import Dtype
from gatewright.backends.llvm.jit.target import target_named
from gatewright.backends.llvm.runtime.engine import Engine
from gatewright.lang import Cell, cell, relabel, tanh
from gatewright.schedule.plan import plan
from gatewright.schedule.residuals import save
from gatewright.trace import Trace, simplify, trace_cell
from tests.backends.llvm.engines import leaves, results, run_by_name
from tests.backends.llvm.guarded import Guarded
from tests.parity.assertions import assert_parity
from tests.schedule.running import Results, draw, oracle

HERE = replace(target_named("host"), vector_registers=32)
"""This processor, with as many registers as an overlap needs; where it has fewer, sums are spilled."""
CELLS: Mapping[str, Cell] = {
    "elman": cells.elman,
    "gru": cells.gru(reset="after"),
    "gru, reset before": cells.gru,
    "lstm": cells.lstm,
}


@cell
def mixed(x, h, W, U):
    """Two products of the input meet in one equation before the loop."""
    return tanh(U.n @ h + (W.a @ x) * (W.b @ x))


@cell
def shared_input(x, h, W, U):
    """Besides products, the pass before the loop has an equation of the input alone."""
    return tanh(U.n @ h + W.n @ x + relabel(tanh(x), like=h))


def kernels(
    trace: Trace, wide: int, hidden: int, rows: int = 1, lines: int = 64, target: str = "x86-64-v4", **options: object
) -> Kernels:
    sizes = {"input": wide, "hidden": hidden}
    values = {"dtype": "float32", "backwards": False, **options}
    return Kernels(plan(trace), sizes, target=target_named(target), rows=rows, lines=lines, **values)  # type: ignore[arg-type]


def trace_of(name: str) -> Trace:
    return simplify(trace_cell(CELLS[name]))


@pytest.mark.parametrize(
    ("name", "wide", "hidden", "parts"),
    [("gru", 256, 256, 2), ("gru", 128, 128, 5), ("lstm", 256, 256, 2), ("elman", 1024, 1024, 2), ("gru", 64, 512, 2)],
)
def test_tiles_are_spread_over_all_slots_of_a_block(name: str, wide: int, hidden: int, parts: int) -> None:
    chosen = kernels(trace_of(name), wide, hidden)
    assert chosen.overlap is not None
    assert chosen.overlap.parts == parts
    assert chosen.overlap.taken <= chosen.overlap.steps * chosen.overlap.slots
    assert chosen.layout.endswith("; before in loop0")
    assert all(len(design.stage.products) == 1 for design in chosen.designs["before"])


def test_only_a_row_that_waits_for_its_matrix_is_overlapped() -> None:
    gru, pair = trace_of("gru"), save(trace_of("gru"))
    assert kernels(pair.forward, 256, 256).overlap  # the run that saves for the gradient
    without = [
        kernels(gru, 256, 256, rows=2),
        kernels(gru, 256, 256, lines=1),  # less than two blocks of steps
        kernels(gru, 256, 256, ragged=True),
        kernels(gru, 256, 256, products="bfloat16"),
        kernels(gru, 256, 256, products="int8"),
        kernels(gru, 256, 256, packs=False),
        kernels(gru, 256, 256, target="x86-64-v3"),  # 16 registers
        kernels(gru, 32, 32),  # the matrix stays in the first cache
        kernels(gru, 16, 256),  # little work to hide
        kernels(gru, 1024, 1024),  # 24 MiB: not in the third cache
        kernels(gru, 4096, 256),  # sums of several chains
        kernels(pair.backward, 256, 256, backwards=True),
    ]
    assert [chosen.layout for chosen in without if chosen.overlap] == []


def test_equations_of_several_products_or_of_none_are_not_split() -> None:
    for made in (mixed, shared_input):
        trace = simplify(trace_cell(made))
        (stage,) = plan(trace).before
        assert split_by_product(stage) is None
        size = 256
        assert kernels(trace, size, size).overlap is None


def test_a_stage_is_split_with_all_that_it_computes() -> None:
    (stage,) = plan(trace_of("lstm")).before
    parts = split_by_product(stage)
    assert parts is not None
    assert [len(part.products) for part in parts] == [1] * 4
    assert sorted(equation.target.name for part in parts for equation in part.equations) == sorted(
        equation.target.name for equation in stage.equations
    )
    assert {store for part in parts for store in part.stores} == set(stage.stores)


def run(trace: Trace, shape: tuple[int, int, int], dtype: Dtype) -> tuple[str, Results, Results]:
    """The layout of the kernels, their results in guarded memory, and those of the reference."""
    steps, wide, hidden = shape
    given = draw(trace, {"input": wide, "hidden": hidden}, steps, 1, np.random.default_rng(steps))
    engine = Engine(plan(trace), given.sizes, dtype, target=HERE)
    arrays = Guarded(dtype)
    states, emits, sums = run_by_name(engine, arrays, given)
    arrays.check()
    return engine.design(steps, 1).layout, results(given, states, emits, sums, dtype), oracle(given)


SHAPES = [
    (16, 120, 120),  # two blocks of steps
    (17, 120, 120),  # the last block overlaps the one before it
    (31, 61, 133),  # the product of the input ends first, and no size is a multiple of anything
    (40, 301, 117),  # that of the state ends first
    (300, 70, 140),  # several time blocks
]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", CELLS)
def test_the_same_bits_as_one_pass_after_the_other(
    name: str, shape: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    _check_bits(trace_of(name), shape, "float32", monkeypatch)


def test_the_same_bits_in_float64_and_for_a_run_that_saves(monkeypatch: pytest.MonkeyPatch) -> None:
    _check_bits(trace_of("gru"), (41, 130, 131), "float64", monkeypatch)
    monkeypatch.undo()
    _check_bits(save(trace_of("lstm")).forward, (41, 130, 131), "float32", monkeypatch)


def _check_bits(trace: Trace, shape: tuple[int, int, int], dtype: Dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    layout, inside, want = run(trace, shape, dtype)
    assert "before in loop" in layout
    monkeypatch.setattr(overlap, "MOST_BYTES", 0)
    layout, after, _ = run(trace, shape, dtype)
    assert "before in loop" not in layout
    assert all(np.array_equal(*pair) for pair in zip(leaves(inside), leaves(after), strict=True))
    if shape[0] < 100:  # in more steps an Elman network with such weights drifts away from the reference
        label, (steps, _, width) = f"{trace.name} {shape}", shape
        assert_parity(inside, want, dtype=dtype, steps=steps, width=width, cell=label, backend="llvm")
