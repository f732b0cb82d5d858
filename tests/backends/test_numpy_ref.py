"""The oracle itself: each op against mathematics, sequences and gradients against definitions written out here."""

import math
from typing import Any

import numpy as np
import pytest

import gatewright as gw
from gatewright import cells
from gatewright.backends import numpy_ref
from gatewright.backends.numpy_ref import RULES, draw, gradient, run
from gatewright.errors import OptionError, ShapeError
from gatewright.lang import OPS, Cell, Op
from gatewright.lang.ops import ELEMENTWISE
from gatewright.trace import trace_cell
from tests.backends.odd_cells import ODD
from tests.parity.assertions import assert_parity
from tests.parity.matrix import Problem, problem

INPUT, HIDDEN, STEPS, BATCH = 3, 5, 6, 4
MEANING = {  # of numbers, as the table of ops puts it
    Op.NEG: lambda a: -a,
    Op.ABS: abs,
    Op.SIGN: lambda a: (a > 0) - (a < 0),
    Op.EXP: math.exp,
    Op.LOG: lambda a: math.log(a) if a > 0 else (-math.inf if a == 0 else math.nan),
    Op.SQRT: lambda a: math.sqrt(a) if a >= 0 else math.nan,
    Op.SIGMOID: lambda a: 1 / (1 + math.exp(-a)),
    Op.TANH: math.tanh,
    Op.RELU: lambda a: max(a, 0.0),
    Op.HARD_SIGMOID: lambda a: min(max(0.2 * a + 0.5, 0.0), 1.0),
    Op.SOFTPLUS: lambda a: math.log1p(math.exp(a)),
    Op.ADD: lambda a, b: a + b,
    Op.SUB: lambda a, b: a - b,
    Op.MUL: lambda a, b: a * b,
    Op.DIV: lambda a, b: a / b if b else math.nan if a == 0 else math.copysign(math.inf, a),
    Op.MAXIMUM: max,
    Op.MINIMUM: min,
    Op.LESS: lambda a, b: float(a < b),
    Op.WHERE: lambda c, a, b: a if c != 0 else b,
}
NUMBERS = [-3.5, -1.0, -0.25, 0.0, 0.5, 1.0, 2.0, 20.0]


def gru_arrays(rng: np.random.Generator, dtype: str = "float64") -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    trace = trace_cell(cells.gru)
    sizes = {"input": INPUT, "hidden": HIDDEN}
    params = {p.name: rng.normal(size=[sizes[axis] for axis in p.shape]).astype(dtype) for p in trace.params}
    return {"x": rng.normal(size=(STEPS, BATCH, INPUT)).astype(dtype)}, params


# Ops.


def test_there_is_a_rule_for_every_op_and_a_meaning_for_every_elementwise_one() -> None:
    assert set(RULES) == set(Op) == set(OPS)
    assert set(MEANING) == ELEMENTWISE


