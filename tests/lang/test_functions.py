"""Every function of the language records the op that is called as it is, with the operands in their order."""

from collections.abc import Callable

import pytest

import gatewright as gw
from gatewright import lang
from gatewright.lang import Op, Symbol
from gatewright.trace import Equation, Literal, Trace, Var, trace_cell

HIDDEN = ("hidden",)
H, C = Var("h", HIDDEN), Var("c", HIDDEN)


def _trace(expression: Callable[[Symbol, Symbol, Symbol], object]) -> Trace:
    """The trace of a cell whose next h is an expression of x, h and c."""

    def one(x, h, c, U):
        return expression(x, h, c), c

    return trace_cell(gw.cell(one))


def _only(expression: Callable[[Symbol, Symbol, Symbol], object]) -> Equation:
    (equation,) = _trace(expression).equations
    return equation


UNARY = [Op.ABS, Op.SIGN, Op.EXP, Op.LOG, Op.SQRT, Op.SIGMOID, Op.TANH, Op.RELU, Op.SOFTPLUS, Op.SUM, Op.MEAN]


@pytest.mark.parametrize("op", UNARY)
def test_a_function_of_one_value(op: Op) -> None:
    function = getattr(gw, op)
    equations = _trace(lambda x, h, c: function(h) + c).equations
    assert (equations[0].op, equations[0].args) == (op, (H,))
    assert equations[0].target.shape == (() if op in (Op.SUM, Op.MEAN) else HIDDEN)


@pytest.mark.parametrize("op", [Op.MAXIMUM, Op.MINIMUM, Op.LESS])
@pytest.mark.parametrize("number", [False, True])
def test_a_function_of_two_values(op: Op, number: bool) -> None:
    function = getattr(gw, op)
    equation = _only(lambda x, h, c: function(0.5 if number else c, h))
    assert (equation.op, equation.args) == (op, (Literal(0.5) if number else C, H))


OPERATORS: dict[str, tuple[Callable[[Symbol, Symbol], object], Op, tuple[object, ...]]] = {
    "h + c": (lambda h, c: h + c, Op.ADD, (H, C)),
    "1 + h": (lambda h, c: 1 + h, Op.ADD, (Literal(1.0), H)),
    "h - c": (lambda h, c: h - c, Op.SUB, (H, C)),
    "1 - h": (lambda h, c: 1 - h, Op.SUB, (Literal(1.0), H)),
    "h * c": (lambda h, c: h * c, Op.MUL, (H, C)),
    "2 * h": (lambda h, c: 2 * h, Op.MUL, (Literal(2.0), H)),
    "h / c": (lambda h, c: h / c, Op.DIV, (H, C)),
    "1 / h": (lambda h, c: 1 / h, Op.DIV, (Literal(1.0), H)),
    "-h": (lambda h, c: -h, Op.NEG, (H,)),
    "h < c": (lambda h, c: h < c, Op.LESS, (H, C)),
    "h > c": (lambda h, c: h > c, Op.LESS, (C, H)),
    "0 < h": (lambda h, c: 0 < h, Op.LESS, (Literal(0.0), H)),  # noqa: SIM300
    "h ** 2": (lambda h, c: h**2, Op.MUL, (H, H)),
    "h ** 0.5": (lambda h, c: h**0.5, Op.SQRT, (H,)),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_an_operator(name: str) -> None:
    expression, op, args = OPERATORS[name]
    equation = _only(lambda x, h, c: expression(h, c))
    assert (equation.op, equation.args) == (op, args)


def test_where_chooses() -> None:
    equations = _trace(lambda x, h, c: gw.where(h < 0, c, 1.0)).equations
    assert (equations[1].op, equations[1].args) == (Op.WHERE, (equations[0].target, C, Literal(1.0)))


def test_the_slopes_of_hard_sigmoid() -> None:
    functions = {gw.hard_sigmoid: 1 / 6, gw.hard_sigmoid_keras3: 1 / 6, gw.hard_sigmoid_theano: 0.2}
    for function, slope in functions.items():
        assert _only(lambda x, h, c, function=function: function(h)).attrs == (("slope", slope),)
    assert _only(lambda x, h, c: gw.hard_sigmoid(h, 0.25)).attrs == (("slope", 0.25),)


def test_softsign_is_made_of_other_operations() -> None:
    equations = _trace(lambda x, h, c: gw.softsign(h) + c).equations
    assert [equation.op for equation in equations] == [Op.ABS, Op.ADD, Op.DIV, Op.ADD]


def test_size_has_the_axes_of_its_operand() -> None:
    equation = _trace(lambda x, h, c: h / gw.size(x)).equations[0]
    assert (equation.op, equation.args, equation.attrs) == (Op.SIZE, (), (("axes", "input"),))


def test_relabel_takes_the_axis_of_another_vector() -> None:
    equation = _trace(lambda x, h, c: gw.relabel(x, like=h) + h).equations[0]
    assert (equation.op, equation.attrs, equation.target.shape) == (Op.RELABEL, (("axes", "hidden"),), HIDDEN)


def test_bernoulli_is_a_leaf() -> None:
    trace = _trace(lambda x, h, c: gw.bernoulli(0.25, like=h, per="sequence") * h + gw.bernoulli(1, like=h))
    assert [(noise.var.name, noise.var.shape, noise.probability, noise.per) for noise in trace.noises] == [
        ("noise0", HIDDEN, 0.25, "sequence"),
        ("noise1", HIDDEN, 1.0, "step"),
    ]


def test_numbers_of_numpy_are_numbers() -> None:
    import numpy as np

    for number in (np.float32(0.5), np.float64(0.5), 0.5):
        assert _only(lambda x, h, c, number=number: number * h).args == (Literal(0.5), H)
        assert _only(lambda x, h, c, number=number: h * number).args == (H, Literal(0.5))


def test_every_function_is_in_the_front_of_the_package() -> None:
    names = {str(op) for op in Op} & set(dir(lang))
    assert len(names) >= len(UNARY) + 5
    assert [name for name in names if getattr(gw, name) is not getattr(lang, name)] == []
