"""The stepped form of loops, and the passes around them, in Triton's interpreter, against the reference."""

from collections.abc import Callable

import numpy as np
import pytest
from triton.runtime.interpreter import interpreter_builder

from gatewright.backends.triton.kernel_precision import KernelPrecision
from gatewright.backends.triton.pass_kernels import PassKernels
from gatewright.backends.triton.stepped import SteppedLoop
from gatewright.schedule.plan import plan
from gatewright.schedule.program import Program
from tests.backends.triton.drawn import draw
from tests.backends.triton.staged import (
    DOUBLE,
    SINGLE,
    check_against_reference,
    check_ragged,
    draw_wide,
    staged,
    traces,
)
from tests.parity.assertions import assert_parity
from tests.parity.matrix import sizes_for
from tests.schedule.running import Given, oracle

# Axes of several sizes, scalars, reductions, a product of what a product gives, several states, noise.
NAMES = ("gru", "lstm_projected", "slstm", "lem", "layer_norm(gru)", "masked(lstm)", "all at once", "indrnn")


@pytest.mark.parametrize("name", NAMES)
def test_cells_in_double_precision(name: str, rng: np.random.Generator) -> None:
    for trace in traces(name).values():
        check_against_reference(trace, 3, 3, DOUBLE, rng)


@pytest.mark.parametrize(("steps", "batch"), [(0, 3), (1, 1), (7, 17)])
def test_sizes(steps: int, batch: int, rng: np.random.Generator) -> None:
    for kind in ("saving", "gradient"):
        check_against_reference(traces("gru")[kind], steps, batch, SINGLE, rng)


def test_axes_wider_than_tiles(rng: np.random.Generator) -> None:
    """Several tiles of features, and several pieces of sums, with something left over in each."""
    for name, kind in (("gru", "gradient"), ("layer_norm(lstm)", "saving")):
        given = draw_wide(traces(name)[kind], 2, 5, 150, rng)
        check_parity(given, plan(given.trace), SINGLE)


def test_narrow_operands(rng: np.random.Generator) -> None:
    precision = KernelPrecision("float32", "bfloat16")
    given = draw_wide(traces("lstm")["saving"], 3, 3, 20, rng)
    check_parity(given, plan(given.trace), precision)


@pytest.mark.parametrize("name", ["gru", "layer_norm(lstm)"])
def test_rows_that_end_early(name: str, rng: np.random.Generator) -> None:
    for kind in ("saving", "gradient"):
        check_ragged(traces(name)[kind], (3, 0, 7, 1), rng)


def test_tiles_of_rows_that_have_ended_do_nothing(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    count = 0
    dot = interpreter_builder.create_dot

    def counting(*args: object) -> object:
        nonlocal count
        count += 1
        return dot(*args)

    monkeypatch.setattr(interpreter_builder, "create_dot", counting)
    trace = traces("elman")["step"]
    given = draw(trace, sizes_for(trace), 7, 17, rng)  # 17 rows are two tiles
    counts: list[int] = []
    for last in (7, 2):
        count = 0
        staged(given, plan(trace), DOUBLE, lengths=(7,) * 16 + (last,))
        counts.append(count)
    assert counts == [7 * 2, 7 + 2]


def check_parity(given: Given, program: Program, precision: KernelPrecision) -> None:
    """Hold kernels to the reference."""
    products = None if precision.operands == precision.numbers else precision.operands
    assert_parity(
        staged(given, program, precision, SteppedLoop), oracle(given), dtype=precision.numbers, steps=given.steps,
        width=256, cell=given.trace.name, backend="triton", products=products,
    )  # fmt: skip


def test_a_gru_as_text(golden: Callable[[str, str], None]) -> None:
    sizes = {"input": 40, "hidden": 300}
    program = plan(traces("gru")["gradient"])
    loop = SteppedLoop(program, sizes, SINGLE, backwards=True)
    golden("triton/gru gradient stepped.txt", loop.texts[0].text)
    golden("triton/gru gradient stepped start.txt", loop.begin.text)
    after = PassKernels(program, program.after, sizes, SINGLE, backwards=True)
    golden("triton/gru gradient after the loop.txt", "\n\n".join(text.text for text in after.texts))
