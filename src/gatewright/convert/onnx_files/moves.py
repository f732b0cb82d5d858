"""Nodes that move values without computing: the axes of their results."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from gatewright.convert.onnx_files import values
from gatewright.convert.onnx_files.constants import FLOATS, INTEGERS
from gatewright.convert.onnx_files.network_builder import SEQUENCE, GraphNode, constant
from gatewright.convert.onnx_files.values import DIRECTIONS, FEATURES, Axis, ConstantValue, ExtraInput, FlowValue
from gatewright.errors import ConversionError
from gatewright.network import Reverse

LARGEST = 2**31 - 1


def transpose(node: GraphNode) -> FlowValue:
    """The axes in another order."""
    axes = node.stream.axes
    order = node.attributes.get("perm") or tuple(reversed(range(len(axes))))
    if sorted(order) != list(range(len(axes))):
        raise ConversionError("perm is no order of the axes", expected=str(len(axes)), got=str(order))
    return replace(node.stream, axes=tuple(axes[index] for index in order))


def squeeze(node: GraphNode) -> FlowValue:
    """Without axes of one element."""
    stream = node.stream
    axes = node.axes()
    rank = len(stream.axes)
    if axes is None:
        raise ConversionError("it does not say which axes it takes away")
    for index in sorted({_axis(axis, rank) for axis in axes}, reverse=True):
        if stream.axes[index].size != 1:
            raise ConversionError(f"axis {index} may have more than one element")
        stream = stream.without(index)
    return stream


def unsqueeze(node: GraphNode) -> FlowValue:
    """With new axes of one element."""
    axes = node.axes() or ()
    rank = len(node.stream.axes) + len(axes)
    places = {_axis(axis, rank) for axis in axes}
    old = iter(node.stream.axes)
    return replace(
        node.stream, axes=tuple(Axis(f"new {index}", 1) if index in places else next(old) for index in range(rank))
    )


def items_of(node: GraphNode) -> tuple[int | str, ...]:
    """The sizes of the axes that a Reshape makes, by number or label."""
    target = node.operands[1]
    if isinstance(target, ConstantValue):
        return tuple(int(number) for number in np.atleast_1d(target.array))
    if isinstance(target, values.AxisSizes):
        return target.items
    raise ConversionError("its shape is no constant and no sizes of its input")


def reshape(node: GraphNode) -> FlowValue:
    """Both directions of each step side by side, all steps of all rows below one another, or the axes as they were."""
    stream, items = node.stream, items_of(node)
    for regrouped in _regrouped(stream):
        axes = regrouped.axes
        before = [*stream.axes, *[None] * len(items)]  # the axes at the same places
        if len(axes) == len(items) and items.count(-1) <= 1 and all(map(_fits, items, axes, before)):
            return regrouped
    raise ConversionError(
        "it does more than to join the two directions",
        expected="(time, batch, features)",
        got=f"axes {', '.join(stream.labels)} to {items}",
    )


def gather(node: GraphNode) -> FlowValue | ExtraInput:
    """One direction, or the last step."""
    stream = node.stream
    if not stream.version:
        return ExtraInput(stream.source)
    axis = _axis(node.attributes.get("axis", 0), len(stream.axes))
    which = node.operands[1]
    if not isinstance(which, ConstantValue) or which.array.size != 1:
        raise ConversionError("it takes what is no constant")
    taken = _taken(stream, axis, int(which.array.reshape(())), node.time)
    return taken.without(axis) if which.array.ndim == 0 else taken


def of_stacked(stacked: values.StackedStates, attributes: values.Attributes, which: values.Value | None) -> FlowValue:
    """The last states of one direction of one layer, out of those of all."""
    if not isinstance(which, ConstantValue) or which.array.ndim or attributes.get("axis", 0) != stacked.axis:
        raise ConversionError("it takes more than one of the last states")
    stream, direction = stacked.pieces[int(which.array)]
    return _taken(stream, stacked.axis, direction, None).without(stacked.axis)


def slices(node: GraphNode) -> FlowValue | ExtraInput:
    """One direction, or the last step, with its axis kept."""
    if any(taken.step == -1 for taken in node.bounds().values()):
        return _reversed(node)
    stream = node.stream
    if not stream.version:
        return ExtraInput(stream.source)
    for axis, taken in node.bounds().items():
        start, stop, size = taken.start, taken.stop, stream.axes[axis].size
        if taken.step == 1 and start == 0 and stop is not None and stop >= (size or LARGEST):
            continue
        last = start == -1 and stop is not None and stop >= (size or LARGEST)
        if taken.step != 1 or not (last or (stop == start + 1 and stop)):  # from -1 to 0 is nothing
            raise ConversionError(f"it takes a part of axis {axis} that is neither a direction nor one step")
        stream = _taken(stream, axis, start, node.time)
    return stream


def _reversed(node: GraphNode) -> FlowValue:
    """All steps from the last to the first, where a Slice goes backwards along one axis."""
    stream = node.take()
    ((axis, taken),) = node.bounds().items()
    size = stream.axes[axis].size
    whole = taken.start in (-1, (size or 0) - 1) or (taken.start or 0) >= (size or LARGEST)
    others = [index for index in range(len(stream.axes)) if index != axis][:1]
    if not whole or taken.stop is not None or taken.step != -1 or len(stream.axes) < SEQUENCE - 1 or axis > 1:
        raise ConversionError("it reverses a part of the steps")
    node.parts.set_roles(stream.axes[axis], stream.axes[others[0]])
    return node.parts.added(Reverse(), stream)


def split(node: GraphNode) -> list[values.Value]:
    """The two directions apart."""
    if not node.stream.version:
        return [ExtraInput(node.stream.source)] * int(node.attributes["outputs"])
    axis = _axis(node.attributes.get("axis", 0), len(node.stream.axes))
    operand = node.operands[1] if len(node.operands) > 1 else None
    sizes = node.attributes.get("split", (1, 1)) if operand is None else constant(operand, "split")
    if node.stream.axes[axis] != Axis(DIRECTIONS, 2) or tuple(sizes) != (1, 1):
        raise ConversionError("it takes apart what are no two directions")
    return [_taken(node.stream, axis, index, node.time) for index in (0, 1)]


def concat(node: GraphNode) -> FlowValue | values.StackedStates:
    """The two directions of one layer side by side, or the last states of several layers one below the other."""
    first, *others = node.operands
    if not others and isinstance(first, FlowValue):
        return first
    axis = _axis(node.attributes.get("axis", 0), len(node.stream.axes))
    both = [operand for operand in node.operands if isinstance(operand, FlowValue)]
    halves = [stream.half for stream in both]
    of_layers = all(stream.last == "final" and stream.labels[axis] == DIRECTIONS for stream in both)
    if len(both) == len(node.operands) and of_layers and halves != [0, 1]:
        return values.StackedStates(
            tuple((stream, index) for stream in both for index in range(stream.axes[axis].size or 0)), axis
        )
    if len(both) != 2 or len(node.operands) != 2:
        raise ConversionError("it joins what are not the two directions of one layer, forwards first")
    joined = both[0].joined_with(both[1])
    if joined.axes[axis] == Axis(DIRECTIONS, 1):
        return replace(joined, axes=(*joined.axes[:axis], Axis(DIRECTIONS, 2), *joined.axes[axis + 1 :]))
    if axis != len(joined.axes) - 1 or joined.labels[-1] != FEATURES:
        raise ConversionError("it joins the two directions along another axis than the features'")
    return joined.with_features(2 * (joined.axes[-1].size or 0))


def cast(node: GraphNode) -> FlowValue:
    """The same numbers in another type."""
    if node.attributes.get("to") not in FLOATS and (node.attributes.get("to") not in INTEGERS or node.stream.version):
        raise ConversionError("it rounds what flows through the network")
    return node.stream


def dropout(node: GraphNode) -> FlowValue:
    """The input, unchanged: dropout is for training."""
    training = node.operands[2] if len(node.operands) > 2 else None
    if training is not None and not (isinstance(training, ConstantValue) and not training.array.any()):
        raise ConversionError("it leaves out values at random", do="export the model in evaluation: model.eval()")
    return node.stream


def shape(node: GraphNode) -> values.AxisSizes:
    """The sizes of the axes."""
    axes = node.stream.axes
    taken = axes[slice(node.attributes.get("start"), node.attributes.get("end"))]
    return values.AxisSizes(tuple(axis.label if axis.size is None else axis.size for axis in taken))


MOVES: Mapping[str, Callable[[GraphNode], values.Value | list[values.Value]]] = {
    "Cast": cast,
    "Concat": concat,
    "Dropout": dropout,
    "Gather": gather,
    "Identity": lambda node: node.stream,
    "Shape": shape,
    "Slice": slices,
    "Split": split,
    "Squeeze": squeeze,
    "Transpose": transpose,
    "Unsqueeze": unsqueeze,
}


def _axis(index: int, rank: int) -> int:
    if not -rank <= index < rank:
        raise ConversionError(f"there is no axis {index}", expected=f"{rank} axes")
    return index % rank


def _taken(stream: FlowValue, axis: int, index: int, time: str | None) -> FlowValue:
    """The stream with one element of an axis, which stays."""
    label, size = stream.axes[axis].label, stream.axes[axis].size
    axes = list(stream.axes)
    if label == DIRECTIONS and size is not None and -size <= index < size:
        axes[axis] = Axis(DIRECTIONS, 1)
        return replace(stream, axes=tuple(axes), half=index % size if size > 1 else stream.half)
    if label == time and (size is None or -size <= index < size):
        axes[axis] = Axis(values.STEP, 1)
        step = index if size is None else index % size - (size if index % size == size - 1 else 0)
        return replace(stream, axes=tuple(axes), last="step", step=step)
    raise ConversionError(f"it takes element {index} of axis {label}, which is neither a direction nor a step")


def _regrouped(stream: FlowValue) -> list[FlowValue]:
    """The stream as it may be called after a reshape that moves nothing."""
    axes = stream.axes
    if stream.apart:
        return [replace(stream, axes=(*stream.apart, *axes[1:]), apart=()), stream]
    without = tuple(axis for axis in axes if (axis.label, axis.size) not in ((DIRECTIONS, 1), (values.STEP, 1)))
    candidates = [stream, replace(stream, axes=without)]
    joined = stream.side_by_side()
    candidates += [joined] if joined != stream else []
    if len(joined.axes) == 3 and DIRECTIONS not in joined.labels and values.STEP not in joined.labels:
        leading, features = joined.axes[:2], joined.axes[2]
        count = values.product_of([axis.label if axis.size is None else axis.size for axis in leading])
        rows = Axis(values.ROWS, count) if isinstance(count, int) else Axis(count)
        candidates.append(replace(joined, axes=(rows, features), apart=leading))
    return candidates


def _fits(item: int | str, axis: Axis, before: Axis | None) -> bool:
    """Whether an axis of the target is that one. 0 copies the axis at the same place."""
    if item == 0:
        return before == axis
    return item in (-1, axis.label) or (axis.size is not None and item == axis.size)
