"""What a stream refuses, word by word."""

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest

import gatewright as gw
from gatewright import cells
from gatewright.errors import OptionError, ShapeError
from gatewright.trace import Var, trace_cell
from tests.stream.cases import draw


def stream_of(batch: int = 1, cell=cells.gru) -> "gw.stream.Stream":
    params = draw(trace_cell(cell), np.random.default_rng(0), "float32", {"input": 5, "hidden": 8})
    return gw.stream.from_parameters(cell, params, batch=batch)


ONE = "(batch, input) with batch = 1, input = 5; or (input)"
STEPS = [
    ((6,), 1, f"{ONE}\n  got: (6,)"),
    ((), 1, f"{ONE}\n  got: ()"),
    ((1,), 1, f"{ONE}\n  got: (1,)"),
    ((1, 1, 5), 1, f"{ONE}\n  got: (1, 1, 5)"),
    ((2, 5), 1, f"{ONE}\n  got: (2, 5)\n  do: open the stream with batch=2"),
    ((5,), 3, "(batch, input) with batch = 3, input = 5\n  got: (5,)"),
    ((1, 5), 3, "(batch, input) with batch = 3, input = 5\n  got: (1, 5)\n  do: open the stream with batch=1"),
    ((3, 1), 3, "(batch, input) with batch = 3, input = 5\n  got: (3, 1)"),
]


@pytest.mark.parametrize(("shape", "batch", "text"), STEPS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_input_of_another_shape(shape: tuple[int, ...], batch: int, text: str, dtype: str) -> None:
    stream = stream_of(batch)
    with pytest.raises(ShapeError) as caught:
        stream.step(np.zeros(shape, dtype))
    assert str(caught.value) == f"stream.step was given an input whose shape does not fit\n  expected: {text}"
    np.testing.assert_array_equal(stream.state["h"], 0)


CHUNKS = [
    ((5,), 1, "(time, batch, input) with batch = 1, input = 5; or (time, input)\n  got: (5,)"),
    ((), 1, "(time, batch, input) with batch = 1, input = 5; or (time, input)\n  got: ()"),
    ((4, 5), 2, "(time, batch, input) with batch = 2, input = 5\n  got: (4, 5)"),
    (
        (4, 3, 5),
        2,
        "(time, batch, input) with batch = 2, input = 5\n  got: (4, 3, 5)\n  do: open the stream with batch=3",
    ),
]


@pytest.mark.parametrize(("shape", "batch", "text"), CHUNKS)
def test_a_chunk_of_another_shape(shape: tuple[int, ...], batch: int, text: str) -> None:
    with pytest.raises(ShapeError) as caught:
        stream_of(batch).run(np.zeros(shape))
    assert str(caught.value) == f"stream.run was given an input whose shape does not fit\n  expected: {text}"


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (np.zeros(5, complex), "complex128"),
        (["a"] * 5, "str32"),
        (None, "object"),
        ([[1], [1, 2]], "rows of different lengths"),
    ],
)
def test_what_are_not_numbers(values, kind: str) -> None:
    with pytest.raises(ShapeError) as caught:
        stream_of().step(values)
    assert str(caught.value) == (
        "stream.step was given what is not an array of real numbers\n"
        "  expected: numbers, which are taken as float32\n"
        f"  got: {kind}"
    )


def test_a_state_of_other_names_or_shapes() -> None:
    stream = stream_of(2, cells.lstm)
    stream.step(np.ones((2, 5)))
    before = stream.state
    with pytest.raises(ShapeError) as caught:
        stream.state = {"h": before["h"]}
    assert str(caught.value) == (
        "stream.state was not given the states that the stream has\n  expected: h, c\n  got: h"
    )
    with pytest.raises(ShapeError) as caught:
        stream.state = {"h": before["h"] + 1, "c": before["c"][0]}
    assert str(caught.value) == (
        "stream.state['c'] has a shape that does not fit\n  expected: (batch, features) = (2, 8)\n  got: (8,)"
    )
    np.testing.assert_equal(stream.state, before)


