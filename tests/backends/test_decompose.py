"""Decompositions: each is right to rounding where it is used, keeps names and lines, and has no way back to itself."""

from dataclasses import replace

import numpy as np
import pytest

import gatewright as gw
from gatewright.backends import numpy_ref
from gatewright.backends.decompose import DECOMPOSITIONS, decompose
from gatewright.derive import vjp
from gatewright.errors import TraceError
from gatewright.lang.ops import OPS, Op
from gatewright.trace import Equation, Literal, Trace, Var, parse, to_text, trace_cell

A, B, Y = Var("a", ("hidden",)), Var("b", ("hidden",)), Var("y", ("hidden",))
NUMBERS = np.array([-40.0, -3.0, -1.0, -0.5, -1e-3, -0.0, 0.0, 1e-3, 0.5, 1.0, 3.0, 40.0, np.inf, -np.inf])


def _one(op: Op) -> Trace:
    """A trace that emits y = op(a, b, ...)."""
    target = Y if op is not Op.MEAN else Var("y", ())
    args = (A, B)[: OPS[op].arity]
    attrs = tuple((name, 0.2) for name in OPS[op].attrs)
    return Trace("one", (A, B), (), (), (), (Equation(target, op, args, attrs),), (), emits=(("y", target),))


def _emitted(trace: Trace) -> np.ndarray:
    a, b = (grid.reshape(1, -1, 1) for grid in np.meshgrid(NUMBERS, NUMBERS))
    runnable = replace(trace, states=(Var("s", ()),), next_states=(Literal(0.0),))
    return numpy_ref.run(runnable, {"a": a, "b": b}, {}).emits["y"]


@pytest.mark.parametrize("op", DECOMPOSITIONS)
def test_the_numbers_are_those_of_the_op(op: Op) -> None:
    trace = _one(op)
    with np.errstate(invalid="ignore"):
        want = _emitted(trace)
    got = _emitted(decompose(trace, frozenset(Op) - {op}))
    sound = ~np.isnan(want)  # infinity minus infinity is none in either
    np.testing.assert_allclose(got[sound], want[sound], rtol=1e-15, atol=1e-15)


@pytest.mark.parametrize("op", DECOMPOSITIONS)
def test_no_op_is_made_of_itself(op: Op) -> None:
    """Each use of a rule comes later in the table, so that decomposing ends."""
    order = list(DECOMPOSITIONS)
    trace = _one(op)
    used = {equation.op for equation in decompose(trace, frozenset(Op) - {op}).equations}
    assert [one for one in used & set(order) if order.index(one) <= order.index(op)] == []


@pytest.mark.parametrize("name", gw.cells.CATALOGUE)
def test_every_cell_and_gradient_can_be_made_of_the_simplest_ops(name: str) -> None:
    simplest = frozenset(Op) - DECOMPOSITIONS.keys()
    trace = trace_cell(gw.cells.CATALOGUE[name])
    for one in (trace, vjp(trace)):
        result = decompose(one, simplest)
        assert {equation.op for equation in result.equations} <= simplest
        assert (result.inputs, result.states, result.params) == (one.inputs, one.states, one.params)
        assert parse(to_text(result)) == result


def test_names_and_lines_stay() -> None:
    before = trace_cell(gw.cells.gru)
    after = decompose(before, frozenset(Op) - {Op.SIGMOID})
    lines = {equation.target.name: equation.where for equation in after.equations}
    assert [lines[name] for name in ("r", "z", "n", "h'")] == [
        equation.where for equation in before.equations if not equation.target.name.startswith("%")
    ]
    assert after.gates == before.gates
    assert {equation.where for equation in after.equations} == {equation.where for equation in before.equations}


def test_an_op_that_cannot_be_made_is_named() -> None:
    trace = trace_cell(gw.cells.elman)
    with pytest.raises(TraceError) as raised:
        decompose(trace, {Op.ADD, Op.TANH})
    assert str(raised.value) == (
        "trace 'elman' uses `matmul`, which cannot be made of the ops of this backend"
        "\n  expected: add, tanh\n  got: add, matmul, tanh\n  do: choose another backend"
    )