@pytest.mark.parametrize("op", MEANING, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_elementwise_op_means_what_it_says(op: Op, dtype: str) -> None:
    columns = np.array(np.meshgrid(*[NUMBERS] * OPS[op].arity)).reshape(OPS[op].arity, -1).astype(dtype)
    attrs = {"slope": 0.2} if op is Op.HARD_SIGMOID else {}
    with np.errstate(all="ignore"):
        got = np.asarray(RULES[op](*columns, **attrs))
    want = np.array([float(MEANING[op](*map(float, row))) for row in columns.T])
    assert got.dtype == dtype
    finite = np.isfinite(want)
    assert np.array_equal(np.isfinite(got), finite)
    assert_parity(got[finite].astype(dtype), want[finite], dtype=dtype, steps=1, width=1)


def test_ops_of_whole_vectors() -> None:
    matrix, rows = np.arange(6.0).reshape(2, 3), np.arange(12.0).reshape(4, 3)
    assert np.array_equal(RULES[Op.MATMUL](matrix, rows[0]), matrix @ rows[0])
    assert np.array_equal(RULES[Op.MATMUL](matrix, rows), np.stack([matrix @ row for row in rows]))
    each = np.stack([matrix * k for k in range(4)])
    assert np.array_equal(RULES[Op.MATMUL](each, rows), np.stack([m @ row for m, row in zip(each, rows, strict=True)]))
    assert np.array_equal(RULES[Op.TRANSPOSE](each), each.transpose(0, 2, 1))
    outer = RULES[Op.OUTER](rows, rows[:, :2])
    assert np.array_equal(outer, np.stack([np.outer(row, row[:2]) for row in rows]))


def test_sigmoid_and_softplus_far_from_zero() -> None:
    far = np.array([-1e4, -745.0, -40.0, 40.0, 745.0, 1e4])
    with np.errstate(over="raise", invalid="raise"):
        sigmoid, softplus = numpy_ref.sigmoid(far), RULES[Op.SOFTPLUS](far)
    assert sigmoid[2] == pytest.approx(math.exp(-40), rel=1e-15)
    assert sigmoid.tolist()[3:] == [1.0, 1.0, 1.0]
    assert softplus.tolist()[3:] == [40.0, 745.0, 1e4]
    assert softplus[2] == pytest.approx(math.exp(-40), rel=1e-15)
    assert (sigmoid[:2] < 1e-300).all()


# Sequences.


def gru_step(x: np.ndarray, h: np.ndarray, p: dict[str, np.ndarray]) -> np.ndarray:
    r, z = (1 / (1 + np.exp(-(x @ p[f"W.{g}"].T + h @ p[f"U.{g}"].T + p[f"b.{g}"]))) for g in "rz")
    n = np.tanh(x @ p["W.n"].T + (r * h) @ p["U.n"].T + p["b.n"])
    return z * h + (1 - z) * n


def test_a_sequence_is_one_step_after_the_other(rng: np.random.Generator) -> None:
    inputs, params = gru_arrays(rng)
    first = rng.normal(size=(BATCH, HIDDEN))
    want, h = [], first
    for x in inputs["x"]:
        h = gru_step(x, h, params)
        want.append(h)
    got = run(trace_cell(cells.gru), inputs, params, {"h": first})
    assert_parity(got.output, np.stack(want), dtype="float64", steps=STEPS)
    assert_parity(got.sequences["h"], np.stack(want), dtype="float64", steps=STEPS)
    assert_parity(got.finals, {"h": h}, dtype="float64", steps=STEPS)


def test_a_row_whose_length_is_over_keeps_its_state_and_says_nothing(rng: np.random.Generator) -> None:
    inputs, params = gru_arrays(rng)
    lengths, first = [2, 0, STEPS, 5], rng.normal(size=(BATCH, HIDDEN))
    got = run(trace_cell(cells.gru), inputs, params, {"h": first}, lengths=lengths)
    for row, length in enumerate(lengths):
        alone = run(
            trace_cell(cells.gru), {"x": inputs["x"][:length, row : row + 1]}, params, {"h": first[row : row + 1]}
        )
        assert_parity(got.output[:length, row], alone.output[:, 0], dtype="float64", steps=STEPS)
        assert_parity(got.finals["h"][row], alone.finals["h"][0], dtype="float64", steps=STEPS)
        assert not got.output[length:, row].any()
        assert not any(gate[length:, row].any() for gate in got.gates.values())
        assert (got.sequences["h"][length:, row] == got.finals["h"][row]).all()


def test_time_can_run_backwards(rng: np.random.Generator) -> None:
    inputs, params = gru_arrays(rng)
    back = run(trace_cell(cells.gru), inputs, params, backwards=True)
    turned = run(trace_cell(cells.gru), {"x": inputs["x"][::-1]}, params)
    assert_parity(back.output[::-1], turned.output, dtype="float64", steps=STEPS)


def test_dtypes_follow_the_arrays_and_whole_numbers_become_float64(rng: np.random.Generator) -> None:
    trace = trace_cell(gw.zoneout(0.5)(gw.layer_norm(cells.gru)))
    _, params = gru_arrays(rng, "float32")
    params |= {f"gain.{gate}": np.ones(HIDDEN, np.float32) for gate in "rzn"}
    bits = rng.integers(0, 2, size=(STEPS, BATCH, INPUT))
    narrow = run(trace, {"x": bits.astype(np.float32)}, params)
    whole = run(trace, {"x": bits}, params)
    assert {array.dtype for array in (narrow.output, *narrow.gates.values(), *narrow.finals.values())} == {
        np.dtype("f4")
    }
    assert whole.output.dtype == np.float64
    assert_parity(narrow.output, whole.output, dtype="float32", steps=STEPS, width=256)
    got = gradient(trace, {"x": bits}, params, d_outputs={"h": whole.output})
    assert {array.dtype for array in (*got.inputs.values(), *got.params.values(), *got.states.values())} == {
        np.dtype("f8")
    }


# Random values.


def test_random_values_are_zeros_and_ones_at_their_rate_for_each_row(rng: np.random.Generator) -> None:
    @gw.cell
    def noisy(x, h, W):
        return gw.bernoulli(0.2, like=h) * h + gw.bernoulli(0.9, like=h, per="sequence") * (W.h @ x)

    trace = trace_cell(noisy)
    drawn = draw(trace, {"input": 5, "hidden": 5}, 50, 40, rng)
    each, once = drawn.values()
    assert each.shape == once.shape == (50, 40, 5)
    assert set(np.unique(each)) == set(np.unique(once)) == {0.0, 1.0}
    assert (once == once[:1]).all()
    assert not (each == each[:1]).all()
    assert not (once[0] == once[0, :1]).all()
    for array, rate, count in ((each, 0.2, each.size), (once, 0.9, once[0].size)):
        assert abs(array.mean() - rate) < 5 * math.sqrt(rate * (1 - rate) / count)


def test_without_random_values_their_means_are_taken(rng: np.random.Generator) -> None:
    inputs, params = gru_arrays(rng)
    trace = trace_cell(gw.zoneout(0.25)(cells.gru))
    means = {noise.var.name: np.full((STEPS, BATCH, HIDDEN), 0.25) for noise in trace.noises}
    want = run(trace, inputs, params, noises=means)
    assert np.array_equal(run(trace, inputs, params).output, want.output)
    seeds = {"h": rng.normal(size=(STEPS, BATCH, HIDDEN))}
    got = gradient(trace, inputs, params, d_outputs=seeds)
    assert_parity(
        got.params, gradient(trace, inputs, params, d_outputs=seeds, noises=means).params, dtype="float64", steps=STEPS
    )


# Gradients.


def loss(given: Problem, inputs: Any, params: Any, states: Any) -> float:
    found = run(given.trace, inputs, params, states, lengths=given.lengths, noises=given.noises)
    return float(
        (found.output * given.d_output).sum() + sum((found.finals[n] * d).sum() for n, d in given.d_finals.items())
    )


@pytest.mark.parametrize(
    "cell", [cells.gru, cells.lstm_peephole, cells.slstm, gw.layer_norm(cells.mgu), *ODD.values()], ids=lambda c: c.name
)
@pytest.mark.parametrize("lengths", [None, (2, 0, 4)], ids=["whole", "ragged"])
def test_gradients_are_differences(cell: Cell, lengths: tuple[int, ...] | None, rng: np.random.Generator) -> None:
    given = problem(cell, 4, 3, 5, lengths=lengths)
    found = gradient(
        given.trace, given.inputs, given.params, given.states, d_outputs={given.trace.states[0].name: given.d_output},
        d_finals=given.d_finals, lengths=lengths, noises=given.noises,
    )  # fmt: skip
    groups = (given.inputs, given.params, given.states)
    directions = [{name: rng.normal(size=array.shape) for name, array in group.items()} for group in groups]
    step = 1e-5

    def moved(sign: int) -> float:
        pairs = zip(groups, directions, strict=True)
        return loss(given, *({name: a[name] + sign * step * d[name] for name in a} for a, d in pairs))

    slope = (moved(1) - moved(-1)) / (2 * step)
    flows = (found.inputs, found.params, found.states)
    want = sum(float((flow[name] * d[name]).sum()) for flow, d in zip(flows, directions, strict=True) for name in d)
    assert slope == pytest.approx(want, rel=1e-6, abs=1e-7)


def test_truncation_cuts_the_flow_at_its_own_steps(rng: np.random.Generator) -> None:
    inputs, params = gru_arrays(rng)
    trace, h = trace_cell(cells.gru), rng.normal(size=(BATCH, HIDDEN))
    seeds, last = rng.normal(size=(STEPS, BATCH, HIDDEN)), rng.normal(size=(BATCH, HIDDEN))
    got = gradient(trace, inputs, params, {"h": h}, d_outputs={"h": seeds}, d_finals={"h": last}, truncate=4)
    whole = run(trace, inputs, params, {"h": h})
    early = gradient(trace, {"x": inputs["x"][:4]}, params, {"h": h}, d_outputs={"h": seeds[:4]})
    late = gradient(
        trace,
        {"x": inputs["x"][4:]},
        params,
        {"h": whole.sequences["h"][3]},
        d_outputs={"h": seeds[4:]},
        d_finals={"h": last},
    )
    want = {
        "x": np.concatenate([early.inputs["x"], late.inputs["x"]]),
        "h": early.states["h"],
        **{name: early.params[name] + late.params[name] for name in params},
    }
    assert_parity({"x": got.inputs["x"], "h": got.states["h"], **got.params}, want, dtype="float64", steps=STEPS)
    for long in (STEPS, 100):
        a = gradient(trace, inputs, params, {"h": h}, d_outputs={"h": seeds}, truncate=long)
        b = gradient(trace, inputs, params, {"h": h}, d_outputs={"h": seeds})
        assert_parity(a.params, b.params, dtype="float64", steps=STEPS)


def test_a_loss_may_see_every_value_of_any_state(rng: np.random.Generator) -> None:
    given = problem(cells.lstm, 5, 2, 3)
    seeds = {"c": rng.normal(size=(5, 2, HIDDEN))}
    got = gradient(given.trace, given.inputs, given.params, given.states, d_outputs=seeds)
    step, name = 1e-6, "b.f"

    def at(shift: float) -> float:
        params = {**given.params, name: given.params[name] + shift}
        return float((run(given.trace, given.inputs, params, given.states).sequences["c"] * seeds["c"]).sum())

    assert (at(step) - at(-step)) / (2 * step) == pytest.approx(float(got.params[name].sum()), rel=1e-7)


def test_final_states_are_not_the_first_ones_memory() -> None:
    given = problem(cells.gru, 0, 2, 0)
    found = run(given.trace, given.inputs, given.params, given.states)
    assert np.array_equal(found.finals["h"], given.states["h"])
    assert not np.shares_memory(found.finals["h"], given.states["h"])


def test_no_gradient_is_shared_memory_or_read_only() -> None:
    given = problem(ODD["input_is_not_read"], 3, 2, 0)
    got = gradient(given.trace, given.inputs, given.params, given.states, d_outputs={"h": given.d_output})
    for array in (*got.inputs.values(), *got.params.values(), *got.states.values()):
        np.add(array, 1.0, out=array)
    assert (got.inputs["x"] == 1).all()


# What does not fit.


def call(**changes: Any) -> None:
    rng = np.random.default_rng(0)
    inputs, params = gru_arrays(rng)
    run(trace_cell(cells.gru), changes.pop("inputs", inputs), changes.pop("params", params), **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inputs": {}}, "cell 'gru' was not given the input 'x'\n  expected: x\n  got: none"),
        ({"states": {"c": np.zeros((BATCH, HIDDEN))}}, "cell 'gru' has no state 'c'\n  expected: h"),
        (
            {"states": {"h": np.zeros((3, HIDDEN))}},
            (
                "cell 'gru': the initial state h has another number of rows than the inputs\n"
                "  expected: (4, ...)\n"
                "  got: (3, ...)"
            ),
        ),
        (
            {"states": {"h": np.zeros(HIDDEN)}},
            "cell 'gru': h has a shape that does not fit\n  expected: (batch, hidden)\n  got: (5,)",
        ),
        ({"lengths": [1, 2]}, "lengths has a wrong number of entries\n  expected: 4, one a row\n  got: 2"),
        (
            {"lengths": [1, 2, 7, 3]},
            "lengths do not fit the sequences\n  expected: from 0 to 6\n  got: [1, 2, 7, 3]",
        ),
        ({"lengths": [1, 2, -1, 3]}, "lengths do not fit the sequences\n  expected: from 0 to 6\n  got: [1, 2, -1, 3]"),
    ],
    ids=["no input", "unknown state", "rows", "rank", "lengths", "long", "negative"],
)
def test_arrays_that_do_not_fit(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ShapeError) as raised:
        call(**changes)
    assert str(raised.value) == message


