"""Constant folding: what an op gives for numbers alone, in double precision."""

import math
from collections.abc import Callable, Mapping, Sequence

from gatewright.lang.ops import Attrs, Op

_MEANING: Mapping[Op, Callable[..., float]] = {
    Op.NEG: lambda a: 0.0 - a,
    Op.ABS: math.fabs,
    Op.SIGN: lambda a: float((a > 0) - (a < 0)),
    Op.EXP: math.exp,
    Op.LOG: math.log,
    Op.SQRT: math.sqrt,
    Op.SIGMOID: lambda a: 1.0 / (1.0 + math.exp(-a)) if a >= 0 else math.exp(a) / (1.0 + math.exp(a)),
    Op.TANH: math.tanh,
    Op.RELU: lambda a: max(a, 0.0),
    Op.HARD_SIGMOID: lambda a, slope: min(max(slope * a + 0.5, 0.0), 1.0),
    Op.SOFTPLUS: lambda a: max(a, 0.0) + math.log1p(math.exp(-abs(a))),
    Op.ADD: lambda a, b: a + b,
    Op.SUB: lambda a, b: a - b,
    Op.MUL: lambda a, b: a * b,
    Op.DIV: lambda a, b: a / b,
    Op.MAXIMUM: lambda a, b: a if a >= b else b,
    Op.MINIMUM: lambda a, b: a if a <= b else b,
    Op.LESS: lambda a, b: float(a < b),
}


def fold(op: Op, numbers: Sequence[float], attrs: Attrs) -> float | None:
    """What `op` gives for numbers; None where that is not finite, or must be left to a backend."""
    if op not in _MEANING or not all(map(math.isfinite, numbers)):
        return None
    try:
        number = _MEANING[op](*numbers, **dict(attrs))
    except (ArithmeticError, ValueError):
        return None
    return number if math.isfinite(number) else None
