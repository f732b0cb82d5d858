"""The checker finds every fault that a broken pass could leave in a trace."""

import sys
from collections.abc import Callable
from dataclasses import replace

import pytest

import gatewright as gw
from gatewright.errors import TraceError
from gatewright.lang.ops import Op
from gatewright.trace import Equation, Literal, Noise, Trace, Var, check, trace_cell

HIDDEN = ("hidden",)


@gw.cell
def unit(x, h, W, U, b):
    r = gw.hard_sigmoid(W.r @ x + U.r @ h + b.r)
    return r * h * gw.bernoulli(0.5, like=h)


TRACE = trace_cell(unit)


def _equations(trace: Trace, index: int, **changes: object) -> Trace:
    changed = replace(trace.equations[index], **changes)
    return replace(trace, equations=(*trace.equations[:index], changed, *trace.equations[index + 1 :]))


def _with(**changes: object) -> Trace:
    return replace(TRACE, **changes)


def _noise(**changes: object) -> Trace:
    return _with(noises=(replace(TRACE.noises[0], **changes),))


PRODUCT, SUM, GATE = 0, 3, 4
X, H = TRACE.inputs[0], TRACE.states[0]
FAULTS: dict[str, tuple[Trace, str]] = {
    "a leaf twice": (
        _with(params=(*TRACE.params, H)),
        "'h' is declared twice or empty\n  expected: one declaration a name\n  got: 'h'",
    ),
    "a leaf without a name": (
        _with(inputs=(X, Var("", HIDDEN))),
        "'' is declared twice or empty\n  expected: one declaration a name\n  got: ''",
    ),
    "an axis without a name": (
        _with(inputs=(X, Var("y", ("",)))),
        "y has an axis without a name\n  expected: named axes\n  got: ('',)",
    ),
    "no probability": (
        _noise(probability=1.5),
        "noise0 cannot be drawn\n  expected: a probability from 0 to 1, per step or sequence\n  got: 1.5 per step",
    ),
    "a draw that is not known": (
        _noise(per="row"),
        "noise0 cannot be drawn\n  expected: a probability from 0 to 1, per step or sequence\n  got: 0.5 per row",
    ),
    "two assignments": (
        _equations(TRACE, GATE, target=Var("%0", HIDDEN)),
        "%0 is assigned twice\n  expected: single assignment\n  got: %0 = hard_sigmoid",
    ),
    "an assignment to a leaf": (
        _equations(TRACE, GATE, target=H),
        "h is assigned twice\n  expected: single assignment\n  got: h = hard_sigmoid",
    ),
    "too few operands": (
        _equations(TRACE, SUM, args=(H,)),
        "%3 = add\n  expected: 2 operand(s)\n  got: 1",
    ),
    "an operand that is not defined": (
        _equations(TRACE, SUM, args=(H, Var("q", HIDDEN))),
        "%3 = add\n  expected: values that are defined before\n  got: q (hidden)",
    ),
    "an operand that is defined later": (
        _equations(TRACE, PRODUCT, args=(TRACE.params[0], Var("r", ("input",)))),
        "%0 = matmul\n  expected: values that are defined before\n  got: r (input)",
    ),
    "an operand of another shape than its definition": (
        _equations(TRACE, SUM, args=(H, Var("%0", ("input",)))),
        "%3 = add\n  expected: values that are defined before\n  got: %0 (input)",
    ),
    "no attribute": (
        _equations(TRACE, GATE, attrs=()),
        "r = hard_sigmoid\n  expected: attributes ('slope',)\n  got: ()",
    ),
    "an attribute too many": (
        _equations(TRACE, SUM, attrs=(("slope", 1.0),)),
        "%3 = add\n  expected: attributes ()\n  got: (('slope', 1.0),)",
    ),
    "shapes that do not fit": (
        _equations(TRACE, SUM, args=(H, X)),
        "%3 = add\n  expected: operands of one shape, or scalars\n  got: (hidden), (input)",
    ),
    "a result of another shape": (
        _equations(TRACE, SUM, target=Var("%3", ("input",))),
        "%3 = add\n  expected: (hidden)\n  got: (input)",
    ),
    "a next state that is not defined": (
        _with(next_states=(Var("q", HIDDEN),)),
        "the outputs\n  expected: values that are defined before\n  got: q (hidden)",
    ),
    "a next state too many": (
        _with(next_states=(H, H)),
        "the next states\n  expected: 1\n  got: 2",
    ),
    "a next state of another shape": (
        _with(next_states=(X,)),
        "next state h\n  expected: (hidden)\n  got: (input)",
    ),
    "an emitted value that is not defined": (
        _with(emits=(("d(x)", Var("q", HIDDEN)),)),
        "the outputs\n  expected: values that are defined before\n  got: q (hidden)",
    ),
    "a gate that is not defined": (
        _with(gates=(("r", Var("q", HIDDEN)),)),
        "the gates\n  expected: values that are defined before\n  got: q (hidden)",
    ),
    "two outputs of one name": (
        _with(emits=(("r", H),)),
        "the outputs\n  expected: one output a name\n  got: r, r",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found(fault: str) -> None:
    trace, text = FAULTS[fault]
    with pytest.raises(TraceError) as raised:
        check(trace)
    assert str(raised.value) == f"trace 'unit': {text}"


def test_a_trace_without_a_fault_passes() -> None:
    assert [equation.target.name for equation in TRACE.equations][SUM:] == ["%3", "r", "%4", "h'"]
    assert check(TRACE) is None


@pytest.mark.parametrize("value", [Literal(0.0), H])
def test_a_next_state_may_be_a_number_or_the_state(value: Literal | Var) -> None:
    assert check(_with(next_states=(value,))) is None


EXPAND = (("axes", "hidden,input"),)
A, M, S = Var("a", HIDDEN), Var("m", ("hidden", "input")), Var("s", ())
WRONG_SHAPES: list[tuple[Op, tuple[Var, ...], tuple[tuple[str, str], ...], str]] = [
    (Op.MATMUL, (A, M), (), "a matrix @ a vector"),
    (Op.MATMUL, (M, A), (), "a vector of shape (input), to fit a matrix of shape (hidden, input)"),
    (Op.TRANSPOSE, (A,), (), "a matrix"),
    (Op.OUTER, (A, S), (), "two vectors"),
    (Op.EXPAND, (A,), EXPAND, "a scalar"),
    (Op.RELABEL, (S,), (("axes", "hidden"),), "a vector"),
    (Op.RELABEL, (A,), EXPAND, "a vector"),
    (Op.WHERE, (A, S, M), (), "operands of one shape, or scalars"),
]


@pytest.mark.parametrize(("op", "args", "attrs", "expected"), WRONG_SHAPES)
def test_every_op_holds_its_shapes(
    op: Op, args: tuple[Var, ...], attrs: tuple[tuple[str, str], ...], expected: str
) -> None:
    equation = Equation(Var("y", HIDDEN), op, args, attrs)
    trace = Trace("one", (A, M, S), (), (), (), (equation,), ())
    with pytest.raises(TraceError, match=f"trace 'one': y = {op}\n") as raised:
        check(trace)
    assert raised.value.expected == expected


def test_a_random_value_is_a_leaf() -> None:
    trace = Trace("one", (), (A,), (), (Noise(Var("n", HIDDEN), 1.0, "sequence"),), (), (Var("n", HIDDEN),))
    assert check(trace) is None


def test_the_check_is_on_after_every_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[str] = []

    def record(module: str) -> Callable[[Trace], None]:
        return lambda trace: checked.append(module)

    for module in ("build", "simplify", "parse"):
        monkeypatch.setattr(sys.modules[f"gatewright.trace.{module}"], "check", record(module))
    gw.trace.parse(gw.trace.to_text(gw.trace.simplify(trace_cell(gw.masked(unit)))))
    assert checked == ["build", "simplify", "parse"]
