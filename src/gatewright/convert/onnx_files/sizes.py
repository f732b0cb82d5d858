"""Nodes that compute on sizes of axes, and on values that are one number everywhere: no array is made of them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gatewright.convert.onnx_files.folding import bounds
from gatewright.convert.onnx_files.values import Filled, Known, Sizes, Value

Attributes = Mapping[str, Any]
Operands = Sequence[Value | None]


def of_sizes(op: str, attributes: Attributes, operands: Operands) -> Sizes | Filled | None:
    """What follows from sizes or from one number everywhere; None where nothing is known to."""
    first = operands[0] if operands else None
    if op == "ConstantOfShape":
        value = attributes.get("value")
        return Filled(0.0 if value is None else float(value.reshape(-1)[0]))
    if isinstance(first, Filled) and op in ("Slice", "Squeeze", "Unsqueeze", "Transpose", "Identity", "Cast", "Expand"):
        return first
    if op == "Concat" and operands:
        if all(isinstance(one, Filled) and one == first for one in operands):
            return first if isinstance(first, Filled) else None
        items = [_items(one) for one in operands]
        return Sizes(tuple(each for one in items if one is not None for each in one)) if all(items) else None
    if isinstance(first, Sizes):
        if op in ("Squeeze", "Unsqueeze", "Identity", "Cast"):
            return first
        arrays = [one.array if isinstance(one, Known) else None for one in operands]
        if op == "Gather" and arrays[1] is not None:
            return Sizes(tuple(first.items[int(one)] for one in np.atleast_1d(arrays[1]).reshape(-1)))
        if op == "Slice":
            return Sizes(first.items[bounds(attributes, arrays, 1).get(0, slice(None))])
    return None


def _items(value: Value | None) -> tuple[int | str, ...] | None:
    if isinstance(value, Sizes):
        return value.items
    if isinstance(value, Known) and value.array.dtype.kind in "iu" and value.array.size <= 8:
        return tuple(int(one) for one in value.array.reshape(-1))
    return None
