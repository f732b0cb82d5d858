"""A stream computes what the reference computes, however a sequence is cut."""

import numpy as np
import pytest

import gatewright as gw
from gatewright import cells
from gatewright.backends import numpy_ref
from gatewright.trace import Trace, trace_cell
from tests.parity.assertions import assert_parity
from tests.stream.cases import CELLS, draw, sizes_of, trace_named

STEPS = 9


def reference(trace: Trace, params, xs: np.ndarray, states=None) -> numpy_ref.ReferenceRun:
    """The float64 numbers."""
    inputs = {trace.inputs[0].name: xs.astype("float64")}
    if len(trace.inputs) > 1:
        inputs["mask"] = np.ones(xs.shape[:2])
    return numpy_ref.run(trace, inputs, {name: value.astype("float64") for name, value in params.items()}, states)


def gru_stream(rng: np.random.Generator, batch: int = 1, sizes=(5, 8)) -> "gw.stream.Stream":
    params = draw(trace_cell(cells.gru), rng, "float32", dict(zip(("input", "hidden"), sizes, strict=True)))
    return gw.stream.from_parameters(cells.gru, params, batch=batch)


@pytest.mark.parametrize(
    ("name", "dtype"), [*((name, "float32") for name in CELLS), ("gru", "float64"), ("layer_norm(lstm)", "float64")]
)
def test_steps_are_those_of_the_reference(name: str, dtype: str, rng: np.random.Generator) -> None:
    trace = trace_named(name)
    params = draw(trace, rng, dtype)
    for batch in (1, 3):
        xs = rng.standard_normal((STEPS, batch, sizes_of(trace)["input"])).astype(dtype)
        stream = gw.stream.from_parameters(CELLS[name], params, batch=batch)
        got = np.stack([stream.step(x).copy() for x in xs])
        want = reference(trace, params, xs)
        assert_parity((got, stream.state), (want.output, want.finals), dtype=dtype, steps=STEPS, width=256, cell=name)


@pytest.mark.parametrize(("batch", "hidden"), [(1, 1), (1, 33), (2, 16), (8, 3), (17, 33)])
def test_any_number_of_rows_and_units(batch: int, hidden: int, rng: np.random.Generator) -> None:
    trace = trace_cell(cells.gru)
    params = draw(trace, rng, "float32", {"input": 2, "hidden": hidden})
    stream = gw.stream.from_parameters(trace, params, batch=batch)
    xs = rng.standard_normal((4, batch, 2)).astype("float32")
    assert_parity(stream.run(xs), reference(trace, params, xs).output, dtype="float32", steps=4)


@pytest.mark.parametrize("name", ["gru", "layer_norm(lstm)", "sru"])
def test_whole_is_in_chunks_is_step_by_step_to_the_bit(name: str, rng: np.random.Generator) -> None:
    trace = trace_named(name)
    stream = gw.stream.from_parameters(CELLS[name], draw(trace, rng, "float32"), batch=3)
    xs = rng.standard_normal((23, 3, sizes_of(trace)["input"])).astype("float32")
    whole, end = stream.run(xs), stream.state
    for length in (1, 2, 7, 22):
        stream.reset()
        pieces = [stream.run(xs[start : start + length]) for start in range(0, len(xs), length)]
        np.testing.assert_array_equal(np.concatenate(pieces), whole)
    stream.reset()
    np.testing.assert_array_equal(np.stack([stream.step(x).copy() for x in xs]), whole)
    np.testing.assert_equal(stream.state, end)


def test_a_stack_is_its_layers_one_after_the_other(rng: np.random.Generator) -> None:
    trace = trace_cell(cells.lstm)
    lower = draw(trace, rng, "float64", {"input": 4, "hidden": 6})
    upper = draw(trace, rng, "float64", {"input": 6, "hidden": 3})
    xs = rng.standard_normal((STEPS, 2, 4))
    stream = gw.stream.from_parameters(cells.lstm, [lower, upper], batch=2)
    below = reference(trace, lower, xs)
    above = reference(trace, upper, below.output)
    assert_parity(stream.run(xs), above.output, dtype="float64", steps=2 * STEPS)
    finals = {
        "l0.h": below.finals["h"],
        "l0.c": below.finals["c"],
        "l1.h": above.finals["h"],
        "l1.c": above.finals["c"],
    }
    assert_parity(stream.state, finals, dtype="float64", steps=2 * STEPS)


def test_one_row_needs_no_axis_for_it(rng: np.random.Generator) -> None:
    stream = gru_stream(rng)
    xs = rng.standard_normal((4, 5)).astype("float32")
    without, ys = stream.step(xs[0]).copy(), stream.run(xs)
    assert (without.shape, ys.shape) == ((8,), (4, 8))
    stream.reset()
    np.testing.assert_array_equal(stream.step(xs[:1]), without[None])
    np.testing.assert_array_equal(stream.run(xs[:, None])[:, 0], ys)


def test_no_steps_change_nothing(rng: np.random.Generator) -> None:
    stream = gru_stream(rng, batch=2)
    stream.step(np.ones((2, 5)))
    before = stream.state["h"]
    assert stream.run(np.empty((0, 2, 5))).shape == (0, 2, 8)
    np.testing.assert_array_equal(stream.state["h"], before)


