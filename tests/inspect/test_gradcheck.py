"""The gradient check passes what is right, and is seen to fail what is wrong."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib import import_module

import numpy as np
import pytest

from gatewright import cells, layer_norm, masked, recurrent_dropout, residual, zoneout
from gatewright.backends import numpy_ref
from gatewright.cells import CATALOGUE
from gatewright.cells.parallel_in_time import positive
from gatewright.derive import rules, vjp
from gatewright.errors import OptionError
from gatewright.inspect import GradcheckError, GradcheckReport, Row, gradcheck
from gatewright.inspect.derivatives import derived, differences
from gatewright.inspect.derivatives.point import default_sizes, draw_point, switches
from gatewright.lang import Cell, Op, cell, hard_sigmoid_keras3, hard_sigmoid_theano, log, relu, where
from gatewright.trace import Literal, trace_cell

VARIATIONS = [
    cells.gru(reset="after"),
    cells.gru(gate=hard_sigmoid_theano, activation=relu),
    cells.lstm(gate=hard_sigmoid_keras3, forget_bias=1.0),
    cells.lstm_peephole(coupled=True),
    cells.mut1(project=False),
    cells.slstm(forget="exp"),
    cells.minlstm(candidate=positive),
    layer_norm(cells.gru),
    masked(cells.lstm),
    residual(cells.irnn),
    zoneout(0.3)(cells.lstm),
    recurrent_dropout(0.4)(cells.gru),
    recurrent_dropout(0.4, per="step")(layer_norm(cells.lstm)),
    masked(zoneout({"c": 0.5})(cells.lstm_projected)),
]
module = import_module("gatewright.inspect.gradcheck")  # the package has the function under this name
SMOOTH = set(Op) - differences.BRANCHES.keys()


@pytest.fixture
def change_rule(monkeypatch: pytest.MonkeyPatch) -> Callable[[Op, rules.Rule], None]:
    """Put another rule in the place of an op's for the rest of the test; nothing derived before is used again."""
    monkeypatch.setattr(numpy_ref, "derivative", vjp)
    return lambda op, rule: monkeypatch.setitem(rules.RULES, op, rule)


def failing(report: GradcheckReport, derivative: str = "gradient") -> set[str]:
    """The leaves that fail by both other methods."""
    by_method = [
        {row.leaf for row in report.failures if (row.derivative, row.against) == (derivative, against)}
        for against in ("differences", "autograd")
    ]
    assert by_method[0] == by_method[1]
    return by_method[0]


@pytest.mark.parametrize("one", [*CATALOGUE.values(), *VARIATIONS], ids=lambda one: one.label)
def test_every_cell_is_derived_right(one: Cell) -> None:
    report = gradcheck(one)
    report.raise_if_failed()
    assert report.passed
    names = {leaf.name for leaf in trace_cell(one).leaves() if not leaf.name.startswith("noise")}
    rows = [(row.derivative, row.against, row.leaf) for row in report.rows]
    for derivative in ("gradient", "second", "forward"):
        for against in ("differences", "autograd"):
            leaves = {row[2] for row in rows if row[:2] == (derivative, against)}
            assert names - {"mask"} <= leaves


def test_a_point_is_full_of_differences() -> None:
    trace = trace_cell(zoneout(0.5)(cells.lstm))
    point = draw_point(trace, default_sizes(trace, 3, 4), steps=6, batch=4, seed=1, initial={"b.f": 9.0})
    assert {*point.lengths} >= {0, 6}
    assert all(array.dtype == np.float64 for array in point.values.values())
    assert all(np.unique(array).size == array.size for array in point.values.values())
    assert {*np.unique(point.noises["noise0"])} == {0.0, 1.0}
    assert point.params["b.f"].min() > 6 > point.params["b.i"].max()


def test_sizes_differ_where_they_may() -> None:
    assert default_sizes(trace_cell(cells.scrn), 3, 4) == {"input": 3, "hidden": 4, "context": 2}
    assert default_sizes(trace_cell(residual(cells.gru)), 3, 4) == {"input": 4, "hidden": 4}
    ranks = default_sizes(trace_cell(cells.fastgrnn_low_rank), 2, 3)
    assert sorted(ranks.values()) == [2, 3, 4, 5]


def test_a_mask_chooses_and_is_not_differentiated() -> None:
    trace = trace_cell(masked(cells.elman))
    assert switches(trace) == {"mask"}
    rows = {(row.against, row.leaf): row for row in gradcheck(masked(cells.elman)).rows if row.derivative == "gradient"}
    assert ("differences", "mask") not in rows
    mask = rows["autograd", "mask"]
    assert (mask.derived, mask.other, mask.error) == (0.0, 0.0, 0.0)

    @cell
    def weighed(x, h, W):
        return W.h @ where(x, 1.0, x) + h

    assert switches(trace_cell(weighed)) == set()


