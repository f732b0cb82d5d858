"""Nodes that compute on sizes of axes, and on values that are one number everywhere: no array is made of them."""

from collections.abc import Mapping, Sequence
from typing import Any

from gatewright.convert.onnx_files.constants import bounds
from gatewright.convert.onnx_files.values import AxisSizes, ConstantValue, FilledValue, Value, arrays_of, product_of

Attributes = Mapping[str, Any]
Operands = Sequence[Value | None]
_MOVED = ("Cast", "Expand", "Identity", "Slice", "Squeeze", "Transpose", "Unsqueeze")


def of_sizes(op: str, attributes: Attributes, operands: Operands) -> AxisSizes | FilledValue | None:
    """The result of a node on sizes, or on one number everywhere; None where it is unknown."""
    first = operands[0] if operands else None
    if op == "ConstantOfShape":
        value = attributes.get("value")
        return FilledValue(0.0 if value is None else float(value.reshape(-1)[0]))
    if isinstance(first, FilledValue):
        same = all(operand == first for operand in operands)
        return first if op in _MOVED or (op == "Concat" and same) else None
    items = [_items(operand) for operand in operands]
    if op == "Concat" and all(item is not None for item in items):
        return AxisSizes(tuple(size for item in items for size in item or ()))
    if op == "Mul" and all(item is not None for item in items):
        return _product(*(item or () for item in items))
    return _piece(op, first, attributes, operands) if isinstance(first, AxisSizes) else None


def _product(left: tuple[int | str, ...], right: tuple[int | str, ...]) -> AxisSizes | None:
    pairs = list(zip(left, right, strict=True))
    products = [a * b for a, b in pairs if isinstance(a, int) and isinstance(b, int)]
    return AxisSizes(tuple(products)) if len(products) == len(pairs) else None


def _piece(op: str, sizes: AxisSizes, attributes: Attributes, operands: Operands) -> AxisSizes | FilledValue | None:
    if op == "Expand" and len(sizes.items) == 1:
        return FilledValue(sizes.items[0])
    if op in ("Reshape", "Squeeze", "Unsqueeze", "Identity", "Cast"):
        return sizes
    if op == "ReduceProd":
        return AxisSizes((product_of(sizes.items),))
    arrays = arrays_of(operands)
    if op == "Gather" and (which := arrays[1]) is not None:
        return AxisSizes(tuple(sizes.items[int(place)] for place in which.reshape(-1)))
    if op == "Slice":
        return AxisSizes(sizes.items[bounds(attributes, arrays, 1).get(0, slice(None))])
    return None


def _items(value: Value | None) -> tuple[int | str, ...] | None:
    if isinstance(value, AxisSizes):
        return value.items
    if isinstance(value, ConstantValue) and value.array.dtype.kind in "iu" and value.array.size <= 8:
        return tuple(int(number) for number in value.array.reshape(-1))
    return None
