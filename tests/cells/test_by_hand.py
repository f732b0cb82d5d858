"""Every cell of the catalogue gives the numbers of its paper, written once more by hand."""

import numpy as np
import pytest

from gatewright import cells
from gatewright.backends import numpy_ref
from gatewright.lang import Cell
from gatewright.trace import check, trace_cell
from tests.cells import by_hand
from tests.cells.cases import ALL, BATCH, SIZES, STEPS, Arrays, Case, numbers
from tests.parity.assertions import assert_parity


def reference(cell: Cell, inputs: Arrays, params: Arrays, states: Arrays | None = None) -> Arrays:
    """Every state after every step."""
    return numpy_ref.run(trace_cell(cell), inputs, params, states).sequences


def unrolled(case: Case, x: np.ndarray, params: Arrays, states: Arrays) -> Arrays:
    current, kept = tuple(states.values()), []
    for row in x:
        current = case.step(params, row, *current)
        kept.append(current)
    return {name: np.stack(values) for name, values in zip(states, zip(*kept, strict=True), strict=True)}


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.cell.label)
def test_numbers_are_those_by_hand(case: Case, rng: np.random.Generator) -> None:
    inputs, params, states = numbers(case.trace, case.sizes, rng)
    got = reference(case.cell, inputs, params, states)
    want = unrolled(case, inputs["x"], params, states)
    assert_parity(got, want, dtype="float64", steps=STEPS, cell=case.cell.label, backend="numpy")


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.cell.label)
def test_every_parameter_matters(case: Case, rng: np.random.Generator) -> None:
    inputs, params, states = numbers(case.trace, case.sizes, rng)
    want = unrolled(case, inputs["x"], params, states)
    for name, value in params.items():
        changed = value + 0.1 * rng.normal(size=value.shape)
        other = unrolled(case, inputs["x"], {**params, name: changed}, states)
        moved = any(np.abs(other[state] - want[state]).max() > 1e-6 for state in states)
        assert moved, f"{name} of {case.cell.label} has no effect"


def test_every_cell_has_a_step_by_hand() -> None:
    assert {case.cell.name for case in ALL} == set(cells.CATALOGUE)


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.cell.label)
def test_every_variant_is_a_sound_trace(case: Case) -> None:
    check(case.trace)
    assert case.trace.name == case.cell.label
    assert tuple(state.name for state in case.trace.states) == tuple(case.cell.states)


def test_stabilising_the_slstm_changes_no_output(rng: np.random.Generator) -> None:
    """The paper's equations without m, which float64 can still hold for a few steps."""
    inputs, P, _ = numbers(trace_cell(cells.slstm), SIZES, rng)
    h = c = n = np.zeros((BATCH, SIZES["hidden"]))
    want = []
    for x in inputs["x"]:
        pre = by_hand.Pre(P, x, h)
        f, i = by_hand.sigma(pre("f")), np.exp(pre("i"))
        c, n = f * c + i * np.tanh(pre("z")), f * n + i
        h = by_hand.sigma(pre("o")) * c / n
        want.append(h)
    got = reference(cells.slstm, inputs, P)
    assert_parity(got["h"], np.stack(want), dtype="float64", steps=STEPS, cell="slstm")
    assert got["n"].min() >= 1


def test_slstm_stays_finite_where_its_gates_overflow(rng: np.random.Generator) -> None:
    inputs, params, _ = numbers(trace_cell(cells.slstm), SIZES, rng)
    for size in (-1e4, 1e4):
        params["b.i"] = np.full_like(params["b.i"], size)
        got = reference(cells.slstm, inputs, params)
        assert all(np.isfinite(values).all() for values in got.values())


def test_without_peepholes_greffs_lstm_is_the_common_one(rng: np.random.Generator) -> None:
    for options in ({}, {"coupled": True}, {"forget_bias": 1.0}):
        peephole, common = cells.lstm_peephole(**options), cells.lstm(**options)
        inputs, params, states = numbers(trace_cell(peephole), SIZES, rng)
        params |= {name: np.zeros_like(value) for name, value in params.items() if name.startswith("p.")}
        used = {v.name: params[v.name] for v in trace_cell(common).params}
        got, want = reference(peephole, inputs, params, states), reference(common, inputs, used, states)
        assert_parity(got, want, dtype="float64", steps=STEPS, cell=common.label)
