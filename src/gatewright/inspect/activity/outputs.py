"""What a model gives, with time first: models say nowhere which axis of their outputs is time."""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from gatewright.inspect.activity.unchanged import unchanged

_MOST_ROWS = 8  # that are changed, one after the other, to tell the axes of square outputs apart
_SEQUENCE = 3  # axes of outputs with time


def first_output(result: Any) -> Any:
    """What a model gives, or the first of several such things."""
    return result[0] if isinstance(result, (tuple, list)) and result else result


def outputs_with_time_first(result: Any, steps: int, rows: int, *, row_axis: Callable[[], int | None]) -> Tensor | None:
    """What a model gives, as (time, rows, outputs...) or (rows, outputs); None where it has no axis of rows.

    It is a tensor, or a tuple or list that begins with one. One number a step, (time, rows), is one output.

    - `steps`, `rows`: the size of what the model read. They tell the axes apart.
    - `row_axis`: says which of the first two axes is that of rows; called where both are of that size. None: unknown.
    """
    outputs = first_output(result)
    if not isinstance(outputs, Tensor) or not outputs.dim():
        return None
    if outputs.dim() == 1:  # one number a row
        return outputs[:, None] if len(outputs) == rows else None
    if rows == 1 and outputs.dim() < _SEQUENCE and len(outputs) == steps != 1:
        return outputs[:, None]  # a sequence without the axis of rows
    axes = [axis for axis in (0, 1) if outputs.shape[axis] == rows]
    is_square = len(axes) > 1 and rows > 1 and (outputs.dim() >= _SEQUENCE or rows == steps)
    axis = row_axis() if is_square else axes[0] if axes else None
    if axis is None:
        return None
    if outputs.dim() >= _SEQUENCE:
        return outputs if axis == 1 else outputs.transpose(0, 1)
    if axis == 1:
        return outputs[..., None] if len(outputs) == steps else None
    return outputs


def axis_of_rows(
    model: nn.Module, layers: Sequence[nn.Module], arguments: Sequence[Any], options: dict[str, Any]
) -> int | None:
    """Which of the first two axes of a model's outputs is that of rows, where sizes do not tell.

    What a recurrent layer gives for one row is changed: the outputs of that row alone change, at several steps. None
    where that does not happen, as in a model in which rows read one another. The model is as before.
    """
    with unchanged(model), torch.no_grad():
        plain = first_output(model(*arguments, **options))
    for layer in reversed(layers):
        for row in range(min(_MOST_ROWS, *plain.shape[:2])):
            with unchanged(model), torch.no_grad(), _changed_row(layer, row):
                changed = first_output(model(*arguments, **options))
            if changed.shape != plain.shape:
                continue
            differs = (plain != changed) & ~(plain.isnan() & changed.isnan())
            moved = differs.reshape(*plain.shape[:2], -1).any(-1)
            touched = int(moved.any(1).sum()), int(moved.any(0).sum())
            if 1 in touched and max(touched) > 1:
                return touched.index(1)
    return None


@contextmanager
def _changed_row(layer: nn.Module, row: int) -> Generator[None]:
    """Let a recurrent layer give something else for one row: at all steps, and as its last state."""

    def hook(module: nn.Module, args: Any, result: Any) -> Any:
        batch_first = bool(cast("Any", module).batch_first)
        return tuple(_changed(part, row, 0 if batch_first and not place else 1) for place, part in enumerate(result))

    handle = layer.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def _changed(values: Any, row: int, axis: int) -> Any:
    if isinstance(values, PackedSequence):
        sizes = values.batch_sizes
        places = (sizes.cumsum(0) - sizes)[sizes > row] + row  # of the row at this place in the order of lengths
        return values._replace(data=_other(values.data, places.to(values.data.device), 0))
    if isinstance(values, tuple):
        return tuple(_changed(part, row, axis) for part in cast("tuple[Any, ...]", values))
    if isinstance(values, Tensor) and values.dim() >= _SEQUENCE and row < values.shape[axis]:
        return _other(values, torch.tensor([row], device=values.device), axis)
    return values


def _other(values: Tensor, places: Tensor, axis: int) -> Tensor:
    """Values with others at some places of an axis."""
    return values.index_copy(axis, places, 1 - 3 * values.index_select(axis, places))
