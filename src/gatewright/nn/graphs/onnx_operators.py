"""A direction of a layer as ONNX's own recurrent operator, in a graph that torch.onnx.export makes."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.onnx import ops

from gatewright.axes import HIDDEN
from gatewright.backends.onnx.operators import OPERATORS, attributes_of, operator_cell
from gatewright.backends.onnx.regroup import evaluated
from gatewright.nn.packed_cell import PackedCell
from gatewright.nn.torch_fused import joined


def run(
    cell: PackedCell,
    values: Tensor,
    packed: Sequence[Tensor],
    states: Sequence[Tensor | None],
    lengths: Tensor | None,
) -> tuple[Tensor, ...] | None:
    """Run a cell over a sequence (time, batch, features) by ONNX's operator; None where there is none.

    Returns the output and every final state, (1, batch, size). The graph holds the operator's node; the numbers in
    torch are zeros, since the graph is for files only. ONNX Runtime has the operators in float32 only.
    """
    if torch.jit.is_tracing() or values.dtype != torch.float32:
        return None
    recognised = operator_cell(evaluated(cell.trace))
    if recognised is None:
        return None
    params, config = cell.unpack(packed), recognised.config
    operator = OPERATORS[config.family]
    weights = [joined(recognised.of_gates(space, operator.gates), params) for space in ("W", "U")]
    both = [constants for space in ("b", "bh") for constants in recognised.of_gates(space, operator.gates)]
    biases = joined(both, params) if recognised.has_biases else None
    peepholes = joined(recognised.of_gates("p", operator.peepholes), params) if config.peepholes else None
    operands: list[Tensor | None] = [values, *map(_with_directions, (*weights, biases))]
    operands += [None if lengths is None else lengths.to(torch.int32), *map(_with_directions, (*states, peepholes))]
    while operands[-1] is None:
        operands.pop()
    attributes: dict[str, Any] = {
        "hidden_size": cell.sizes[HIDDEN],
        "direction": "reverse" if cell.backwards else "forward",
        **attributes_of([config]),
    }
    steps, rows = values.shape[:2]
    shapes = [(steps, 1, rows, cell.sizes[HIDDEN]), *[(1, rows, cell.sizes[HIDDEN])] * len(states)]
    output, *ends = ops.symbolic_multi_out(
        operator.name, operands, attributes, dtypes=[values.dtype] * len(shapes), shapes=shapes
    )
    if lengths is not None:  # rows without any step keep their initial state; ONNX Runtime gives zero
        pairs = zip(ends, states, strict=True)
        ends = [end if state is None else torch.where(lengths[:, None] == 0, state, end) for end, state in pairs]
    return (output.squeeze(1), *ends)


def _with_directions(value: Tensor | None) -> Tensor | None:
    """With the axis of directions that ONNX's operands have in front."""
    return None if value is None else value.unsqueeze(0)
