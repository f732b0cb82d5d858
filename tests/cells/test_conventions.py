"""What the catalogue says in words about each cell's gates holds in numbers."""

import numpy as np
import pytest

from gatewright import cells
from gatewright.backends import numpy_ref
from gatewright.lang import Cell
from gatewright.trace import trace_cell
from tests.cells.cases import SIZES, STEPS, Arrays, numbers
from tests.parity.assertions import assert_parity

OPEN = 60.0  # sigmoid(60) is 1 in float64
AFFINE = {
    "mingru": "h", "minlstm": "h", "sru": "c", "qrnn": "c", "hgrn": "h", "trnn": "h", "tgru": "h", "tlstm": "c",
}  # fmt: skip

KEEPS = [
    (cells.gru, {"b.z": OPEN}, "h"),
    (cells.gru(reset="after"), {"b.z": OPEN}, "h"),
    (cells.gru_update_only, {"b.z": OPEN}, "h"),
    (cells.ligru, {"b.z": OPEN}, "h"),
    (cells.gru_input_gates, {"b.z": OPEN}, "h"),
    (cells.fastgrnn, {"b.z": OPEN, "a.nu": -OPEN}, "h"),
    (cells.hgrn, {"b.f": OPEN}, "h"),
    (cells.qrnn, {"b.f": OPEN}, "c"),
    (cells.sru, {"b.f": OPEN}, "c"),
    (cells.janet(beta=0.0), {"b.f": OPEN}, "h"),
    (cells.minlstm, {"b.f": OPEN, "b.i": -OPEN}, "h"),
    (cells.lstm, {"b.f": OPEN, "b.i": -OPEN}, "c"),
    (cells.lstm(coupled=True), {"b.i": -OPEN}, "c"),
    (cells.lstm_peephole, {"b.f": OPEN, "b.i": -OPEN}, "c"),
    (cells.lstm_full_gates, {"b.f": OPEN, "b.i": -OPEN}, "c"),
    (cells.lstm_projected, {"b.f": OPEN, "b.i": -OPEN}, "c"),
    (cells.ran, {"b.f": OPEN, "b.i": -OPEN}, "c"),
    (cells.brc, {"b.c": OPEN}, "h"),
    (cells.nbrc, {"b.c": OPEN}, "h"),
    (cells.minimal_rnn, {"b.u": OPEN}, "h"),
    (cells.intersection_rnn, {"b.gh": OPEN}, "h"),
    (cells.trnn, {"b.f": OPEN}, "h"),
    (cells.tlstm, {"b.f": OPEN}, "c"),
    (cells.multiplicative_lstm, {"b.f": OPEN, "b.i": -OPEN}, "c"),
    (cells.mclstm, {"b.f": OPEN, "b.i": -OPEN}, "c"),
    (cells.original_lstm, {"b.i": -OPEN}, "c"),
    (cells.residual_lstm, {"b.f": OPEN, "b.i": -OPEN}, "c"),
    (cells.wmclstm, {"b.f": OPEN, "b.i": -OPEN}, "c"),
]
REPLACES = [
    (cells.gru(update="replaces"), "b.z", "h"),
    (cells.mgu, "b.f", "h"),
    (cells.mut1, "b.z", "h"),
    (cells.mut2, "b.z", "h"),
    (cells.mut3, "b.z", "h"),
    (cells.mingru, "b.z", "h"),
    (cells.lem, "b.dz", "z"),
    (cells.lem, "b.dy", "y"),
    (cells.light_ru, "b.f", "h"),
    (cells.sgu, "b.z", "h"),
    (cells.dsgu, "b.z", "h"),
    (cells.rhn(depth=1), "b.t1", "h"),
    (cells.tau_gru, "b.g", "h"),
]


def one_step(cell: Cell, rng: np.random.Generator, forced: dict[str, float]) -> tuple[Arrays, Arrays]:
    """The states before and after one step, with some biases forced."""
    trace = trace_cell(cell)
    inputs, params, states = numbers(trace, SIZES, rng)
    params |= {name: np.full_like(params[name], value) for name, value in forced.items()}
    first = {name: value[:1] for name, value in inputs.items()}
    return states, numpy_ref.run(trace, first, params, states).finals


@pytest.mark.parametrize(("cell", "forced", "state"), KEEPS, ids=[cell.label for cell, _, _ in KEEPS])
def test_what_keeps_the_old_state(cell: Cell, forced: dict[str, float], state: str, rng: np.random.Generator) -> None:
    before, after = one_step(cell, rng, forced)
    assert_parity(after[state], before[state], dtype="float64", steps=1, cell=cell.label)
    before, free = one_step(cell, rng, {})
    assert np.abs(free[state] - before[state]).max() > 0.1


@pytest.mark.parametrize(
    ("cell", "gate", "state"), REPLACES, ids=[f"{cell.label}-{gate}" for cell, gate, _ in REPLACES]
)
def test_what_takes_the_candidate(cell: Cell, gate: str, state: str, rng: np.random.Generator) -> None:
    before, shut = one_step(cell, rng, {gate: -OPEN})
    assert_parity(shut[state], before[state], dtype="float64", steps=1, cell=cell.label)
    before, opened = one_step(cell, rng, {gate: OPEN})
    assert np.abs(opened[state] - before[state]).max() > 0.1


def test_cells_that_say_so_can_be_scanned(rng: np.random.Generator) -> None:
    """Their memory after a step is affine in the memory before; an output is not fed back."""
    for name, memory in sorted(AFFINE.items()):
        cell = cells.CATALOGUE[name]
        trace = trace_cell(cell)
        inputs, params, one = numbers(trace, SIZES, rng)
        other = {**one, memory: numbers(trace, SIZES, rng)[2][memory]}
        middle = {name: 0.25 * value + 0.75 * other[name] for name, value in one.items()}
        first, second, mixed = (numpy_ref.run(trace, inputs, params, s).finals for s in (one, other, middle))
        want = 0.25 * first[memory] + 0.75 * second[memory]
        assert_parity(mixed[memory], want, dtype="float64", steps=STEPS, cell=cell.label)


def test_only_those_say_so() -> None:
    title = next(title for title in cells.FAMILIES if "scanned" in title)
    assert set(cells.FAMILIES[title]) == set(AFFINE)


@pytest.mark.parametrize("cell", cells.CATALOGUE.values(), ids=lambda cell: cell.name)
def test_gates_carry_the_names_of_their_parameters(cell: Cell) -> None:
    params = {v.name.partition(".")[2] for v in trace_cell(cell).params}
    odd = {name for name, _ in trace_cell(cell).gates} - params
    assert odd <= {"cleared", "i", "f"}, f"{cell.label}: {odd}"
