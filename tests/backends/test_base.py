"""What the array backends share: equations made ready, scalars beside vectors, sizes read off arrays, exact words."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

import gatewright as gw
from gatewright import cells
from gatewright.backends import base, numpy_ref
from gatewright.errors import OptionError, ShapeError
from gatewright.lang import Op
from gatewright.lang.ops import Attrs
from gatewright.trace import Equation, Literal, Trace, Var, trace_cell

SIZES = {"input": 3, "hidden": 5}
SCALAR, VECTOR, MATRIX = Var("s", ()), Var("v", ("hidden",)), Var("m", ("hidden", "input"))


def computed(
    op: Op,
    args: tuple[Var | Literal, ...],
    values: Mapping[str, Any],
    attrs: Attrs = (),
    shape: tuple[str, ...] = ("hidden",),
) -> Any:
    found = dict(values)
    base.execute(base.prepare([Equation(Var("y", shape), op, args, attrs)], numpy_ref.RULES, SIZES), found)
    return found["y"]


@pytest.mark.parametrize("leading", [(), (2,), (4, 2)], ids=["parameters", "rows", "rows of all steps"])
def test_a_scalar_of_each_row_meets_a_vector_and_a_matrix(leading: tuple[int, ...], rng: np.random.Generator) -> None:
    s, v, m = rng.normal(size=leading), rng.normal(size=(*leading, 5)), rng.normal(size=(*leading, 5, 3))
    values = {"s": s, "v": v, "m": m}
    assert np.array_equal(computed(Op.MUL, (SCALAR, VECTOR), values), s[..., None] * v)
    assert np.array_equal(computed(Op.MUL, (VECTOR, SCALAR), values), v * s[..., None])
    got = computed(Op.ADD, (MATRIX, SCALAR), values, shape=("hidden", "input"))
    assert np.array_equal(got, m + s[..., None, None])


def test_a_scalar_of_each_row_meets_a_vector_of_parameters(rng: np.random.Generator) -> None:
    s, v = rng.normal(size=(4, 5)), rng.normal(size=5)  # as many rows as features: nothing may broadcast by chance
    assert np.array_equal(computed(Op.MUL, (SCALAR, VECTOR), {"s": s, "v": v}), s[..., None] * v)
    assert np.array_equal(
        computed(Op.WHERE, (SCALAR, VECTOR, Literal(0.0)), {"s": s > 0, "v": v}), np.where((s > 0)[..., None], v, 0)
    )


def test_numbers_and_attributes_reach_the_rules() -> None:
    v = np.linspace(-4, 4, 5)
    assert np.array_equal(computed(Op.SUB, (Literal(1.0), VECTOR), {"v": v}), 1 - v)
    got = computed(Op.HARD_SIGMOID, (VECTOR,), {"v": v}, (("slope", 0.2),))
    assert np.allclose(got, np.clip(0.2 * v + 0.5, 0, 1), rtol=1e-15)
    assert computed(Op.SIZE, (), {}, (("axes", "hidden,input"),), ()) == 15
    got = computed(Op.EXPAND, (SCALAR,), {"s": np.array([1.0, 2.0])}, (("axes", "hidden,input"),), ("hidden", "input"))
    assert np.array_equal(got, np.array([1.0, 2.0])[:, None, None] * np.ones((2, 5, 3)))
    assert np.array_equal(computed(Op.SUM, (MATRIX,), {"m": np.ones((7, 5, 3))}, (), ()), np.full(7, 15.0))
    assert np.array_equal(computed(Op.MEAN, (VECTOR,), {"v": np.ones((7, 2, 5))}, (), ()), np.ones((7, 2)))


def test_sizes_are_read_off_the_arrays() -> None:
    trace = trace_cell(cells.gru)
    found = base.infer_sizes(trace, {"x": np.zeros((7, 2, 3)), "h": np.zeros((2, 5))}, {"x": 2, "h": 1})
    assert found == SIZES


def _x(*shape: int) -> dict[str, np.ndarray]:
    return {"x": np.zeros(shape)}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda trace: base.infer_sizes(trace, _x(7, 3), {"x": 2}),
            "cell 'gru': x has a shape that does not fit\n  expected: (time, batch, input)\n  got: (7, 3)",
        ),
        (
            lambda trace: base.infer_sizes(trace, {"h": np.zeros(5)}, {"h": 1}),
            "cell 'gru': h has a shape that does not fit\n  expected: (batch, hidden)\n  got: (5,)",
        ),
        (
            lambda trace: base.infer_sizes(trace, {**_x(7, 2, 3), "W.r": np.zeros((5, 4))}, {"x": 2}),
            (
                "cell 'gru': W.r has a shape that does not fit\n"
                "  expected: (hidden, input) with input = 3, as x has it\n"
                "  got: (5, 4)"
            ),
        ),
        (
            lambda trace: base.require(trace, _x(1), trace.params[:2], "parameter"),
            "cell 'gru' was not given the parameter 'W.r'\n  expected: W.r, W.z\n  got: x",
        ),
        (
            lambda trace: base.require(trace, {}, trace.inputs, "input"),
            "cell 'gru' was not given the input 'x'\n  expected: x\n  got: none",
        ),
        (
            lambda trace: base.refuse_unknown(trace, {"h": 0, "hh": 0}, trace.states, "state"),
            "cell 'gru' has no state 'hh'\n  expected: h",
        ),
    ],
    ids=["rank", "state", "two sizes", "missing", "none", "unknown"],
)
def test_arrays_that_do_not_fit_are_named(call: Callable[[Trace], object], message: str) -> None:
    with pytest.raises(ShapeError) as raised:
        call(trace_cell(cells.gru))
    assert str(raised.value) == message


def test_axes_that_are_added_must_be_of_one_size() -> None:
    with pytest.raises(ShapeError) as raised:
        base.check_relabels(trace_cell(gw.residual(cells.gru)), SIZES)
    assert str(raised.value) == (
        "cell 'residual(gru)' adds input and hidden elementwise, so they must have one size\n"
        "  expected: input = hidden\n"
        "  got: input = 3, hidden = 5\n"
        "  do: make the layer's hidden size equal to its input size, or project the input first"
    )


def test_an_axis_without_a_size_is_named() -> None:
    equation = Equation(Var("y", ()), Op.SIZE, (), (("axes", "context"),))
    with pytest.raises(OptionError, match="the size of axis 'context' is not known"):
        base.prepare([equation], numpy_ref.RULES, SIZES)
