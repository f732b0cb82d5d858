"""One rule for each elementwise op: what it is in vector registers."""

from collections.abc import Callable, Mapping
from typing import Any

from gatewright.backends.llvm import vector_math
from gatewright.backends.llvm.emitter import Emitter
from gatewright.backends.llvm.vector_type import Value
from gatewright.lang.ops import AttrValue, Op

Rule = Callable[..., Value]


def _hard_sigmoid(e: Emitter, a: Any, slope: AttrValue) -> Value:
    return e.minimum(e.maximum(e.fma(a, float(slope), 0.5), 0.0), 1.0)


def _sign(e: Emitter, a: Any) -> Value:
    one = e.copysign(1.0, a)
    return e.select(e.compare("==", a, 0.0), a, e.select(e.is_nan(a), a, one))


RULES: Mapping[Op, Rule] = {
    Op.NEG: lambda e, a: e.neg(a),
    Op.ABS: lambda e, a: e.abs(a),
    Op.SIGN: _sign,
    Op.EXP: vector_math.exp,
    Op.LOG: vector_math.log,
    Op.SQRT: lambda e, a: e.sqrt(a),
    Op.SIGMOID: vector_math.sigmoid,
    Op.TANH: vector_math.tanh,
    Op.RELU: lambda e, a: e.maximum(a, 0.0),
    Op.HARD_SIGMOID: _hard_sigmoid,
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
