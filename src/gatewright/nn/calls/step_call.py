"""Fast path of a cell that is called step by step: a single step of some rows on the engine.

A step of few units takes a few microseconds, and so does each of the Python calls around it. So nothing is looked up or
computed here that a call does not need: see `gatewright.nn.calls.layer_call.call_fast`, which does the same for layers.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from gatewright.nn.engine.differentiable import DTYPES
from gatewright.nn.engine.step_operation import StepOperation
from gatewright.nn.packed_cell import PackedCell

STRIDED = torch.strided  # to look it up at every call takes longer


def call_step(
    cell: PackedCell, packed: Sequence[Tensor], input: Tensor, hx: Tensor | Sequence[Tensor] | None
) -> tuple[Tensor, ...] | None:
    """The states of all rows after one step, (batch, size); or of one row, (size,).

    Call it only where `gatewright.nn.modes.is_plain()` holds. None for what only the generic path serves, which also
    raises the errors for arguments that do not fit.
    """
    if type(input) is not Tensor or not input.is_cpu or input.is_nested or input.layout is not STRIDED:
        return None
    shape, dtype = input.shape, input.dtype
    if dtype not in DTYPES or not (shape and shape[0]):
        return None
    if len(shape) == 1:
        rows = None if hx is None else hx.unsqueeze(0) if isinstance(hx, Tensor) else [x.unsqueeze(0) for x in hx]
        ends = call_step(cell, packed, input.unsqueeze(0), rows)
        return None if ends is None else tuple([end.squeeze(0) for end in ends])
    operation = cell.one_step(dtype)
    states = _states_of(operation, shape, dtype, hx)
    if states is None or not operation.takes(packed):
        return None
    return operation.run((input, *packed, *states))


def _states_of(
    operation: StepOperation, shape: torch.Size, dtype: torch.dtype, hx: Tensor | Sequence[Tensor] | None
) -> Sequence[Tensor | None] | None:
    """The states before the step of an input of that shape, each of which may be None for zeros; None where an argument
    does not fit."""
    shapes = operation.state_shapes
    if len(shape) != 2 or shape[1] != operation.input_size:
        return None
    if hx is None:
        return (None,) * len(shapes)
    states = (hx,) if type(hx) is Tensor else tuple(hx)
    if len(states) != len(shapes):
        return None
    rows = shape[0]
    for state, own in zip(states, shapes):  # noqa: B905 (the keyword takes as long as a check)
        if type(state) is not Tensor or state.is_nested or state.layout is not STRIDED:
            return None
        if state.dtype is not dtype or state.shape != (rows, *own) or not state.is_cpu:
            return None
    return states
