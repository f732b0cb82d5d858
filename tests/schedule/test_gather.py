"""Sums gathered by when their terms are known."""

import pytest

from gatewright.errors import TraceError
from gatewright.lang import cell, exp, mean, relabel, sigmoid, tanh
from gatewright.lang.ops import Op
from gatewright.schedule.gather import Gathered, gather
from gatewright.schedule.passes import phases
from gatewright.schedule.program import Phase, Product, Reduction, Term
from gatewright.schedule.scan import ScannedStates
from gatewright.trace import Equation, Trace, Var, parse, simplify, trace_cell
from tests.derive.one_op import outer


def gathered(trace: Trace) -> Gathered:
    return gather(trace, trace.outputs(), phases(ScannedStates(trace)))


def of_cell(function) -> tuple[Trace, Gathered]:
    trace = simplify(trace_cell(cell(function)))
    return trace, gathered(trace)


def spelled(found: Gathered) -> list[str]:
    """Works as short lines: `before: a = W.a @ x`, with the phase."""
    lines: list[str] = []
    for work in found.works:
        if isinstance(work, Product):
            text = " + ".join(f"{term.matrix}{'.T' * term.transposed} @ {term.vector.name}" for term in work.terms)
        elif isinstance(work, Reduction):
            text = f"{work.op} {work.vector.name}"
        else:
            text = " ".join([work.op, *(str(getattr(arg, "name", getattr(arg, "value", ""))) for arg in work.args)])
        lines.append(f"{found.phases[work.target.name]}: {work.target.name} = {text}")
    return lines


def elman(x, h, W, U, b):
    return tanh(W.a @ x + U.a @ h + b.a)


def test_what_is_known_before_the_loop_is_added_up_before_it() -> None:
    _, found = of_cell(elman)
    assert spelled(found) == [
        "before: %0 = W.a @ x",
        "before: %3+0.0 = add %0 b.a",
        "loop: %1 = U.a @ h",
        "loop: %3 = add %1 %3+0.0",
        "loop: h' = tanh %3",
    ]


def test_products_that_meet_in_a_sum_become_one() -> None:
    def meeting(x, h, c, U):
        b = c - U.b @ h
        return tanh(U.a @ h - b + U.c @ c), tanh(b)

    trace, found = of_cell(meeting)
    products = [work for work in found.works if isinstance(work, Product)]
    h, c = trace.states
    assert [product.terms for product in products] == [
        (Term("U.b", False, h),),  # it is subtracted, and its sum is used twice
        (Term("U.a", False, h), Term("U.c", False, c)),
    ]


def test_a_negative_product_is_subtracted() -> None:
    def negative(x, h, W, U):
        return tanh(-(W.a @ x) - U.a @ h)

    _, found = of_cell(negative)
    assert spelled(found) == [
        "before: %0 = W.a @ x",
        "before: %3+0.0 = neg %0",
        "loop: %2 = U.a @ h",
        "loop: %3 = sub %3+0.0 %2",
        "loop: h' = tanh %3",
    ]


def test_a_sum_that_is_used_twice_stays() -> None:
    def twice(x, h, W, U, b):
        s = W.a @ x + U.a @ h
        return tanh(s + b.a) * sigmoid(s + b.b)

    _, found = of_cell(twice)
    assert "loop: s = add %1 %0" in spelled(found)
    assert sum(isinstance(work, Product) for work in found.works) == 2


def test_a_transposed_parameter_is_read_as_it_lies() -> None:
    def transposed(x, h, U):
        return tanh(U.a.T @ h)

    _, found = of_cell(transposed)
    assert spelled(found)[0] == "loop: %1 = U.a.T @ h"


def test_what_only_parameters_go_into_is_no_work() -> None:
    def bounded(x, h, p, b):
        return sigmoid(p.a) * h + exp(b.a) * tanh(b.b)

    _, found = of_cell(bounded)
    assert [work.target.name for work in found.works] == ["%1", "h'"]


def test_reductions_are_works_of_their_own() -> None:
    def centred(x, h, W):
        return tanh(W.a @ x + h - mean(h))

    trace, found = of_cell(centred)
    (h,) = trace.states
    assert [work for work in found.works if isinstance(work, Reduction)] == [Reduction(Var("%2", ()), Op.MEAN, h)]


def test_what_needs_the_states_only_comes_after_the_loop() -> None:
    def read_out(x, h, c, U, b):
        new = tanh(U.a @ c + relabel(x, like=c))
        return sigmoid(U.b @ new), new

    _, found = of_cell(read_out)
    assert {name: found.phases[name] for name in ("%1", "c'", "h'")} == {
        "%1": Phase.BEFORE,
        "c'": Phase.LOOP,
        "h'": Phase.AFTER,
    }


def test_only_what_is_asked_for_is_done() -> None:
    trace = simplify(trace_cell(cell(elman)))
    known = phases(ScannedStates(trace))
    assert gather(trace, [], known).works == ()
    (first,) = gather(trace, [trace.equations[0].target], known).works
    assert isinstance(first, Product)


def test_numbers_are_added_before_the_loop() -> None:
    def shifted(x, h, U):
        return tanh(U.a @ h + 1.0)

    _, found = of_cell(shifted)
    assert spelled(found) == ["loop: %0 = U.a @ h", "loop: %1 = add %0 1.0", "loop: h' = tanh %1"]


@cell
def matrix_of_a_row(x, h, U):
    return tanh((U.a * mean(h)) @ h)


@cell
def outer_product_of_rows(x, h, U):
    return tanh(outer(h, h) @ h)


@pytest.mark.parametrize(
    ("trace", "line"),
    [
        (trace_cell(matrix_of_a_row), "%1(hidden, hidden) = mul"),
        (trace_cell(outer_product_of_rows), "%0(hidden, hidden) = outer"),
    ],
)
def test_a_matrix_of_a_row_is_refused(trace: Trace, line: str) -> None:
    with pytest.raises(TraceError) as caught:
        gathered(trace)
    assert str(caught.value) == (
        f"trace {trace.name!r} computes with a matrix of each row, which no schedule can do\n"
        "  expected: matrices of parameters only\n"
        f"  got: {line}\n"
        "  do: use a backend that runs the Trace itself: backend='torch'"
    )


def test_scalars_are_added_up_as_scalars() -> None:
    def shifted(x, h, U, a):
        return tanh(U.a @ h + a.x - mean(x) + a.y)

    trace = simplify(trace_cell(cell(spaces={"a": ()})(shifted)))
    shapes = {work.target.name: work.target.shape for work in gathered(trace).works}
    assert (shapes["%4+0.0"], shapes["%4+0.1"], shapes["%4"]) == ((), (), ("hidden",))


def test_lines_of_the_user_stay_with_sums() -> None:
    trace, found = of_cell(elman)
    sums = [work for work in found.works if isinstance(work, Equation) and work.op is Op.ADD]
    assert len(sums) == 2
    assert {work.where for work in sums} == {trace.equations[-2].where}


def test_a_trace_that_was_read_from_a_file() -> None:
    text = """gatewright-trace 1
cell "given"
input x(input)
state h(hidden)
param W.a(hidden, input)
  %0(hidden) = matmul W.a x
  %1(hidden) = neg %0
next h = %1
end
"""
    assert spelled(gathered(parse(text))) == ["before: %0 = W.a @ x", "before: %1 = neg %0"]