@pytest.mark.parametrize("batch", [0, -1, 1.0, True, "1"])
def test_a_batch_that_cannot_be(batch) -> None:
    with pytest.raises(OptionError) as caught:
        stream_of(batch)
    assert str(caught.value) == (
        f"a stream was given a batch that cannot be\n  expected: a whole number from 1 up\n  got: {batch!r}"
    )


@pytest.mark.parametrize(("dtype", "name"), [("int32", "int32"), ("float16", "float16"), ("wide", "'wide'")])
def test_a_dtype_that_no_stream_has(dtype: str, name: str) -> None:
    params = draw(trace_cell(cells.gru), np.random.default_rng(0), "float32")
    with pytest.raises(OptionError) as caught:
        gw.stream.from_parameters(cells.gru, params, dtype=dtype)
    assert str(caught.value) == (f"a stream cannot have this dtype\n  expected: float32 or float64\n  got: {name}")


def test_parameters_that_do_not_fit() -> None:
    params = draw(trace_cell(cells.elman), np.random.default_rng(0), "float32", {"input": 5, "hidden": 8})
    for name, changed, text in (
        ("missing", {k: v for k, v in params.items() if k != "W.h"}, "was not given the parameter 'W.h'"),
        ("unknown", {**params, "W.z": params["W.h"]}, "has no parameter 'W.z'"),
        ("shape", {**params, "U.h": params["W.h"]}, "U.h has a shape that does not fit"),
    ):
        with pytest.raises(ShapeError) as caught:
            gw.stream.from_parameters(cells.elman, changed)
        assert text in str(caught.value), name


@gw.cell
def counter(x, h):
    return h + 1


def test_a_size_that_no_parameter_tells() -> None:
    with pytest.raises(ShapeError) as caught:
        gw.stream.from_parameters(counter, {})
    assert str(caught.value) == "cell 'counter' has no parameter that tells the size of x, input"


def test_an_input_that_a_stream_does_not_know() -> None:
    trace = trace_cell(cells.elman)
    params = draw(trace, np.random.default_rng(0), "float32", {"input": 5, "hidden": 8})
    with pytest.raises(OptionError) as caught:
        gw.stream.from_parameters(replace(trace, inputs=(*trace.inputs, Var("clock", ()))), params)
    assert str(caught.value) == (
        "cell 'elman' has an input that a stream does not know\n  expected: x or mask\n  got: clock"
    )


def test_a_state_that_is_no_mapping() -> None:
    stream = stream_of()
    with pytest.raises(ShapeError) as caught:
        stream.state = 5
    assert str(caught.value) == (
        "stream.state was given what is no mapping from names to arrays\n"
        "  expected: what stream.state gives, with h\n"
        "  got: int"
    )


@pytest.mark.parametrize("batch", [2**40, 2**63, 10**30])
def test_more_rows_than_there_is_memory_for(batch: int) -> None:
    with pytest.raises(OptionError) as caught:
        stream_of(batch)
    assert str(caught.value) == (
        f"a stream was given a batch that there is no memory for\n  got: {batch:,} rows\n  do: give fewer"
    )


@pytest.mark.parametrize("take", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_stream_is_neither_pickled_nor_copied(take) -> None:
    with pytest.raises(OptionError) as caught:
        take(stream_of())
    assert str(caught.value) == (
        "a stream can be neither pickled nor copied: its code and memory are this process's own\n"
        "  do: open another from the same model, and set its state: other.state = stream.state"
    )


def test_resets_of_another_shape() -> None:
    stream = stream_of(2)
    stream.step(np.ones((2, 5)))
    before = stream.state["h"]
    with pytest.raises(ShapeError) as caught:
        stream.run(np.ones((4, 2, 5)), np.ones((2, 4)))
    assert str(caught.value) == (
        "stream.run was given resets in a shape that does not fit\n"
        "  expected: (4, 2): where it is not 0, states start anew\n  got: (2, 4)"
    )
    with pytest.raises(ShapeError) as caught:
        stream.reset([0])
    assert str(caught.value) == (
        "stream.reset was given where in a shape that does not fit\n"
        "  expected: (2,): where it is not 0, states start anew\n  got: (1,)"
    )
    np.testing.assert_array_equal(stream.state["h"], before)
