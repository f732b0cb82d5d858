"""What both notations write alike: one table of rules, given the signs that a notation has."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from gatewright.backends.formulas import typeset
from gatewright.backends.formulas.tree import Apply, Form, Line, nodes
from gatewright.backends.formulas.typeset import Formula, Pen, Precedence, Rule
from gatewright.lang.ops import Op, axes_of

_DIGITS = 15  # so many are always right
_LARGEST_DENOMINATOR = 64
Definitions = Mapping[Op | Form, str]
"""What is said of an operation that not everybody knows."""


@dataclass(frozen=True, slots=True)
class Signs:
    """The signs of a notation."""

    minus: str
    times: str  # of two vectors, element by element
    dot: str  # of what is no vector
    space: str  # after a semicolon
    squared: str
    transposed: str
    unequal: str
    not_less: str
    not_more: str
    sigma: str
    over_time: str  # the sum over all steps
    infinity: str
    function: Callable[[str], str]  # its name
    fraction: Callable[[str, str], Formula]
    power_of_ten: Callable[[int], Formula]
    count: Callable[[str], str]  # how many there are along an axis
    ones: Callable[[Sequence[str]], str]  # a one for every place along axes


def definitions(lines: tuple[Line, ...], known: Definitions) -> list[str]:
    """The definitions of what the lines use."""
    used = {node.op for line in lines for node in nodes(line.right) if isinstance(node, Apply)}
    return [text for op, text in known.items() if op in used]


def number_of(signs: Signs) -> Callable[[float], Formula]:
    """How numbers are written: 1/6 stays a fraction, 1e-05 becomes a power of ten, 0.05000000000000004 is 0.05."""

    def size_of(value: float) -> Formula:
        if not math.isfinite(value):
            return Formula(signs.infinity if math.isinf(value) else "NaN")
        digits = f"{value:.{_DIGITS}g}"
        near = Fraction(value).limit_denominator(_LARGEST_DENOMINATOR)
        if len(digits) > _DIGITS and near and math.isclose(near, value, rel_tol=1e-15):
            return signs.fraction(str(near.numerator), str(near.denominator))
        mantissa, _, exponent = digits.partition("e")
        if not exponent:
            return Formula(mantissa)
        power = signs.power_of_ten(int(exponent))
        return power if mantissa == "1" else Formula(f"{mantissa}{signs.dot}{power.text}", Precedence.PRODUCT)

    def number(value: float) -> Formula:
        size = size_of(abs(value))
        return Formula(signs.minus + size.text, Precedence.SUM) if value < 0 else size

    return number


def rules_of(signs: Signs) -> dict[Op | Form, Rule]:
    """The rules of all operations but those that each notation writes in a way of its own."""
    number, hard_sigmoid = number_of(signs), signs.function("hardsigmoid")

    def bounded(pen: Pen) -> Formula:
        slope = number(float(pen.attrs["slope"])).text
        return Formula(f"{hard_sigmoid}{pen.group(f'{pen.args[0].text};{signs.space}{slope}')}")

    def size(pen: Pen) -> Formula:
        counts = [signs.count(axis) for axis in axes_of(pen.attrs)]
        return Formula(signs.dot.join(counts) or "1", Precedence.PRODUCT if len(counts) > 1 else Precedence.ATOM)

    return {
        **{op: typeset.call(signs.function(name)) for op, name in _FUNCTIONS.items()},
        Op.NEG: lambda pen: Formula(f"{signs.minus}{pen.arg(0, Precedence.QUOTIENT)}", Precedence.SUM),
        Op.ABS: typeset.fence("|{0}|"),
        Op.SIGMOID: typeset.call(signs.sigma),
        Op.HARD_SIGMOID: bounded,
        Op.ADD: typeset.infix(" + ", Precedence.SUM),
        Op.SUB: typeset.infix(f" {signs.minus} ", Precedence.SUM, Precedence.QUOTIENT),
        Op.MUL: typeset.product(signs.times, signs.dot),
        Op.LESS: typeset.relation("<", ">"),
        Op.MATMUL: typeset.infix(" ", Precedence.APPLICATION),
        Op.TRANSPOSE: lambda pen: Formula(f"{pen.arg(0, Precedence.ATOM)}{signs.transposed}", Precedence.POWER),
        Op.OUTER: lambda pen: Formula(
            f"{pen.arg(0, Precedence.APPLICATION)} {pen.arg(1, Precedence.ATOM)}{signs.transposed}",
            Precedence.APPLICATION,
        ),
        Op.EXPAND: lambda pen: Formula(
            f"{pen.arg(0, Precedence.APPLICATION)} {signs.ones(axes_of(pen.attrs))}", Precedence.APPLICATION
        ),
        Op.SIZE: size,
        Op.RELABEL: lambda pen: pen.args[0],
        Form.SQUARE: typeset.square(signs.squared),
        Form.NOT_LESS: typeset.relation(signs.not_less, signs.not_more),
        Form.BETWEEN: typeset.fence("[{0} < {1} < {2}]"),
        Form.NONZERO: typeset.fence(f"[{{0}} {signs.unequal} 0]"),
        Form.ZERO: typeset.fence("[{0} = 0]"),
        Form.OVER_TIME: lambda pen: Formula(f"{signs.over_time}{pen.arg(0, Precedence.PRODUCT)}", Precedence.PRODUCT),
    }


_FUNCTIONS: Mapping[Op | Form, str] = {
    Op.SIGN: "sign",
    Op.EXP: "exp",
    Op.LOG: "log",
    Op.TANH: "tanh",
    Op.RELU: "ReLU",
    Op.SOFTPLUS: "softplus",
    Op.MAXIMUM: "max",
    Op.MINIMUM: "min",
    Op.SUM: "sum",
    Op.MEAN: "mean",
    Form.STEP: "step",
    Form.BERNOULLI: "Bernoulli",
}
