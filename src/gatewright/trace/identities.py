"""Identities that turn an operation into a simpler one, or into a value; what it gives for numbers alone, in double
precision. simplify.py says what they preserve."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from gatewright.axes import Shape
from gatewright.lang.ops import Attrs, Op, axes_of
from gatewright.trace.ir import Atom, Equation, Literal


@dataclass(frozen=True, slots=True)
class Value:
    """What an old value has become: an atom of its shape, or a scalar that stands for all of its elements."""

    atom: Atom
    shape: Shape
    name: str = ""

    def is_number(self, number: float) -> bool:
        """Whether every element is that number."""
        return isinstance(self.atom, Literal) and self.atom.value == number


@dataclass(frozen=True, slots=True)
class OpCall:
    """An operation that may have a simpler form."""

    op: Op
    args: tuple[Value, ...]
    attrs: Attrs = ()


Define = Callable[[Value], Equation | None]
"""The equation that makes a value, or None for leaves and numbers."""

Rule = Callable[[Define, OpCall], Value | OpCall | None]
_ZERO = Value(Literal(0.0), ())


def _negated(define: Define, value: Value) -> Value | None:
    """b, where the value is -b."""
    equation = define(value)
    return Value(equation.args[0], value.shape) if equation and equation.op is Op.NEG else None


def _neg(define: Define, call: OpCall) -> Value | OpCall | None:
    (a,) = call.args
    equation = define(a)
    if equation and equation.op is Op.SUB:
        left, right = equation.args
        return OpCall(Op.SUB, (Value(right, a.shape), Value(left, a.shape)))
    return _negated(define, a)


def _add(define: Define, call: OpCall) -> Value | OpCall | None:
    a, b = call.args
    if a.is_number(0) or b.is_number(0):
        return b if a.is_number(0) else a
    if negated := _negated(define, b):
        return OpCall(Op.SUB, (a, negated))
    if negated := _negated(define, a):
        return OpCall(Op.SUB, (b, negated))
    return None


def _sub(define: Define, call: OpCall) -> Value | OpCall | None:
    a, b = call.args
    if a.is_number(0):
        return OpCall(Op.NEG, (b,))
    negated = _negated(define, b)
    return a if b.is_number(0) else OpCall(Op.ADD, (a, negated)) if negated else None


def _mul(define: Define, call: OpCall) -> Value | OpCall | None:
    for value, other in (call.args, call.args[::-1]):
        if value.is_number(0):
            return _ZERO
        if value.is_number(1):
            return other
        if value.is_number(-1):
            return OpCall(Op.NEG, (other,))
    return None


def _div(define: Define, call: OpCall) -> Value | OpCall | None:
    a, b = call.args
    if b.is_number(1) or b.is_number(-1):
        return a if b.is_number(1) else OpCall(Op.NEG, (a,))
    return _ZERO if a.is_number(0) and not b.is_number(0) else None


def _where(define: Define, call: OpCall) -> Value | OpCall | None:
    condition, a, b = call.args
    if isinstance(condition.atom, Literal):
        return b if condition.is_number(0) else a
    return a if a.atom == b.atom else None


def _product(define: Define, call: OpCall) -> Value | OpCall | None:
    return _ZERO if any(arg.is_number(0) for arg in call.args) else None


def _total(define: Define, call: OpCall) -> Value | OpCall | None:
    (a,) = call.args
    return a if not a.shape or a.is_number(0) else None


def _transpose(define: Define, call: OpCall) -> Value | OpCall | None:
    (a,) = call.args
    equation = define(a)
    inner = equation.args[0] if equation and equation.op is Op.TRANSPOSE else None
    return Value(inner, inner.shape) if inner else a if not a.atom.shape else None


def _relabel(define: Define, call: OpCall) -> Value | OpCall | None:
    (a,) = call.args
    return a if not a.atom.shape or a.shape == axes_of(call.attrs) else None


IDENTITIES: Mapping[Op, Rule] = {
    Op.NEG: _neg,
    Op.ADD: _add,
    Op.SUB: _sub,
    Op.MUL: _mul,
    Op.DIV: _div,
    Op.WHERE: _where,
    Op.MATMUL: _product,
    Op.OUTER: _product,
    Op.SUM: _total,
    Op.MEAN: _total,
    Op.TRANSPOSE: _transpose,
    Op.RELABEL: _relabel,
    Op.SIZE: lambda define, call: None if axes_of(call.attrs) else Value(Literal(1.0), ()),
    # elementwise ops repeat a scalar by themselves; others ask for its full shape
    Op.EXPAND: lambda define, call: call.args[0],
}


def simplest(define: Define, call: OpCall) -> Value | OpCall:
    """The value that a call comes to by all identities, one after the other; or the call that is left to be done."""
    result: Value | OpCall | None = call
    while isinstance(result, OpCall):
        call = result
        rule = IDENTITIES.get(call.op)
        result = rule(define, call) if rule else None
    if result is not None:
        return result
    numbers = [arg.atom.value for arg in call.args if isinstance(arg.atom, Literal)]
    number = fold(call.op, numbers, call.attrs) if len(numbers) == len(call.args) else None
    return call if number is None else Value(Literal(number), ())


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
