"""Nodes that add no part: on constants, by which exporters join and split weights, and on sizes of axes.

No array is made of sizes, nor of values that are one number everywhere.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.convert.onnx_files import values
from gatewright.convert.onnx_files.values import Attributes, AxisSizes, ConstantValue, FilledValue, Operands, Value

Array = NDArray[Any]

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
    axes = operand(operands, index)
    return None if axes is None else tuple(int(axis) for axis in np.atleast_1d(axes))


def bounds(attributes: Attributes, operands: Sequence[Array | None], rank: int) -> dict[int, slice]:
    """The bounds of a Slice, by axis."""
    if "starts" in attributes:
        starts, ends = attributes["starts"], attributes["ends"]
        axes, steps = attributes.get("axes"), None
    else:
        starts, ends, axes, steps = (
            None if values is None else tuple(int(number) for number in np.atleast_1d(values))
            for values in (operand(operands, index) for index in (1, 2, 3, 4))
        )
    starts, ends = starts or (), ends or ()
    axes, steps = axes or tuple(range(len(starts))), steps or (1,) * len(starts)
    taken: dict[int, slice] = {}
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if not -rank <= axis < rank:
            raise ValueError(f"axis {axis} of {rank}")
        taken[axis % rank] = slice(start, None if step < 0 and end <= -(2**31) else end, step)
    return taken


def folded(node: Any, operands: Sequence[Array | None], opset: int) -> list[Array]:
    """The results of a node of FOLDS, computed by onnx's reference implementation.

    No result is larger than the operands together, but for what a Cast widens and a Gather takes twice.
    """
    from onnx import ValueInfoProto, helper
    from onnx.reference import ReferenceEvaluator

    attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    _check_bounded(node.op_type, attributes, operands, len(node.output))
    arrays = {f"operand {index}": array for index, array in enumerate(operands) if array is not None}
    names = [f"operand {index}" if array is not None else "" for index, array in enumerate(operands)]
    results = [f"result {index}" for index in range(len(node.output))]
    nodes = [helper.make_node(node.op_type, names, results, **attributes)]
    inputs, outputs = ([ValueInfoProto(name=name) for name in values] for values in (arrays, results))
    graph = helper.make_graph(nodes, "folded", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    try:
        return [np.asarray(array) for array in ReferenceEvaluator(model).run(None, arrays)]
    except Exception as error:  # of whatever kind an operator fails with
        raise ValueError(str(error)) from error


def _check_bounded(op: str, attributes: Attributes, operands: Sequence[Array | None], outputs: int) -> None:
    """Refuse results far larger than the operands, and types that are not read."""
    array = operands[0]
    indices = operand(operands, 1)
    if op == "Cast" and attributes["to"] not in (*FLOATS, *INTEGERS):
        raise KeyError(attributes["to"])
    if array is None:
        raise ValueError("the first operand is missing")
    if op == "Split" and attributes.get("num_outputs", outputs) != outputs:  # the reference makes a list as long
        raise ValueError(f"num_outputs is not the number of its outputs, {outputs}")
    if op == "Gather" and indices is not None and indices.size > max(array.shape[attributes.get("axis", 0)], 1):
        raise ValueError("more is gathered than there is")
    if op == "Unsqueeze" and array.ndim + len(axes_of(attributes, operands) or ()) > MOST_RANK:
        raise ValueError(f"more than {MOST_RANK} axes")


FOLDS = (
    "Cast", "Concat", "Gather", "Identity", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze",
)  # fmt: skip
"""Operators that are computed where all operands are constants."""
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
        pairs = list(zip(*(item or () for item in items), strict=True))
        products = [a * b for a, b in pairs if isinstance(a, int) and isinstance(b, int)]
        return AxisSizes(tuple(products)) if len(products) == len(pairs) else None
    return _piece(op, first, attributes, operands) if isinstance(first, AxisSizes) else None


def _piece(op: str, sizes: AxisSizes, attributes: Attributes, operands: Operands) -> AxisSizes | FilledValue | None:
    if op == "Expand" and len(sizes.items) == 1:
        return FilledValue(sizes.items[0])
    if op in ("Reshape", "Squeeze", "Unsqueeze", "Identity", "Cast"):
        return sizes
    if op == "ReduceProd":
        return AxisSizes((values.product_of(sizes.items),))
    arrays = values.arrays_of(operands)
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