def test_a_wrong_sign_fails_with_the_parameters_that_it_reaches(change_rule) -> None:
    change_rule(Op.TANH, lambda g, y, a: (-1.0 * g * (1.0 - y * y),))
    report = gradcheck(cells.gru, steps=1, batch=2)
    # Only the candidate has a tanh; the update gate is beside it.
    assert failing(report) == {"x", "h", "W.n", "U.n", "b.n", "W.r", "U.r", "b.r"}
    with pytest.raises(
        GradcheckError, match=r"the derivatives of gru are wrong\n  gradient by [WU]\.[rn]\[\d, \d\]: derived"
    ):
        report.raise_if_failed()


def test_a_missing_factor_fails(change_rule) -> None:
    change_rule(Op.SIGMOID, lambda g, y, a: (g * y,))
    assert failing(gradcheck(cells.gru_input_gates, steps=1)) == {"x", "W.r", "W.z", "b.r", "b.z"}


def test_swapped_operands_fail(change_rule) -> None:
    right = rules.RULES[Op.MATMUL]

    def swapped(g, y, matrix, vector):
        of_matrix, of_vector = right(g, y, matrix, vector)
        return (of_matrix.T if matrix.shape[0] == matrix.shape[1] else of_matrix), of_vector

    change_rule(Op.MATMUL, swapped)
    report = gradcheck(cells.lstm)
    assert failing(report) == {"U.i", "U.f", "U.g", "U.o"}


def test_a_flow_that_is_dropped_fails(change_rule) -> None:
    change_rule(Op.MUL, lambda g, y, a, b: (g * b, None))
    report = gradcheck(cells.lstm, steps=1)
    # Of o * tanh(c) only the flow to tanh(c) is dropped: the output gate is derived right.
    assert failing(report) == {"x", "h", "c"} | {f"{space}.{gate}" for space in "WUb" for gate in "ifg"}


def test_a_small_error_in_one_gate_fails(change_rule) -> None:
    right = rules.RULES[Op.SOFTPLUS]
    change_rule(Op.SOFTPLUS, lambda g, y, a: tuple(flow * (1 + 3e-6) for flow in right(g, y, a)))
    report = gradcheck(cells.slstm, steps=1)
    assert failing(report) >= {"W.f", "U.f", "b.f"}
    assert not {"W.o", "U.o", "b.o", "W.z", "U.z", "b.z"} & failing(report)


def test_a_gradient_that_is_cut_in_time_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(derived.numpy_ref, "gradient", partial(numpy_ref.gradient, truncate=2))
    assert failing(gradcheck(cells.elman)) == {"x", "h", "W.h", "U.h", "b.h"}


def test_a_wrong_second_derivative_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def forgetful(trace, outputs=None):
        derivative = vjp(trace, outputs)
        is_twice = trace.name.startswith("d(")
        return replace(derivative, next_states=(Literal(0.0),)) if is_twice else derivative

    monkeypatch.setattr(derived, "vjp", forgetful)
    report = gradcheck(cells.elman)
    assert failing(report, "gradient") == failing(report, "forward") == set()
    assert failing(report, "second") >= {"W.h", "U.h", "b.h", "x", "h"}


def test_a_wrong_forward_mode_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    right = derived.jvp

    def numb(trace):
        pushed = right(trace)
        return replace(pushed, next_states=(*pushed.next_states[:-1], Literal(0.0)))

    monkeypatch.setattr(derived, "jvp", numb)
    report = gradcheck(cells.elman)
    assert failing(report, "gradient") == failing(report, "second") == set()
    assert failing(report, "forward") == {"x", "h", "W.h", "U.h", "b.h"}


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_fails(value: float, monkeypatch: pytest.MonkeyPatch) -> None:
    right = derived.gradient

    def broken(trace, point):
        found = right(trace, point)
        found["b.h"][2] = value
        return found

    monkeypatch.setattr(derived, "gradient", broken)
    report = gradcheck(cells.elman, autograd=False)
    wrong = [row for row in report.failures if row.derivative == "gradient"]
    assert [(row.where, row.error) for row in wrong] == [("b.h[2]", np.inf)]


