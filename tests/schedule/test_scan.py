"""Scans: the same as the loop and as the reference, for every cell that they can compute and every part of it."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from gatewright import cells
from gatewright.derive import vjp
from gatewright.lang import Cell, bernoulli, cell, mean, relabel, sigmoid, tanh, where
from gatewright.schedule.interpret import scanned
from gatewright.schedule.plan import plan
from gatewright.schedule.program import Choices, Program, Scan, Time
from gatewright.schedule.residuals import save
from gatewright.schedule.scan import find_scans
from gatewright.schedule.text import to_text
from gatewright.trace import Literal, Trace, Var, recurrence, simplify, trace_cell
from tests.parity.assertions import assert_parity
from tests.parity.matrix import CELLS, sizes_for
from tests.schedule.running import Arrays, Given, Results, check, draw, interpreted, oracle

SCANS = Choices(time=Time.SCAN)
STEPS = [0, 1, 2, 7, 33]
PARALLEL = [name for name, made in CELLS.items() if recurrence(trace_cell(made)).is_parallel]
IN_CATALOGUE = [name for name in PARALLEL if name in cells.CATALOGUE]
BATCH = 3


def step(made: Cell) -> Trace:
    return simplify(trace_cell(made))


def traces_of(made: Cell) -> dict[str, Trace]:
    """A cell in every form that is run: alone; as it saves, with its gradient; and derived once more."""
    trace = step(made)
    states = [state.name for state in trace.states]
    pair = save(trace)
    return {
        "step": trace,
        "saving step": pair.forward,
        "gradient that is given what was saved": pair.backward,
        "gradient": vjp(trace, states),
        "second derivative": vjp(vjp(trace)),
    }


def scans_of(program: Program) -> list[Scan]:
    return [scan for stage in program.scan for scan in stage.scans]


def as_dtype(given: Given, dtype: str) -> Given:
    def cast(arrays: Arrays) -> Arrays:
        return {name: array.astype(dtype) for name, array in arrays.items()}

    inputs, noises, params, states = map(cast, (given.inputs, given.noises, given.params, given.states))
    return replace(given, inputs=inputs, noises=noises, params=params, states=states)


def assert_same(given: Given, dtype: str) -> None:
    """Hold scans and the loop to the reference, and so to each other."""
    want, cast = oracle(given), as_dtype(given, dtype)
    for choices in (SCANS, Choices()):
        assert_parity(
            interpreted(cast, plan(given.trace, choices)), want, dtype=dtype, steps=given.steps, width=256,
            cell=given.trace.name, backend=f"interpreter, {choices.time}",
        )  # fmt: skip


def test_the_cells_that_are_meant_are_among_them() -> None:
    assert {"mingru", "minlstm", "sru", "qrnn", "hgrn", "masked(sru)", "zoneout(sru)"} <= set(PARALLEL)


@pytest.mark.parametrize(
    ("name", "steps", "dtype"),
    [(name, steps, dtype) for name in IN_CATALOGUE for steps in STEPS for dtype in ("float64", "float32")]
    + [(name, 7, "float64") for name in PARALLEL if name not in IN_CATALOGUE],
)
def test_scans_are_the_loop(name: str, steps: int, dtype: str, rng: np.random.Generator) -> None:
    for trace in (traces := traces_of(CELLS[name])).values():
        assert plan(trace, SCANS).loop == ()
        assert_same(draw(trace, sizes_for(traces["step"]), steps, BATCH, rng), dtype)


@pytest.mark.parametrize("name", PARALLEL)
def test_in_the_other_direction(name: str, rng: np.random.Generator) -> None:
    """A layer's second direction: the step goes backwards, and its gradient forwards."""
    for trace in (traces := traces_of(CELLS[name])).values():
        given = draw(trace, sizes_for(traces["step"]), 7, BATCH, rng)
        assert_same(replace(given, backwards=not given.backwards), "float64")


def chunk(given: Given, steps: slice, states: Arrays) -> Given:
    sequences = ({name: array[steps] for name, array in part.items()} for part in (given.inputs, given.noises))
    inputs, noises = sequences
    return replace(given, steps=steps.stop - steps.start, inputs=inputs, noises=noises, states=states)


