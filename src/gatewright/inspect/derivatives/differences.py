"""Derivatives by central differences in float64, with Richardson's extrapolation.

The quotient (f(x + h) - f(x - h)) / 2h has an error of the order h**2; quotients of the steps h, 2h and 4h make one
whose error is of the order h**6.
Many displaced copies of a cell are run at once: every array has one more axis in front, the copies. The loop over time
is written here once more, so that a fault in the reference's own loop is seen too.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.backends.base import execute, prepare
from gatewright.backends.numpy_ref import RULES
from gatewright.derive import adjoint
from gatewright.inspect.derivatives import derived
from gatewright.inspect.derivatives.point import Array, Arrays, Point, every, last, moving, through
from gatewright.lang.ops import Op
from gatewright.trace.ir import Equation, Literal, Trace

STEP = 1e-3
NODES = np.array([1.0, -1.0, 2.0, -2.0, 4.0, -4.0])
KINK, NOT_FINITE = "a kink lay within the step", "a value was not finite"
AT_ONCE = 2**18  # numbers of one displaced array, so that memory stays small

BRANCHES: Mapping[Op, Callable[..., Any]] = {
    Op.ABS: np.sign,
    Op.SIGN: np.sign,
    Op.RELU: np.sign,
    Op.HARD_SIGMOID: lambda a, slope: np.sign(slope * a + 0.5) + np.sign(slope * a - 0.5),
    Op.MAXIMUM: lambda a, b: np.sign(np.subtract(a, b)),
    Op.MINIMUM: lambda a, b: np.sign(np.subtract(a, b)),
    Op.LESS: lambda a, b: np.sign(np.subtract(a, b)),
    Op.WHERE: lambda c, a, b: np.not_equal(c, 0),
}
"""For each op with a kink: the side of the kink that its operands are on. All other ops are smooth where finite."""


class UnfitPointError(Exception):
    """No difference quotient can be taken at a point. The caller draws another point."""


def gradient(trace: Trace, point: Point) -> Arrays:
    """The gradient of the loss by every leaf in `moving`, element by element.

    Raises UnfitPointError where a kink lies within the step, or a value is not finite.
    """
    return {leaf.name: _by_each_element(trace, point, leaf.name) for leaf in moving(trace)}


def second(trace: Trace, point: Point) -> Arrays:
    """The gradient of sum(direction * gradient), as the derivative of the derived gradient along the direction.

    The two are equal because second derivatives are symmetric. The gradient by a weight of the loss is the
    derivative of the output that it multiplies.

    Raises UnfitPointError.
    """
    moved = _moved(trace, point, {name: along[None] for name, along in point.direction.items()})
    gradients = [derived.gradient(trace, _displaced(point, node * STEP)) for node in NODES]
    result = {leaf.name: _quotient(np.stack([by[leaf.name] for by in gradients])) for leaf in moving(trace)}
    return result | {adjoint(output): change[0] for output, change in moved.items()}


def forward(trace: Trace, point: Point) -> Arrays:
    """The change of each output when one leaf alone moves along its direction; named as in `derived.forward`.

    Raises UnfitPointError.
    """
    return {
        through(leaf, output): moved[0]
        for leaf, along in point.direction.items()
        for output, moved in _moved(trace, point, {leaf: along[None]}).items()
    }


def _by_each_element(trace: Trace, point: Point, name: str) -> Array:
    shape, size = point.values[name].shape, point.values[name].size
    parts: list[Array] = []
    count = max(1, AT_ONCE // size)
    for start in range(0, size, count):
        units = np.eye(min(count, size - start), size, start).reshape(-1, *shape)
        moved = _moved(trace, point, {name: units})
        changes = [np.tensordot(moved[output], weight, weight.ndim) for output, weight in point.weights.items()]
        parts.append(np.sum(changes, axis=0))
    return np.concatenate(parts).reshape(shape)


def _moved(trace: Trace, point: Point, directions: Arrays) -> Arrays:
    """The derivative of all outputs along each of some directions, which are the first axis of the result."""
    displaced = {
        name: (point.values[name] + STEP * np.multiply.outer(NODES, along)).reshape(-1, *along.shape[1:])
        for name, along in directions.items()
    }
    return {name: _quotient(array.reshape(len(NODES), -1, *array.shape[1:]))
            for name, array in _run(trace, point, displaced).items()}  # fmt: skip


def _quotient(at_nodes: Array) -> Array:
    widths = 2 * STEP * NODES[::2].reshape(-1, *(1,) * (at_nodes.ndim - 1))
    with np.errstate(invalid="ignore"):  # a derived gradient may be infinite
        quotients = list((at_nodes[::2] - at_nodes[1::2]) / widths)
        for power in (4, 16):  # what is left of an error of order h**2, then h**4, at twice the step
            quotients = [near + (near - far) / (power - 1) for near, far in pairwise(quotients)]
    return quotients[0]


def _displaced(point: Point, distance: float) -> Point:
    """The point, moved along its direction."""

    def group(arrays: Arrays) -> Arrays:
        along = point.direction
        return {name: array + distance * along[name] if name in along else array for name, array in arrays.items()}

    return replace(point, inputs=group(point.inputs), params=group(point.params), states=group(point.states))


def _run(trace: Trace, point: Point, displaced: Arrays) -> Arrays:
    """All outputs of displaced copies, which are their first axis; named as the weights."""
    wide = {**{name: array[None] for name, array in {**point.values, **point.noises}.items()}, **displaced}
    copies = max(array.shape[0] for array in displaced.values())
    watched = _watched(trace.equations)
    calls = [*prepare(trace.equations, RULES, point.sizes), *prepare(watched, BRANCHES, point.sizes)]
    params = {name: wide[name][:, None] for name in point.params}
    states = {name: np.broadcast_to(wide[name], (copies, *array.shape)) for name, array in point.states.items()}
    sequences: dict[str, list[Array]] = {name: [] for name in states}
    for t, active in enumerate(point.active):
        values: dict[str, Any] = {**params, **states}
        values |= {name: wide[name][:, t] for name in (*point.inputs, *point.noises)}
        with np.errstate(all="ignore"):
            execute(calls, values)
        _hold_one_piece((values[equation.target.name] for equation in watched), active)
        for state, new in trace.updates():
            value, old = new.value if isinstance(new, Literal) else values[new.name], states[state.name]
            runs = active[(..., *(None,) * len(state.shape))]
            states[state.name] = np.where(runs, value, old)
            sequences[state.name].append(np.where(runs, value, np.zeros_like(old)))
    outputs = {every(name): np.stack(array, axis=1) for name, array in sequences.items()}
    outputs |= {last(name): array for name, array in states.items()}
    if not all(np.isfinite(array).all() for array in outputs.values()):
        raise UnfitPointError(NOT_FINITE)
    return outputs


def _watched(equations: Iterable[Equation]) -> list[Equation]:
    """For each op with a kink, an equation that tells on which side of it the op is."""
    return [
        replace(equation, target=replace(equation.target, name=f"piece of {equation.target.name}"))
        for equation in equations
        if equation.op in BRANCHES
    ]


def _hold_one_piece(pieces: Iterable[Any], active: NDArray[np.bool_]) -> None:
    """Raise UnfitPointError unless all copies are on the same side, in every row that still runs."""
    for piece in map(np.asarray, pieces):
        if piece.ndim < 2:  # no copies: only numbers go in
            continue
        rows = piece[:, active] if piece.shape[1] == len(active) else piece
        if (rows != rows[:1]).any():
            raise UnfitPointError(KINK)