@pytest.mark.parametrize(
    ("spoil", "where"),
    [
        (lambda found: found.pop("b.h"), "b.h, which is missing"),
        (lambda found: found.update(x=found["x"][1:]), "x, which has shape (4, 3, 3) instead of (5, 3, 3)"),
    ],
)
def test_what_is_missing_or_misshapen_fails(spoil, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    right = derived.second

    def broken(trace, point):
        found = right(trace, point)
        spoil(found)
        return found

    monkeypatch.setattr(derived, "second", broken)
    report = gradcheck(cells.elman, autograd=False)
    assert [(row.where, row.error) for row in report.failures] == [(where, np.inf)]


def test_an_error_is_relative_to_its_own_element() -> None:
    wanted = {"W": np.array([1.0, 1e-3, 1e-8]), "b": np.array([1e-9])}
    errors = {
        row.leaf: row.error
        for spoilt in ({**wanted, "W": np.array([1.0, 1.001e-3, 1e-8])}, {**wanted, "b": np.array([2e-9])})
        for row in module.compared("gradient", "differences", spoilt, wanted)
        if row.error
    }
    assert errors == {"W": pytest.approx(1e-3, rel=2e-3), "b": pytest.approx(1e-5)}  # b is held to 1e-4 of the largest
    assert min(errors.values()) > 1e-6


def test_a_point_beside_a_kink_is_drawn_anew_and_told() -> None:
    report = gradcheck(cells.irnn, hidden_size=12, steps=8, batch=4, autograd=False)
    assert report.redrawn
    assert set(report.redrawn) == {"a kink lay within the step"}
    assert report.seed == len(report.redrawn)
    report.raise_if_failed()
    again = gradcheck(cells.irnn, hidden_size=12, steps=8, batch=4, autograd=False, seed=report.seed)
    assert again.rows == report.rows
    assert again.redrawn == ()


def test_without_the_watch_for_kinks_a_right_gradient_would_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(differences, "BRANCHES", {})
    assert not gradcheck(cells.irnn, hidden_size=12, steps=8, batch=4, autograd=False).passed


def test_every_op_is_smooth_or_has_its_pieces_told() -> None:
    smooth = (
        "neg exp log sqrt sigmoid tanh softplus add sub mul div matmul transpose outer sum mean expand size relabel"
    )
    assert {str(op) for op in SMOOTH} == set(smooth.split())


def test_no_point_without_a_kink_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(differences, "STEP", 10.0)
    with pytest.raises(GradcheckError) as caught:
        gradcheck(cells.irnn, autograd=False)
    assert str(caught.value) == (
        "the derivatives of irnn cannot be checked: 100 random points, and none of them fit\n"
        "  expected: a point at which every value is finite and no kink lies within the step of the differences\n"
        "  got: 100 points beside a kink, 0 at which a value is not finite\n"
        "  do: take fewer hidden units, steps or rows, so that fewer kinks can be near"
    )


def test_no_point_that_is_finite_is_an_error() -> None:
    @cell
    def logarithm(x, h, W):
        return log(-1.0 - (W.h @ x) * (W.h @ x)) + h

    with pytest.raises(GradcheckError, match="got: 0 points beside a kink, 100 at which a value is not finite"):
        gradcheck(logarithm, autograd=False)


def test_a_cell_by_name_a_trace_and_further_sizes() -> None:
    assert gradcheck("rnn", autograd=False).cell == "elman"
    trace = trace_cell(cells.scrn)
    report = gradcheck(trace, sizes={"context": 6}, input_size=2, hidden_size=5, steps=2, batch=1, autograd=False)
    assert (report.sizes, report.lengths) == ({"input": 2, "hidden": 5, "context": 6}, (2,))
    assert report.passed


def test_without_autograd_nothing_is_said_of_it() -> None:
    report = gradcheck(cells.elman, autograd=False)
    assert report.worst("gradient", "autograd") is None
    assert {row.against for row in report.rows} == {"differences"}


def test_a_report_without_rows_has_not_passed() -> None:
    assert not GradcheckReport("gru", (), 1e-6, {}, (), 0, ()).passed


def test_a_failure_is_told_in_full() -> None:
    rows = (
        Row("gradient", "differences", "W.r", "W.r[2, 0]", 0.5, 0.25, 0.5),
        Row("forward", "autograd", "x", "x -> h.out[1, 0, 3]", 1.0, 1.25, 0.2),
        Row("second", "autograd", "x", "x[0, 0, 0]", 1.0, 1.0, 0.0),
        Row("gradient", "autograd", "b.r", "b.r[1]", 0.5, -0.5, 2.0),
    )
    report = GradcheckReport("gru", rows, 1e-6, {"input": 3}, (5,), 7, ())
    assert report.failures == (rows[3], rows[0], rows[1])
    assert report.worst("second", "autograd") is rows[2]
    with pytest.raises(GradcheckError) as caught:
        report.raise_if_failed()
    assert str(caught.value) == (
        "the derivatives of gru are wrong\n"
        "  gradient by b.r[1]: derived 0.5, by autograd -0.5, relative error 2.0e+00\n"
        "  gradient by W.r[2, 0]: derived 0.5, by central differences 0.25, relative error 5.0e-01\n"
        "  forward by x -> h.out[1, 0, 3]: derived 1, by autograd 1.25, relative error 2.0e-01\n"
        "  expected: a relative error of at most 1e-06\n"
        "  do: repeat it with seed=7"
    )
    assert isinstance(caught.value, AssertionError)


def test_a_tighter_threshold_can_be_asked_for() -> None:
    report = gradcheck(cells.gru, threshold=1e-18)
    assert not report.passed
    assert gradcheck(cells.gru).rows == report.rows


def test_sizes_of_nothing_cannot_be_checked() -> None:
    with pytest.raises(OptionError) as caught:
        gradcheck(cells.gru, steps=0)
    assert str(caught.value) == (
        "a gradient check needs something to check\n  expected: sizes of 1 or more\n"
        "  got: input_size=3, hidden_size=4, steps=0, batch=3"
    )


def test_without_torch_the_check_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(OptionError) as caught:
        gradcheck(cells.gru)
    assert str(caught.value) == (
        "torch is not installed, and its autograd is half of the gradient check\n"
        "  do: pip install 'gatewright[torch]', or check against differences alone with autograd=False"
    )
    assert gradcheck(cells.gru, autograd=False).passed