def test_inputs_of_two_lengths_and_random_values_of_a_wrong_shape() -> None:
    given = problem(gw.masked(gw.zoneout(0.5)(cells.gru)), 4, 2, 0)
    with pytest.raises(ShapeError) as raised:
        run(given.trace, {**given.inputs, "mask": np.ones((3, 2))}, given.params)
    assert str(raised.value) == (
        "cell 'masked(zoneout(0.5)(gru))': mask has another number of steps or rows than x\n"
        "  expected: (4, 2, ...)\n"
        "  got: (3, 2, ...)"
    )
    (name,) = given.noises
    with pytest.raises(ShapeError) as raised:
        run(given.trace, given.inputs, given.params, noises={name: given.noises[name][:1]})
    assert str(raised.value) == (
        f"cell 'masked(zoneout(0.5)(gru))': the random value {name} has a shape that does not fit\n"
        "  expected: (4, 2, 5)\n"
        "  got: (1, 2, 5)\n"
        "  do: draw it with `draw`"
    )
    with pytest.raises(ShapeError, match=f"was not given the random value '{name}'"):
        run(given.trace, given.inputs, given.params, noises={})


def test_gradients_that_cannot_be() -> None:
    given = problem(cells.gru, 4, 2, 0)
    arguments = (given.trace, given.inputs, given.params)
    with pytest.raises(OptionError) as raised:
        gradient(*arguments, d_outputs={"h": given.d_output}, truncate=0)
    assert str(raised.value) == "truncate is not a number of steps\n  expected: 1 or more\n  got: 0"
    with pytest.raises(OptionError, match="trace 'gru' has no state 'c' to derive by"):
        gradient(*arguments, d_outputs={"c": given.d_output})
    with pytest.raises(ShapeError, match=r"d\(h.out\)"):
        gradient(*arguments, d_outputs={"h": given.d_output[:2]})
    with pytest.raises(ShapeError, match=r"has no state 'd\(c\)'"):
        gradient(*arguments, d_outputs={"h": given.d_output}, d_finals={"c": given.d_finals["h"]})


