"""Nodes that compute on sizes of axes, and on values that are one number everywhere: no array is made of them."""

from collections.abc import Mapping, Sequence
from typing import Any

from gatewright.convert.onnx_files.folding import bounds
from gatewright.convert.onnx_files.values import Filled, Known, Sizes, Value, product_of

Attributes = Mapping[str, Any]
Operands = Sequence[Value | None]
_MOVED = ("Cast", "Expand", "Identity", "Slice", "Squeeze", "Transpose", "Unsqueeze")


def of_sizes(op: str, attributes: Attributes, operands: Operands) -> Sizes | Filled | None:
    """What follows from sizes or from one number everywhere; None where nothing is known to."""
    first = operands[0] if operands else None
    if op == "ConstantOfShape":
        value = attributes.get("value")
        return Filled(0.0 if value is None else float(value.reshape(-1)[0]))
    if isinstance(first, Filled):
        same = all(one == first for one in operands)
        return first if op in _MOVED or (op == "Concat" and same) else None
    items = [_items(one) for one in operands]
    if op == "Concat" and all(one is not None for one in items):
        return Sizes(tuple(each for one in items for each in one or ()))
    if op == "Mul" and all(one is not None for one in items):
        return _product(*(one or () for one in items))
    return _piece(op, first, attributes, operands) if isinstance(first, Sizes) else None


def _product(left: tuple[int | str, ...], right: tuple[int | str, ...]) -> Sizes | None:
    pairs = list(zip(left, right, strict=True))
    made = [a * b for a, b in pairs if isinstance(a, int) and isinstance(b, int)]
    return Sizes(tuple(made)) if len(made) == len(pairs) else None


def _piece(op: str, sizes: Sizes, attributes: Attributes, operands: Operands) -> Sizes | Filled | None:
    if op == "Expand" and len(sizes.items) == 1:
        return Filled(sizes.items[0])
    if op in ("Reshape", "Squeeze", "Unsqueeze", "Identity", "Cast"):
        return sizes
    if op == "ReduceProd":
        return Sizes((product_of(sizes.items),))
    arrays = [one.array if isinstance(one, Known) else None for one in operands]
    if op == "Gather" and (which := arrays[1]) is not None:
        return Sizes(tuple(sizes.items[int(one)] for one in which.reshape(-1)))
    if op == "Slice":
        return Sizes(sizes.items[bounds(attributes, arrays, 1).get(0, slice(None))])
    return None


def _items(value: Value | None) -> tuple[int | str, ...] | None:
    if isinstance(value, Sizes):
        return value.items
    if isinstance(value, Known) and value.array.dtype.kind in "iu" and value.array.size <= 8:
        return tuple(int(one) for one in value.array.reshape(-1))
    return None
