"""Prepared runs: sessions give the reference's numbers in any pieces, and scripts make their calls in order."""

import ctypes
import gc
import weakref

import numpy as np
import pytest

from gatewright import cells
from gatewright.backends.base import execute, prepare
from gatewright.backends.llvm.engine import Engine
from gatewright.backends.llvm.script import Copy, Script
from gatewright.backends.llvm.session import ALIGNMENT, Session
from gatewright.backends.numpy_ref import RULES, run
from gatewright.lang import layer_norm
from gatewright.schedule.plan import plan
from gatewright.trace import simplify, trace_cell
from tests.parity.assertions import assert_parity

SIZES = {"input": 5, "hidden": 11}
STEPS, BATCH = 6, 3


def compute(equations, values, sizes) -> None:
    execute(prepare(equations, RULES, sizes), values)


def session_of(cell, rng: np.random.Generator, steps: int = STEPS, dtype="float64", **options):
    """A session, its trace and its parameters."""
    trace = simplify(trace_cell(cell))
    params = {p.name: (rng.standard_normal([SIZES[axis] for axis in p.shape]) / 3).astype(dtype) for p in trace.params}
    engine = Engine(plan(trace), SIZES, dtype)
    session = Session(engine, params, batch=BATCH, steps=steps, execute=compute, **options)
    return session, trace, params


def script_of(session: Session, steps: int, *, keep_lock: bool = True) -> Script:
    return Script(session.calls(steps), keep_lock=keep_lock, keep=[session])


@pytest.mark.parametrize("cell", [cells.gru, layer_norm(cells.lstm), cells.mingru], ids=lambda cell: cell.label)
def test_several_steps_at_once_are_those_of_the_reference(cell, rng: np.random.Generator) -> None:
    session, trace, params = session_of(cell, rng)
    xs = rng.standard_normal((STEPS, BATCH, 5))
    session.inputs["x"][...] = xs
    script_of(session, STEPS).perform()
    want = run(trace, {"x": xs}, params)
    finals = {name: whole[0] for name, whole in session.states.items()}
    assert_parity((session.output, finals), (want.output, want.finals), dtype="float64", steps=STEPS, width=256)


def test_pieces_give_the_whole_to_the_bit(rng: np.random.Generator) -> None:
    session, _, _ = session_of(cells.gru, rng, dtype="float32")
    xs = rng.standard_normal((STEPS, BATCH, 5)).astype("float32")
    session.inputs["x"][...] = xs
    script_of(session, STEPS).perform()
    whole = session.output.copy()
    session.states["h"][0] = 0
    pieces: list[np.ndarray] = []
    for start, steps in ((0, 1), (1, 3), (4, 2)):
        session.inputs["x"][:steps] = xs[start : start + steps]
        script_of(session, steps).perform()
        pieces.append(session.output[:steps].copy())
    np.testing.assert_array_equal(np.concatenate(pieces), whole)


def test_one_session_reads_what_another_gives(rng: np.random.Generator) -> None:
    lower, lower_trace, lower_params = session_of(cells.gru, rng)
    trace = trace_cell(cells.elman)
    sizes = {"input": SIZES["hidden"], "hidden": 4}
    params = {p.name: rng.standard_normal([sizes[axis] for axis in p.shape]) / 3 for p in trace.params}
    upper = Session(
        Engine(plan(trace), sizes, "float64"),
        params,
        batch=BATCH,
        steps=STEPS,
        execute=compute,
        inputs={"x": lower.output},
    )
    xs = rng.standard_normal((STEPS, BATCH, 5))
    lower.inputs["x"][...] = xs
    Script([*lower.calls(STEPS), *upper.calls(STEPS)], keep_lock=False, keep=[lower, upper]).perform()
    want = run(trace, {"x": run(lower_trace, {"x": xs}, lower_params).output}, params)
    assert_parity(upper.output, want.output, dtype="float64", steps=2 * STEPS)


def test_memory_begins_with_a_line_of_the_cache(rng: np.random.Generator) -> None:
    session, _, _ = session_of(cells.lstm, rng)
    assert all(one.ctypes.data % ALIGNMENT == 0 for one in session._memory.values())


@pytest.mark.parametrize(
    "wrong",
    [np.zeros((1, BATCH, 5), "float32"), np.zeros((1, BATCH, 4)), np.zeros((1, BATCH, 10))[:, :, ::2]],
    ids=["dtype", "shape", "apart"],
)
def test_memory_that_kernels_would_misread_is_not_taken(wrong: np.ndarray, rng: np.random.Generator) -> None:
    with pytest.raises(AssertionError):
        session_of(cells.gru, rng, steps=1, inputs={"x": wrong})


def buffers(*values: int) -> list[ctypes.c_int64]:
    return [ctypes.c_int64(value) for value in values]


def copy(target: ctypes.c_int64, source: ctypes.c_int64) -> Copy:
    return Copy(ctypes.addressof(target), ctypes.addressof(source), 8)


@pytest.mark.parametrize("keep_lock", [False, True])
def test_a_script_is_done_in_order(keep_lock: bool) -> None:
    a, b, c = buffers(1, 2, 3)
    Script([copy(a, b), copy(b, c), copy(c, a)], keep_lock=keep_lock, keep=[]).perform()
    assert [one.value for one in (a, b, c)] == [2, 3, 2]


def test_a_script_of_nothing_does_nothing() -> None:
    a, b = buffers(1, 2)
    Script([], keep_lock=True, keep=[a, b]).perform()
    assert (a.value, b.value) == (1, 2)


def test_scripts_do_not_share_what_they_are_bound_to() -> None:
    a, b, c = buffers(1, 2, 3)
    first = Script([copy(a, b)], keep_lock=True, keep=[])
    second = Script([copy(b, c)], keep_lock=True, keep=[])
    first.perform()
    assert (a.value, b.value) == (2, 2)
    second.perform()
    first.perform()
    assert (a.value, b.value) == (3, 3)


@pytest.mark.parametrize("times", [0, 1, 5])
def test_a_script_is_repeated_over_rows(times: int) -> None:
    into, out = buffers(0, 0)
    sources, targets = np.arange(1, times + 1), np.zeros(times + 1, "int64")
    script = Script([copy(out, into)], keep_lock=True, keep=[])
    addresses = ctypes.addressof(into), sources.ctypes.data, 8, targets.ctypes.data, ctypes.addressof(out), 8
    script.repeat(times, *addresses)
    np.testing.assert_array_equal(targets, [*sources, 0])


@pytest.mark.parametrize("keep_lock", [False, True])
def test_what_a_script_calls_lives_as_long_as_its_functions(keep_lock: bool) -> None:
    a, b = buffers(1, 2)
    kept = np.zeros(1)
    perform = Script([copy(a, b)], keep_lock=keep_lock, keep=[kept]).perform
    watched = weakref.ref(kept)
    del kept
    gc.collect()
    perform()
    assert (a.value, watched() is not None) == (2, True)
    del perform
    gc.collect()
    assert watched() is None