def test_a_state_is_taken_out_and_put_back(rng: np.random.Generator) -> None:
    trace = trace_named("lstm")
    params = draw(trace, rng, "float64")
    xs = rng.standard_normal((STEPS, 2, 7))
    stream = gw.stream.from_parameters(cells.lstm, params, batch=2)
    stream.run(xs[:4])
    kept = stream.state
    rest = stream.run(xs[4:])
    stream.state = kept
    np.testing.assert_array_equal(stream.run(xs[4:]), rest)
    other = gw.stream.from_parameters(cells.lstm, params, batch=2)
    other.state = {name: value.tolist() for name, value in kept.items()}
    np.testing.assert_array_equal(other.run(xs[4:]), rest)
    assert_parity(rest, reference(trace, params, xs[4:], kept).output, dtype="float64", steps=STEPS)


def test_reset_begins_anew(rng: np.random.Generator) -> None:
    stream = gru_stream(rng)
    first = stream.step(np.ones(5)).copy()
    assert not np.array_equal(stream.step(np.ones(5)), first)
    stream.reset()
    np.testing.assert_array_equal(stream.state["h"], np.zeros((1, 8)))
    np.testing.assert_array_equal(stream.step(np.ones(5)), first)


def test_the_result_is_one_place_in_memory_that_a_user_cannot_write_to(rng: np.random.Generator) -> None:
    stream = gru_stream(rng)
    first = stream.step(np.ones(5))
    assert first is stream.step(np.zeros(5))
    with pytest.raises(ValueError, match="read-only"):
        first[0] = 1


@pytest.mark.parametrize("convert", [np.float64, np.int8, list, np.asfortranarray, lambda x: x.astype(">f4")])
def test_numbers_of_any_kind_are_taken(convert, rng: np.random.Generator) -> None:
    stream = gru_stream(rng, batch=2)
    xs = rng.integers(-2, 3, (3, 2, 5)).astype("float32")
    want = stream.run(xs)
    stream.reset()
    np.testing.assert_array_equal(np.stack([stream.step(convert(x)).copy() for x in xs]), want)
    stream.reset()
    np.testing.assert_array_equal(stream.run(convert(xs)), want)


def test_rows_that_lie_apart_in_memory_are_taken(rng: np.random.Generator) -> None:
    stream = gru_stream(rng, batch=2)
    wide = rng.standard_normal((3, 4, 10)).astype("float32")
    want = stream.run(wide[:, ::2, ::2].copy())
    stream.reset()
    np.testing.assert_array_equal(stream.run(wide[:, ::2, ::2]), want)
    stream.reset()
    np.testing.assert_array_equal(np.stack([stream.step(x[::2, ::2]).copy() for x in wide]), want)


def test_nan_stays_in_its_row(rng: np.random.Generator) -> None:
    stream = gru_stream(rng, batch=3)
    x = np.ones((3, 5), "float32")
    want = stream.step(x).copy()
    stream.reset()
    x[1, 2] = np.nan
    got = stream.step(x)
    assert np.isnan(got[1]).all()
    np.testing.assert_array_equal(got[[0, 2]], want[[0, 2]])


def test_parameters_are_copied(rng: np.random.Generator) -> None:
    params = draw(trace_cell(cells.gru), rng, "float32")
    stream = gw.stream.from_parameters(cells.gru, params)
    want = stream.step(np.ones(7)).copy()
    for value in params.values():
        value[...] = np.nan
    stream.reset()
    np.testing.assert_array_equal(stream.step(np.ones(7)), want)


def test_the_dtype_is_that_of_the_parameters_or_the_one_asked_for(rng: np.random.Generator) -> None:
    params = draw(trace_cell(cells.gru), rng, "float64")
    stream = gw.stream.from_parameters(cells.gru, params)
    assert (stream.dtype, stream.step(np.ones(7)).dtype) == ("float64", "float64")
    narrow = gw.stream.from_parameters(cells.gru, params, dtype=np.float32)
    assert (narrow.dtype, narrow.step(np.ones(7)).dtype) == ("float32", "float32")
    assert repr(narrow) == "Stream(gru: 7 -> 19, batch=1, float32)"


def test_rows_that_are_reset_start_anew(rng: np.random.Generator) -> None:
    trace = trace_cell(cells.lstm)
    layers = [draw(trace, rng, "float32", {"input": size, "hidden": 6}) for size in (4, 6)]
    xs = rng.standard_normal((STEPS, 3, 4)).astype("float32")
    resets = np.zeros((STEPS, 3), bool)
    resets[0, 0] = resets[3, 1] = resets[4] = resets[-1, 2] = True
    stream = gw.stream.from_parameters(cells.lstm, layers, batch=3)
    stream.step(xs[0])
    begin = stream.state
    stepped = []
    for x, rows in zip(xs, resets, strict=True):
        stream.reset(rows)
        stepped.append(stream.step(x).copy())
    end = stream.state
    stream.state = begin
    np.testing.assert_array_equal(stream.run(xs, resets), np.stack(stepped))
    np.testing.assert_equal(stream.state, end)
    stream.reset()
    alone = stream.run(xs[4:-1])
    np.testing.assert_array_equal(np.stack(stepped)[4:-1], alone)
    stream.reset([1, 0, 1])
    assert not stream.state["l1.c"][[0, 2]].any()
    assert stream.state["l1.c"][1].any()


def test_resets_of_one_row_and_of_no_steps(rng: np.random.Generator) -> None:
    stream = gru_stream(rng)
    xs = rng.standard_normal((4, 5)).astype("float32")
    got = stream.run(xs, [0, 0, 1, 0])
    stream.reset()
    np.testing.assert_array_equal(stream.run(xs[2:]), got[2:])
    np.testing.assert_array_equal(stream.run(xs[:, None], [[1], [0], [1], [0]])[:, 0], got)
    before = stream.state["h"]
    assert stream.run(np.empty((0, 5)), []).shape == (0, 8)
    np.testing.assert_array_equal(stream.state["h"], before)