def in_chunks(given: Given, bounds: Sequence[int]) -> Results:
    """Pieces one after the other, by scans, each from the states that the one before ended with."""
    program, pieces, states = plan(given.trace, SCANS), [], given.states
    spans = [slice(*ends) for ends in pairwise(bounds)]
    for span in reversed(spans) if given.backwards else spans:
        pieces.append(interpreted(chunk(given, span, states), program))
        if span.stop > span.start:
            states = {name: after[0 if given.backwards else -1] for name, after in pieces[-1]["states"].items()}
    in_time = pieces[::-1] if given.backwards else pieces
    joined = {
        part: {name: np.concatenate([one[part][name] for one in in_time]) for name in in_time[0][part]}
        for part in ("states", "emits")
    }
    sums = {name: np.sum([one["sums"][name] for one in in_time], axis=0) for name in in_time[0]["sums"]}
    return {**joined, "sums": sums}


@pytest.mark.parametrize(
    ("name", "bounds"),
    [
        (name, bounds)
        for name in PARALLEL
        for bounds in ([(0, 1, 2, 17), (0, 8, 8, 16, 17)] if name in IN_CATALOGUE else [(0, 3, 3, 7)])
    ],
)
def test_chunks_with_carried_states_are_the_whole(name: str, bounds: tuple[int, ...], rng: np.random.Generator) -> None:
    for trace in (traces := traces_of(CELLS[name])).values():
        given = draw(trace, sizes_for(traces["step"]), bounds[-1], BATCH, rng)
        whole = interpreted(given, plan(trace, SCANS))
        for want in (whole, oracle(given)):
            assert_parity(
                in_chunks(given, bounds), want, dtype="float64", steps=given.steps, width=256, cell=name,
                backend="scans in chunks",
            )  # fmt: skip


@pytest.mark.parametrize("name", CELLS)
def test_every_cell_may_be_planned_so(name: str, rng: np.random.Generator) -> None:
    """What scans cannot compute stays in the loop."""
    trace = step(CELLS[name])
    for one in (trace, vjp(trace)):
        program, told = plan(one, SCANS), recurrence(one)
        assert {scan.state.name for scan in scans_of(program)} <= set(told.order)
        assert told.is_parallel == (program.loop == ())
        check(draw(one, sizes_for(trace), 4, 2, rng), program)


@cell
def chain(x, h, c, m, W, U):
    """Three states, each affine once those after it are known."""
    c_next = sigmoid(W.c @ x) * c + W.c @ x
    m_next = sigmoid(c) * m + tanh(c_next) * (U.m @ c)
    return h * tanh(m_next) + m, c_next, m_next


@cell
def odd(x, h, s, k, r, W, p):
    """Updates of all forms: a state that stays, one that only forgets, one that is another's, scalars, choices."""
    s_next = -(s - mean(x)) / (1.5 + tanh(p.s)) + 0.25 * s
    k_next = where(W.k @ x, relabel(k, like=k), 0.5) - where(W.k @ x, 2.0 * h, k / 3.0)
    return bernoulli(0.5, like=h) * h + s, s_next, k_next, r


@cell
def mixed(x, h, c, n, W, U):
    """A memory that sees the input alone, under states that see each other."""
    c_next = sigmoid(W.c @ x) * c + W.n @ x
    return tanh(U.h @ h + U.c @ c_next + n), c_next, tanh(c) * n + h


@cell
def replaced(x, h, c, W):
    """States that are new at every step, of which the next step sees the old ones."""
    return tanh(W.c @ x) * c, W.c @ x + h * 0.0


MADE = {"chain": chain, "odd": odd, "mixed": mixed, "replaced": replaced}


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("name", MADE)
def test_states_that_depend_on_each_other(name: str, backwards: bool, rng: np.random.Generator) -> None:
    trace = step(MADE[name])
    sizes = dict.fromkeys(trace.axes(), 3)
    for one in (trace, vjp(trace), vjp(trace, [state.name for state in trace.states]), vjp(vjp(trace))):
        given = draw(one, sizes, 9, BATCH, rng)
        assert_same(replace(given, backwards=given.backwards != backwards), "float64")


