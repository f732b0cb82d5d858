"""Nodes whose operands stand in the file: exporters put weights together and take them apart with them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Attributes = Mapping[str, Any]

FLOATS: Mapping[int, Any] = {1: np.float32, 11: np.float64}
INTEGERS: Mapping[int, Any] = {6: np.int32, 7: np.int64}
MOST_RANK = 16


def operand(operands: Sequence[Array | None], index: int) -> Array | None:
    """An operand that may be left out."""
    return operands[index] if index < len(operands) else None


def axes_of(attributes: Attributes, operands: Sequence[Array | None], index: int = 1) -> tuple[int, ...] | None:
    """Axes that are an attribute in old versions of an operator, and an operand in newer ones."""
    if "axes" in attributes:
        return tuple(attributes["axes"])
    given = operand(operands, index)
    return None if given is None else tuple(int(one) for one in np.atleast_1d(given))


def bounds(attributes: Attributes, operands: Sequence[Array | None], rank: int) -> dict[int, slice]:
    """What a Slice takes, by axis."""
    if "starts" in attributes:
        starts, ends = attributes["starts"], attributes["ends"]
        axes, steps = attributes.get("axes"), None
    else:
        starts, ends, axes, steps = (
            None if one is None else tuple(int(each) for each in np.atleast_1d(one))
            for one in (operand(operands, index) for index in (1, 2, 3, 4))
        )
    starts, ends = starts or (), ends or ()
    axes, steps = axes or tuple(range(len(starts))), steps or (1,) * len(starts)
    found: dict[int, slice] = {}
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if not -rank <= axis < rank:
            raise ValueError(f"axis {axis} of {rank}")
        found[axis % rank] = slice(start, None if step < 0 and end <= -(2**31) else end, step)
    return found


def _concat(operands: Sequence[Array], attributes: Attributes) -> list[Array]:
    return [np.concatenate(operands, axis=attributes["axis"])]


def _gather(operands: Sequence[Array], attributes: Attributes) -> list[Array]:
    array, indices = operands[:2]
    axis = attributes.get("axis", 0)
    if indices.size > max(array.shape[axis], 1):
        raise ValueError("more is gathered than there is")
    return [np.take(array, indices, axis=axis)]


def _slice(operands: Sequence[Array], attributes: Attributes) -> list[Array]:
    array = operands[0]
    taken = bounds(attributes, operands, array.ndim)
    return [array[tuple(taken.get(axis, slice(None)) for axis in range(array.ndim))]]


def _split(operands: Sequence[Array], attributes: Attributes) -> list[Array]:
    array, axis = operands[0], attributes.get("axis", 0)
    sizes = attributes.get("split") or operand(operands, 1)
    if sizes is None:
        return np.split(array, attributes["outputs"], axis=axis)
    return np.split(array, np.cumsum(np.asarray(sizes))[:-1], axis=axis)


def _reshape(operands: Sequence[Array], attributes: Attributes) -> list[Array]:
    array, shape = operands[0], [int(one) for one in operands[1]]
    if not attributes.get("allowzero"):
        shape = [array.shape[index] if one == 0 else one for index, one in enumerate(shape)]
    return [array.reshape(shape)]


def _squeeze(operands: Sequence[Array], attributes: Attributes) -> list[Array]:
    return [np.squeeze(operands[0], axes_of(attributes, operands))]


def _unsqueeze(operands: Sequence[Array], attributes: Attributes) -> list[Array]:
    axes = axes_of(attributes, operands) or ()
    if operands[0].ndim + len(axes) > MOST_RANK:
        raise ValueError(f"more than {MOST_RANK} axes")
    return [np.expand_dims(operands[0], axes)]


def _cast(operands: Sequence[Array], attributes: Attributes) -> list[Array]:
    return [operands[0].astype({**FLOATS, **INTEGERS}[attributes["to"]])]


FOLDS: Mapping[str, Callable[[Sequence[Array], Attributes], list[Array]]] = {
    "Cast": _cast,
    "Concat": _concat,
    "Gather": _gather,
    "Identity": lambda operands, _: [operands[0]],
    "Reshape": _reshape,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Transpose": lambda operands, attributes: [operands[0].transpose(attributes.get("perm"))],
    "Unsqueeze": _unsqueeze,
}
"""By operator: the results. None is larger than its operands together, but for what `Gather` takes twice."""
