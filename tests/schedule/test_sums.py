"""Sums over rows and steps, moved inwards as far as they go."""

import numpy as np
import pytest

from gatewright.derive import vjp
from gatewright.errors import TraceError
from gatewright.lang import cell, exp, hard_sigmoid, mean, relu, sigmoid, size, tanh
from gatewright.lang import sum as total
from gatewright.schedule.plan import plan
from gatewright.schedule.program import RowSum
from gatewright.schedule.sums import lift_sums
from gatewright.trace import Literal, Trace, Var, parse, simplify, trace_cell
from tests.schedule.running import check, draw

SIZES = {"input": 3, "hidden": 4}

HEAD = """gatewright-trace 1
cell "summing"
input x(input)
input u(hidden)
input s()
state h(hidden)
param M(hidden, input)
param v(hidden)
"""


def summing(*lines: str, of: str = "y") -> Trace:
    """A step that sums one value, and keeps its state."""
    return parse("".join([HEAD, *(f"  {line}\n" for line in lines), "next h = h\n", f"sum total = {of}\n", "end\n"]))


X, U, S, H = (Var("x", ("input",)), Var("u", ("hidden",)), Var("s", ()), Var("h", ("hidden",)))


def row_sums(trace: Trace) -> list[tuple[Var, Var | None]]:
    return [(one.left, one.right) for one in lift_sums(trace).row_sums]


LINEAR = {
    "an input": (summing(of="u"), [(U, None)]),
    "an outer product": (summing("y(hidden, input) = outer u x"), [(U, X)]),
    "its transpose": (summing("a(hidden, input) = outer u x", "y(input, hidden) = transpose a"), [(U, X)]),
    "a difference": (
        summing("a(hidden, input) = outer u x", "b(hidden, input) = outer h x", "y(hidden, input) = sub a b"),
        [(U, X), (H, X)],
    ),
    "a product with parameters": (
        summing("a(hidden, input) = outer u x", "y(hidden, input) = mul M a"), [(U, X)]
    ),
    "a quotient by parameters": (
        summing("a(hidden, input) = outer u x", "b(hidden, input) = exp M", "y(hidden, input) = div a b"), [(U, X)]
    ),
    "parameters outer a row": (summing("y(hidden, input) = outer v x"), [(X, None)]),
    "a row outer parameters": (summing("y(hidden, hidden) = outer u v"), [(U, None)]),
    "a choice by parameters": (
        summing("a(hidden, input) = outer u x", "c(hidden, input) = less 0.0 M", "y(hidden, input) = where c a 0.0"),
        [(U, X)],
    ),
    "a scalar for every element": (summing('y(hidden, input) = expand s axes="hidden,input"'), [(S, None)]),
    "a scalar times a matrix": (summing("y(hidden, input) = mul s M"), [(S, None)]),
    "a sum of features": (summing("y() = sum u"), [(U, None)]),
}  # fmt: skip


@pytest.mark.parametrize("what", LINEAR)
def test_what_is_linear_is_applied_to_the_sum(what: str, rng: np.random.Generator) -> None:
    trace, want = LINEAR[what]
    assert row_sums(trace) == want
    check(draw(trace, SIZES, 3, 2, rng))


def test_what_is_not_linear_is_summed_as_it_is(rng: np.random.Generator) -> None:
    a = Var("y", ())
    scalars = (["y() = mul s s"], ["y() = add s 1.0"], ["y() = where s 2.0 s"], ["y() = div 2.0 s"])
    for lines in (*scalars, ["a() = mean v", "y() = sub s a"], ["a() = mean v", "y() = div a s"]):
        trace = summing(*lines)
        assert row_sums(trace) == [(a, None)]
        check(draw(trace, SIZES, 3, 2, rng))


def test_a_value_is_summed_once() -> None:
    trace = parse(HEAD + "  y(hidden, input) = outer u x\n  z(input, hidden) = transpose y\nnext h = u\n"
                  "sum a = y\nsum b = z\nsum c = y\nend\n")  # fmt: skip
    lifted = lift_sums(trace)
    assert lifted.row_sums == [RowSum(Var("sum of y", ("hidden", "input")), U, X)]
    assert [name for name, _ in lifted.sums] == ["a", "b", "c"]
    assert lifted.sums[0][1] == lifted.sums[2][1] == lifted.row_sums[0].target


def test_no_gradient_at_all_is_the_number_0() -> None:
    lifted = lift_sums(summing(of="0.0"))
    assert (lifted.row_sums, lifted.epilogue, lifted.sums) == ([], [], [("total", Literal(0.0))])


REFUSED = {
    "the number 2.0": summing(of="2.0"),
    "v, which is the same for all rows": summing(of="v"),
    "y = mul of matrices": summing(
        "a(hidden, input) = outer u x", "b(hidden, input) = outer h x", "y(hidden, input) = mul a b"
    ),
    "y = tanh of matrices": summing("a(hidden, input) = outer u x", "y(hidden, input) = tanh a"),
    "y = add of matrices": summing("a(hidden, input) = outer u x", "y(hidden, input) = add a M"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_no_schedule_can_sum(what: str) -> None:
    with pytest.raises(TraceError) as caught:
        plan(REFUSED[what])
    assert str(caught.value) == (
        "trace 'summing' sums over rows what no schedule can sum\n"
        "  expected: outer products, vectors, and what is linear in them\n"
        f"  got: {what}\n"
        "  do: use a backend that runs the Trace itself: backend='torch'"
    )


@cell
def of_matrices(x, h, W, U, b):
    """Equations on whole matrices of parameters, as a user may write them."""
    rotation = U.a - U.a.T
    positive = relu(W.a) * hard_sigmoid(W.b) + exp(W.c) / (1.0 + total(W.a * W.a) / size(W.a))
    return tanh(positive @ x + rotation @ h + sigmoid(mean(U.b)) * b.a + 0.5 * U.a.T @ h)


def test_gradients_of_equations_on_matrices(rng: np.random.Generator) -> None:
    step = simplify(trace_cell(of_matrices))
    for trace in (step, vjp(step), vjp(vjp(step))):
        check(draw(trace, SIZES, 3, 2, rng))
