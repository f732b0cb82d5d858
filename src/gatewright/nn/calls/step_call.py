"""Fast path of a cell that is called step by step: a single step of some rows on the engine.

A step of few units takes a few microseconds, and so does each of the Python calls around it. So nothing is looked up or
computed here that a call does not need: see `gatewright.nn.calls.layer_call.call_fast`, which does the same for layers.
"""

from collections.abc import Sequence

from torch import Tensor

from gatewright.nn.engine.differentiable import DTYPES
from gatewright.nn.engine.sequence_function import run
from gatewright.nn.modes import is_plain
from gatewright.nn.packed_cell import PackedCell


def call_step(
    cell: PackedCell, packed: Sequence[Tensor], input: Tensor, hx: Tensor | Sequence[Tensor] | None
) -> tuple[Tensor, ...] | None:
    """The states of all rows after one step; None for what only the generic path serves, which also raises the errors
    for arguments that do not fit."""
    if not is_plain() or type(input) is not Tensor or not input.is_cpu:
        return None
    dtype = input.dtype
    if dtype not in DTYPES or input.dim() != 2:
        return None
    operation = cell.one_step(dtype)
    rows, features = input.shape
    shapes = operation.numbering.state_shapes
    if features != operation.input_size:
        return None
    states: Sequence[Tensor | None] = [None] * len(shapes)
    if hx is not None:
        states = (hx,) if isinstance(hx, Tensor) else tuple(hx)
        if len(states) != len(shapes):
            return None
        for state, shape in zip(states, shapes, strict=True):
            if type(state) is not Tensor or state.dtype is not dtype or state.shape != (rows, *shape):
                return None
            if not state.is_cpu:
                return None
    if not rows or not operation.takes(packed):
        return None
    return run(operation, (input, *packed, *states))
