"""The resident kernel in Triton's interpreter, against the reference: every kind of cell, forwards and backwards."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from gatewright.backends.triton.kernel_precision import KernelPrecision
from gatewright.backends.triton.resident_kernel import resident_text
from gatewright.derive import vjp
from gatewright.lang import Cell
from gatewright.schedule.plan import plan
from gatewright.schedule.residuals import save
from gatewright.trace import Trace, simplify, trace_cell
from tests.backends import odd_cells
from tests.backends.triton.drawn import draw
from tests.backends.triton.loops import DOUBLE, loop_of
from tests.backends.triton.processes import checked_output
from tests.parity.assertions import assert_parity
from tests.parity.matrix import CELLS, MODELS, sizes_for
from tests.schedule.running import Given, oracle

SINGLE = KernelPrecision("float32", "float32")
TRANSFORMED = ["all at once", "layer_norm(lstm)", "masked(gru)", "masked(slstm)", "zoneout(sru)", "residual(lstm)"]
TESTED = [*sorted(MODELS), "gru", 'gru(reset="after")', "lstm", "sru", *TRANSFORMED]
RAGGED = ["gru", "lstm_projected", "layer_norm(lstm)", "zoneout(sru)"]
ODD = {name: cell for name, cell in vars(odd_cells).items() if isinstance(cell, Cell)}
del ODD["matrix_of_each_row"]  # no schedule can do it


def traces(cell: Cell) -> dict[str, Trace]:
    """What is run of a cell: the step, the step that saves, its gradient, and the gradient of the gradient."""
    step = simplify(trace_cell(cell))
    pair = save(step, (step.states[0].name,))
    gradient = vjp(step, outputs=[state.name for state in step.states])
    twice = vjp(gradient, outputs=[state.name for state in gradient.states])
    return {"step": step, "saving": pair.forward, "gradient": pair.backward, "twice": twice}


def check(given: Given, precision: KernelPrecision = DOUBLE, products: str | None = None) -> None:
    """Hold a kernel to the reference."""
    _, results = loop_of(given, precision)
    assert_parity(
        results, oracle(given), dtype=precision.numbers, steps=given.steps, width=256, cell=given.trace.name,
        backend="triton", products=products,
    )  # fmt: skip


@pytest.mark.parametrize("name", TESTED)
def test_steps_and_gradients(name: str, rng: np.random.Generator) -> None:
    for trace in traces(CELLS[name]).values():
        check(draw(trace, sizes_for(trace), 2, 3, rng))


@pytest.mark.parametrize("name", ["gru", "lstm_projected", "slstm", "rhn", "ligru", *TRANSFORMED])
def test_single_precision(name: str, rng: np.random.Generator) -> None:
    for kind in ("saving", "gradient"):
        trace = traces(CELLS[name])[kind]
        check(draw(trace, sizes_for(trace), 3, 2, rng), SINGLE)


@pytest.mark.parametrize("name", sorted(ODD))
def test_unusual_uses_of_the_language(name: str, rng: np.random.Generator) -> None:
    for kind, trace in traces(ODD[name]).items():
        if kind != "twice":
            check(draw(trace, sizes_for(trace), 3, 2, rng))


@pytest.mark.parametrize(("steps", "batch"), [(0, 1), (0, 3), (1, 1), (1, 3), (7, 1), (7, 17)])
@pytest.mark.parametrize("name", ["gru", "lstm_projected", "layer_norm(gru)", "indrnn"])
def test_extents(name: str, steps: int, batch: int, rng: np.random.Generator) -> None:
    step = traces(CELLS[name])
    for kind in ("saving", "gradient"):
        given = draw(step[kind], sizes_for(step[kind]), steps, batch, rng)
        check(given)
        check(replace(given, states={name: 0 * state for name, state in given.states.items()}))


@pytest.mark.parametrize("operands", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", ["gru", "lstm_projected"])
def test_narrow_operands_of_products(name: str, operands: str, rng: np.random.Generator) -> None:
    for kind in ("saving", "gradient"):
        trace = traces(CELLS[name])[kind]
        precision = KernelPrecision("float32", operands)
        check(draw(trace, sizes_for(trace), 3, 2, rng), precision, products=operands)


def of_row(given: Given, row: int, steps: int) -> Given:
    """One row, with so many steps."""

    def sequence(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: array[:steps, row : row + 1] for name, array in arrays.items()}

    starts = {name: state[row : row + 1] for name, state in given.states.items()}
    return replace(
        given, steps=steps, batch=1, inputs=sequence(given.inputs), noises=sequence(given.noises), states=starts
    )


def check_lengths(name: str, precision: KernelPrecision, rng: np.random.Generator) -> None:
    """Each row is as it is alone; what stands in the padding, NaN too, is neither read nor written over."""
    lengths = (3, 0, 5, *[2] * 14)  # two tiles of rows
    for kind in ("saving", "gradient"):
        trace = traces(CELLS[name])[kind]
        given = draw(trace, sizes_for(trace), 6, len(lengths), rng)
        for array in given.sequences.values():
            for row, length in enumerate(lengths):
                array[length:, row] = np.nan
        loop, results = loop_of(given, precision, lengths)
        for row, length in list(enumerate(lengths))[:4]:
            wanted = oracle(of_row(given, row, length))
            got = {
                "emits": {name: emit[:length, row : row + 1] for name, emit in results["emits"].items()},
                "states": {name: state[:length, row : row + 1] for name, state in results["states"].items()},
            }
            if not given.backwards:
                wanted["states"] = {name: state[:length] for name, state in wanted["states"].items()}
            wanted.pop("sums")
            assert_parity(got, wanted, dtype=precision.numbers, steps=6, width=256, cell=trace.name, backend="triton")
            for name_of_state, state in loop.states.items():
                start = given.states[name_of_state][row]
                np.testing.assert_array_equal(state[length if given.backwards else 0, row], start)
                assert np.isnan(state[length + 1 :, row]).all()


@pytest.mark.parametrize("name", RAGGED)
def test_rows_of_different_lengths(name: str, rng: np.random.Generator) -> None:
    check_lengths(name, DOUBLE, rng)


@pytest.mark.parametrize("name", ["gru", "layer_norm(gru)", "slstm", "lstm_projected"])
def test_nan_stays_in_its_row(name: str, rng: np.random.Generator) -> None:
    for kind in ("saving", "gradient"):
        given = draw(traces(CELLS[name])[kind], sizes_for(traces(CELLS[name])[kind]), 3, 3, rng)
        _, clean = loop_of(given)
        for array in given.inputs.values():
            array[:, 1] = np.nan
        _, spoilt = loop_of(given)
        for name_of_state, state in clean["states"].items():
            np.testing.assert_array_equal(spoilt["states"][name_of_state][:, ::2], state[:, ::2])
            assert np.isnan(spoilt["states"][name_of_state][:, 1]).any()


def test_padded_lanes_are_masked_where_they_may_hold_anything() -> None:
    """The new state of a GRU is 0 in padded lanes, and that of a layer-normalised one unknown."""
    sizes = {"input": 5, "hidden": 5}
    plain, normalised = (
        resident_text(plan(trace_cell(CELLS[name])), sizes).text for name in ("gru", "layer_norm(gru)")
    )
    assert "tl.where(hidden_mask" not in plain
    assert "tl.where(hidden_mask" in normalised


def test_a_gru_as_text(golden: Callable[[str, str], None]) -> None:
    step = traces(CELLS["gru"])
    for kind in ("saving", "gradient"):
        golden(f"triton/gru {kind}.txt", resident_text(plan(step[kind]), {"input": 40, "hidden": 64}).text)
    golden("triton/lstm 50.txt", resident_text(plan(traces(CELLS["lstm"])["step"]), {"input": 40, "hidden": 50}).text)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_resident_kernels_on_a_gpu() -> None:
    checked_output("-m", "tests.backends.triton.resident_on_gpu")
