"""The share of a state's old value in the new one, computed from the values of gates: z, 1 - z, or f / (f + i)."""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gatewright.lang.ops import Op
from gatewright.trace.ir import Equation, Literal, Trace, Var

_ARITHMETIC: Mapping[Op, Callable[..., Any]] = {
    Op.NEG: operator.neg,
    Op.ADD: operator.add,
    Op.SUB: operator.sub,
    Op.MUL: operator.mul,
    Op.DIV: operator.truediv,
}


@dataclass(frozen=True, slots=True)
class _Affine:
    """constant + share * old value of the state, unit by unit. None is unknown: it depends on other values as well."""

    constant: Any = None
    share: Any = 0.0


def kept_share(trace: Trace, state: Var, gates: Mapping[str, Any]) -> Any | None:
    """What stands before a state's old value in the new one, in numbers or arrays as the gates are.

    `gates` are values by name. None where other values than theirs decide it, or where the state does not come in unit
    by unit. What goes through a matrix product or a function does not count.
    """
    values = dict(trace.gates)
    known = {values[name].name: _Affine(value) for name, value in gates.items() if name in values}
    numbers = {leaf.name: _Affine() for leaf in trace.leaves()} | {state.name: _Affine(0.0, 1.0)}
    for equation in trace.equations:
        name = equation.target.name
        args = [_Affine(arg.value) if isinstance(arg, Literal) else numbers[arg.name] for arg in equation.args]
        numbers[name] = known[name] if name in known else _computed(equation, args)
    after = trace.next_states[trace.states.index(state)]
    return None if isinstance(after, Literal) else numbers[after.name].share


def _computed(equation: Equation, args: list[_Affine]) -> _Affine:
    match equation.op, args:
        case ((Op.RELABEL | Op.EXPAND), [a]):
            return a
        case ((Op.NEG | Op.ADD | Op.SUB), _):
            constants, shares = [arg.constant for arg in args], [arg.share for arg in args]
            return _Affine(_applied(equation.op, constants), _applied(equation.op, shares))
        case Op.MUL, [a, b]:
            shares = [_scaled(a.share, b.constant), _scaled(b.share, a.constant)]
            return _Affine(_applied(Op.MUL, [a.constant, b.constant]), _applied(Op.ADD, shares))
        case Op.DIV, [a, b] if _is_zero(b.share):
            share = 0.0 if _is_zero(a.share) else _applied(Op.DIV, [a.share, b.constant])
            return _Affine(_applied(Op.DIV, [a.constant, b.constant]), share)
        case _:
            return _Affine()


def _scaled(share: Any, factor: Any) -> Any:
    return 0.0 if _is_zero(share) else _applied(Op.MUL, [share, factor])


def _applied(op: Op, values: list[Any]) -> Any:
    return None if any(value is None for value in values) else _ARITHMETIC[op](*values)


def _is_zero(share: Any) -> bool:
    return isinstance(share, float) and share == 0.0
