"""One rule for each elementwise op: what it is in vector registers."""

from collections.abc import Callable, Mapping

from gatewright.backends.llvm.emit import vector_math
from gatewright.backends.llvm.emit.vector_type import Value
from gatewright.lang.ops import Op

Rule = Callable[..., Value]


RULES: Mapping[Op, Rule] = {
    Op.NEG: lambda e, a: e.neg(a),
    Op.ABS: lambda e, a: e.abs(a),
    Op.SIGN: vector_math.sign,
    Op.EXP: vector_math.exp,
    Op.LOG: vector_math.log,
    Op.SQRT: lambda e, a: e.sqrt(a),
    Op.SIGMOID: vector_math.sigmoid,
    Op.TANH: vector_math.tanh,
    Op.RELU: lambda e, a: e.larger(0.0, a),  # the second one where either is NaN
    Op.HARD_SIGMOID: lambda e, a, slope: e.smaller(1.0, e.larger(0.0, e.fma(a, slope, 0.5))),
    Op.SOFTPLUS: vector_math.softplus,
    Op.ADD: lambda e, a, b: e.add(a, b),
    Op.SUB: lambda e, a, b: e.sub(a, b),
    Op.MUL: lambda e, a, b: e.mul(a, b),
    Op.DIV: lambda e, a, b: e.div(a, b),
    Op.MAXIMUM: lambda e, a, b: e.maximum(a, b),
    Op.MINIMUM: lambda e, a, b: e.minimum(a, b),
    Op.LESS: lambda e, a, b: e.select(e.compare("<", a, b), 1.0, 0.0),
    Op.WHERE: lambda e, c, a, b: e.select(e.compare("!=", c, 0.0), a, b),
    Op.EXPAND: lambda e, a, axes: a,
    Op.RELABEL: lambda e, a, axes: a,
}