def test_each_state_comes_after_those_that_it_depends_on() -> None:
    assert [scan.state.name for scan in scans_of(plan(step(chain), SCANS))] == ["c", "m", "h"]
    program = plan(step(mixed), SCANS)
    assert [scan.state.name for scan in scans_of(program)] == ["c"]
    assert [store.name for stage in program.loop for store in stage.stores if store.storage == "state"] == ["h", "n"]
    assert [len(stage.products) for stage in program.scan] == [0, 1]  # U.c @ c', for all steps at once


def test_a_state_that_is_new_at_every_step_needs_no_scan() -> None:
    program = plan(step(replaced), SCANS)
    assert scans_of(program) == []
    assert program.loop == ()


def coefficients(made: Cell) -> list[tuple[str, object, object]]:
    scanned = find_scans(step(made))

    def told(atom: Var | Literal) -> object:
        return atom.value if isinstance(atom, Literal) else atom.name

    return [(scan.state.name, told(scan.slope), told(scan.offset)) for scan in scanned.scans]


def test_coefficients_are_those_of_the_equations_where_they_have_them() -> None:
    """No equation is added to what a cell computes already."""
    for made in (cells.mingru, cells.minlstm, cells.sru, cells.qrnn, cells.hgrn, cells.scrn):
        trace = step(made)
        scanned = find_scans(trace)
        assert len(scanned.trace.equations) == len(trace.equations) - len(scanned.scans)
    assert coefficients(cells.mingru) == [("h", "%3", "%5")]
    assert coefficients(cells.sru) == [("c", "f", "%7")]
    assert coefficients(cells.scrn) == [("s", 0.95, "%1")]


def test_numbers_stay_numbers() -> None:
    @cell
    def counting(x, h, c, W):
        return 0.5 * (h + W.h @ x) - h / 4.0, c

    assert coefficients(counting) == [("h", 0.25, "%4"), ("c", 1.0, 0.0)]


@pytest.mark.parametrize("backwards", [False, True])
def test_a_plan_without_scans_has_none(backwards: bool) -> None:
    for name in PARALLEL:
        trace = vjp(step(CELLS[name])) if backwards else step(CELLS[name])
        program = plan(trace)
        assert program.scan == ()
        assert program == plan(trace, Choices(time=Time.LOOP))
        assert "scan" not in to_text(program)


@pytest.mark.parametrize("name", ["mingru", "sru", "scrn"])
def test_texts(name: str, golden: Callable[[str, str], None]) -> None:
    pair = save(trace_cell(cells.CATALOGUE[name]))
    golden(f"program/{name}_scan.txt", to_text(plan(pair.forward, SCANS)))
    golden(f"program/{name}_scan_gradient.txt", to_text(plan(pair.backward, SCANS)))


def test_a_text_says_all_of_a_scan() -> None:
    program = plan(step(chain), SCANS)
    first = next(stage for stage in program.scan if stage.scans)
    (scan,) = first.scans
    changes = (
        replace(scan, slope=scan.offset),
        replace(scan, offset=Literal(0.0)),
        replace(scan, state=Var("h", scan.state.shape)),
    )
    texts = [to_text(replace(program, scan=(replace(first, scans=(one,)), *program.scan[1:]))) for one in changes]
    assert len({to_text(program), *texts}) == 1 + len(changes)


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 8, 31, 64])
def test_a_scan_of_numbers(steps: int, rng: np.random.Generator) -> None:
    slope, offset = rng.normal(size=(steps, 2, 3)), rng.normal(size=(steps, 2, 3))
    first = state = rng.normal(size=(2, 3))
    want = np.empty_like(slope)
    for t in range(steps):
        state = want[t] = slope[t] * state + offset[t]
    assert_parity(scanned(slope, offset, first), want, dtype="float64", steps=steps, scale=1.0)


def test_what_a_gate_has_shut_out_stays_out() -> None:
    """Slopes that multiply to more than numbers can hold, before a step that lets nothing through."""
    slope = np.array([1e200, 1e200, 0.0, 0.5]).reshape(-1, 1, 1)
    got = scanned(slope, np.ones_like(slope), np.zeros((1, 1)))
    assert got.ravel().tolist() == [1.0, 1e200, 1.0, 1.5]