@pytest.mark.parametrize("cell", [cells.gru, cells.slstm, gw.masked(cells.lstm)], ids=lambda cell: cell.label)
def test_a_row_with_resets_is_its_sequences_run_alone(cell: Cell) -> None:
    given = problem(cell, 5, 1, seed=3)
    trace, params, flow = given.trace, given.params, given.d_output
    name, resets = trace.states[0].name, np.array([0, 0, 1, 0, 1])[:, None]
    whole = run(trace, given.inputs, params, given.states, resets=resets)
    got = gradient(
        trace, given.inputs, params, given.states, d_outputs={name: flow}, d_finals=given.d_finals, resets=resets
    )
    found, parts = [], [slice(0, 2), slice(2, 4), slice(4, 5)]
    for part in parts:
        inputs = {key: array[part] for key, array in given.inputs.items()}
        states = given.states if part.start == 0 else None
        ends = given.d_finals if part.stop == 5 else None
        alone = run(trace, inputs, params, states)
        np.testing.assert_array_equal(whole.output[part], alone.output)
        found.append(gradient(trace, inputs, params, states, d_outputs={name: flow[part]}, d_finals=ends))
    assert_parity(whole.finals, alone.finals, dtype="float64", steps=5)
    inputs = {key: np.concatenate([one.inputs[key] for one in found]) for key in given.inputs}
    params = {key: sum(one.params[key] for one in found) for key in params}
    assert_parity((got.inputs, got.params), (inputs, params), dtype="float64", steps=5)
    assert_parity(got.states, found[0].states, dtype="float64", steps=5)
