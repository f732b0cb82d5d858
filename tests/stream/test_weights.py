"""Streams whose matrices are kept in fewer bits: every step is that of rounded products."""

import numpy as np
import pytest

import gatewright as gw
from gatewright.backends.base import execute, infer_sizes, prepare
from gatewright.backends.numpy_ref import RULES
from gatewright.errors import OptionError
from gatewright.int8 import product, quantised
from gatewright.lang.ops import Op
from gatewright.trace import Trace, trace_cell
from gatewright.trace.ir import Literal
from tests.parity.assertions import assert_parity
from tests.stream.cases import CELLS, draw, sizes_of

STEPS = 5
ALL_CELLS = {
    **gw.cells.CATALOGUE,
    **{
        f"{word}({name})": change(getattr(gw.cells, name))
        for word, change in (("layer_norm", gw.layer_norm), ("residual", gw.residual))
        for name in ("elman", "gru", "lstm")
    },
}
"""Peepholes, projections, diagonal and low-rank recurrences, multiplicative and normalised cells: whatever a cell does
around its products is done in float32."""


def one_step(trace: Trace, params, x: np.ndarray, states) -> dict[str, np.ndarray]:
    """The states after a step of the equations in float32, whose products are those of whole numbers."""

    def matmul(matrix: np.ndarray, vector: np.ndarray) -> np.ndarray:
        return product(quantised(matrix), np.asarray(vector, np.float32))

    values = {**params, **states, trace.inputs[0].name: x}
    values |= {leaf.name: np.ones(len(x), "float32") for leaf in trace.inputs[1:]}
    values |= {noise.var.name: np.float32(noise.probability) for noise in trace.noises}
    sizes = infer_sizes(trace, {**params, trace.inputs[0].name: x}, {trace.inputs[0].name: 1})
    execute(prepare(trace.equations, {**RULES, Op.MATMUL: matmul}, sizes), values)
    return {
        state.name: np.full_like(states[state.name], new.value) if isinstance(new, Literal) else values[new.name]
        for state, new in trace.updates()
    }


@pytest.mark.parametrize("name", {**ALL_CELLS, **CELLS})
def test_a_step_of_int8_is_that_of_whole_numbers(name: str, rng: np.random.Generator) -> None:
    trace = trace_cell({**ALL_CELLS, **CELLS}[name])
    params = draw(trace, rng, "float32")
    stream = gw.stream.from_parameters(trace, params, batch=2, weights="int8")
    for x in rng.standard_normal((STEPS, 2, sizes_of(trace)["input"])).astype("float32"):
        want = one_step(trace, params, x, stream.state)
        stream.step(x)
        for state, got in stream.state.items():
            off = np.abs(got - want[state]) / max(1.0, float(np.abs(want[state]).max()))
            # A product of what was computed in the step may be rounded to the next whole number: a few units differ.
            assert np.median(off) < 2e-6, (name, state)
            assert off.max() < 9e-3, (name, state)


def test_int8_is_close_to_float32_over_many_steps_and_differs(rng: np.random.Generator) -> None:
    trace = trace_cell(gw.cells.gru)
    params = {k: v / 8 for k, v in draw(trace, rng, "float32", {"input": 24, "hidden": 64}).items()}
    xs = rng.standard_normal((200, 24)).astype("float32")
    plain, rounded = (gw.stream.from_parameters(trace, params, weights=w).run(xs) for w in ("float32", "int8"))
    off = np.abs(rounded - plain)
    assert 1e-6 < off.max() < 9e-3


def test_bfloat16_has_the_errors_of_bfloat16(rng: np.random.Generator) -> None:
    trace = trace_cell(gw.cells.lstm)
    params = draw(trace, rng, "float32", {"input": 24, "hidden": 64})
    xs = rng.standard_normal((STEPS, 3, 24)).astype("float32")
    plain, rounded = (
        gw.stream.from_parameters(trace, params, batch=3, weights=w).run(xs) for w in ("float32", "bfloat16")
    )
    assert_parity(rounded, plain, dtype="float32", products="bfloat16", steps=STEPS)
    assert np.abs(rounded - plain).max() > 1e-5


@pytest.mark.parametrize("weights", ["bfloat16", "int8"])
def test_whole_is_in_steps_to_the_bit(weights: str, rng: np.random.Generator) -> None:
    trace = trace_cell(gw.cells.gru)
    params = draw(trace, rng, "float32", {"input": 5, "hidden": 20})
    stream = gw.stream.from_parameters(trace, params, batch=2, weights=weights)
    xs = rng.standard_normal((7, 2, 5)).astype("float32")
    whole = stream.run(xs)
    stream.reset()
    np.testing.assert_array_equal(whole, [stream.step(x).copy() for x in xs])
    assert repr(stream) == f"Stream(gru: 5 -> 20, batch=2, float32, weights in {weights})"
    assert stream.weights == weights


def test_weights_that_cannot_be_are_refused(rng: np.random.Generator) -> None:
    params = draw(trace_cell(gw.cells.gru), rng, "float64", {"input": 2, "hidden": 3})
    with pytest.raises(OptionError) as caught:
        gw.stream.from_parameters(gw.cells.gru, params, weights="int4")
    assert str(caught.value) == (
        "a stream cannot have these weights\n  expected: float32, bfloat16, int8\n  got: 'int4'"
    )
    with pytest.raises(OptionError) as caught:
        gw.stream.from_parameters(gw.cells.gru, params, weights="int8")
    assert str(caught.value) == (
        "a stream with weights='int8' computes in float32\n  expected: parameters in float32\n  got: float64\n"
        "  do: pass dtype='float32' too"
    )
    assert gw.stream.from_parameters(gw.cells.gru, params, weights="int8", dtype="float32").dtype == np.float32
