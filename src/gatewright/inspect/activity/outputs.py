"""What a model gives, with time first: models say nowhere which axis of their outputs is time."""

from typing import Any

from torch import Tensor


def outputs_with_time_first(result: Any, steps: int, batch: int, *, batch_first: bool) -> Tensor | None:
    """What a model gives, as (time, batch, outputs...) or (batch, outputs); None where it has no axis of rows.

    It is a tensor, or a tuple or list that begins with one.

    - `steps`, `batch`: the size of what the model read. They tell the axes apart, and where both are the same, or the
      outputs have other steps, `batch_first` does.
    """
    outputs = result[0] if isinstance(result, (tuple, list)) and result else result
    if not isinstance(outputs, Tensor) or not outputs.dim():
        return None
    if outputs.dim() == 1:  # one number a row
        return outputs[:, None] if len(outputs) == batch else None
    if outputs.dim() == 2:
        is_single_row = batch == 1 and len(outputs) == steps != 1
        return outputs[:, None] if is_single_row else outputs if len(outputs) == batch else None
    time_first = outputs.shape[:2] == (steps, batch)
    rows_first = outputs.shape[:2] == (batch, steps)
    if time_first == rows_first:  # a square, or a forecast with steps of its own
        rows_first = (batch_first and len(outputs) == batch) or outputs.shape[1] != batch
        time_first = not rows_first
    if rows_first:
        return outputs.transpose(0, 1) if len(outputs) == batch else None
    return outputs
