"""The derivative of every op, in the language itself: given the adjoint of the result, those of the operands.

A rule is called as rule(g, y, *operands, **attributes): `g` the adjoint of the result, `y` the result. None means that
nothing flows there. Rules need not mind broadcasting: the driver sums or repeats what they give.
"""

from collections.abc import Callable, Mapping

from gatewright.lang.functions import less, relabel, sigmoid, sign, size, where
from gatewright.lang.ops import Op
from gatewright.lang.symbol import Operand, Symbol

Adjoints = tuple[Operand | None, ...]
Rule = Callable[..., Adjoints]


def _maximum(g: Symbol, y: Symbol, a: Operand, b: Operand) -> Adjoints:
    first = 0.5 * (less(b, a) + 1.0 - less(a, b))  # a tie gives each one half, as in PyTorch
    return g * first, g * (1.0 - first)


RULES: Mapping[Op, Rule] = {
    Op.NEG: lambda g, y, a: (-g,),
    Op.ABS: lambda g, y, a: (g * sign(a),),
    Op.SIGN: lambda g, y, a: (None,),
    Op.EXP: lambda g, y, a: (g * y,),
    Op.LOG: lambda g, y, a: (g / a,),
    Op.SQRT: lambda g, y, a: (g * (0.5 / y),),
    Op.SIGMOID: lambda g, y, a: (g * (y * (1.0 - y)),),
    Op.TANH: lambda g, y, a: (g * (1.0 - y * y),),
    Op.RELU: lambda g, y, a: (where(y, g, 0.0),),  # where y is NaN, what flows is g, as in PyTorch
    Op.HARD_SIGMOID: lambda g, y, a, slope: (where(less(0.0, y) * less(y, 1.0), g * slope, 0.0),),
    Op.SOFTPLUS: lambda g, y, a: (g * sigmoid(a),),
    Op.ADD: lambda g, y, a, b: (g, g),
    Op.SUB: lambda g, y, a, b: (g, -g),
    Op.MUL: lambda g, y, a, b: (g * b, g * a),
    Op.DIV: lambda g, y, a, b: (g / b, -(g / b * y)),  # one division: the second is the first again
    Op.MAXIMUM: _maximum,
    Op.MINIMUM: lambda g, y, a, b: _maximum(g, y, b, a),
    Op.LESS: lambda g, y, a, b: (None, None),
    Op.WHERE: lambda g, y, c, a, b: (None, where(c, g, 0.0), where(c, 0.0, g)),
    Op.MATMUL: lambda g, y, m, v: (g.recorder.emit(Op.OUTER, (g, v)), m.T @ g),
    Op.TRANSPOSE: lambda g, y, m: (g.T,),
    Op.OUTER: lambda g, y, a, b: (g @ b, g.T @ a),
    Op.SUM: lambda g, y, a: (g,),
    Op.MEAN: lambda g, y, a: (g / size(a),),
    Op.EXPAND: lambda g, y, a, axes: (g,),
    Op.SIZE: lambda g, y, axes: (),
    Op.RELABEL: lambda g, y, a, axes: (relabel(g, like=a),),
}

LINEAR: frozenset[Op] = frozenset({Op.MATMUL, Op.TRANSPOSE, Op.OUTER, Op.SUM, Op.MEAN, Op.EXPAND, Op.RELABEL})
"""Ops that are linear in each operand and not elementwise: forward mode applies the op itself to a tangent."""
