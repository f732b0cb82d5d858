"""Pre-activations: the sum that a gate's activation is applied to, and the gate's name, read off its parameters."""

from gatewright.lang.ops import SUMS, Op
from gatewright.lang.param import Param
from gatewright.lang.symbol import Operand, Symbol

Term = tuple[bool, Operand]
"""One term of a sum: whether it is subtracted, and its value."""

_LINEAR = SUMS | {Op.MUL, Op.DIV, Op.RELABEL}


def param_of(value: Operand) -> Param | None:
    """The parameter that a value is, such as `b.r`: a leaf with a dotted name. None for other values."""
    if not isinstance(value, Symbol) or value.op is not None or value.name is None:
        return None
    param = Param.parse(value.name)
    return param if param.gate else None


def terms(value: Operand, negative: bool = False) -> list[Term]:
    """The terms of a sum in the user's order: W.r @ x + U.r @ h - b.r has three."""
    if isinstance(value, Symbol):
        if value.op in (Op.ADD, Op.SUB):
            left, right = value.args
            return terms(left, negative) + terms(right, negative != (value.op is Op.SUB))
        if value.op is Op.NEG:
            return terms(value.args[0], not negative)
    return [(negative, value)]


def holds_product(value: Operand) -> bool:
    """Whether a matrix product is in a value without a nonlinearity around it."""
    if not isinstance(value, Symbol) or value.op is None:
        return False
    return value.op is Op.MATMUL or (value.op in _LINEAR and any(map(holds_product, value.args)))


def has_product(value: Operand) -> bool:
    """Whether a matrix product is a term of a sum, as in W.r @ x + r * (U.r @ h) + b.r."""
    return any(isinstance(part, Symbol) and part.op is Op.MATMUL for _, part in terms(value))


def is_preactivation(value: Operand) -> bool:
    """Whether a value is a sum with a matrix product or a weighted vector (p.i * c, gain.r * ...) among its terms."""
    return any(
        isinstance(part, Symbol) and (part.op is Op.MATMUL or (part.op is Op.MUL and any(map(param_of, part.args))))
        for _, part in terms(value)
    )


def gate_name(value: Operand, variable: str | None = None) -> str | None:
    """The gate that a pre-activation's parameters name, else the user's variable.

    A vector parameter that is a term (b.z) names it before a matrix does (W.z): cells that share one product between
    two gates, such as FastGRNN, tell them apart by their biases.
    """
    values = [value for _, value in terms(value)]
    names = [param.gate for value in values if (param := param_of(value))]
    if not names:
        names = [name for name in map(_product_gate, values) if name]
        if variable and len(set(names)) > 1:  # sigmoid(W.p @ x + U.q @ h) is no more p than q
            return variable
    return names[0] if names else variable


def _product_gate(value: Operand) -> str | None:
    """The gate of `W.r @ v`, `p.r * v` or `s * (U.r @ v)`."""
    if not isinstance(value, Symbol) or value.op not in (Op.MATMUL, Op.MUL):
        return None
    for arg in value.args:
        if param := param_of(arg):
            return param.gate
    return next((name for name in map(_product_gate, value.args) if name), None)
