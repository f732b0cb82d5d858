"""A direction of a layer as ONNX's own recurrent operator, in a graph that torch.onnx.export makes."""

from typing import Any

import torch
from torch import Tensor
from torch.onnx import ops

from gatewright.axes import HIDDEN
from gatewright.backends.onnx.operators import OPERATORS, attributes_of, operator_cell
from gatewright.backends.onnx.regroup import evaluated
from gatewright.backends.torch_eager import EagerRun
from gatewright.nn.calls.call import Call
from gatewright.nn.torch_fused import joined


def run(call: Call) -> EagerRun | None:
    """Run a cell over a sequence, without a mask or gates, by ONNX's operator; None where there is none.

    The graph holds its node, and the numbers that it has in torch are zeros: it is for files only. ONNX Runtime has the
    operators in float32.
    """
    like, cell = call.like, call.cell
    if torch.jit.is_tracing() or like.dtype != torch.float32 or call.noises:
        return None
    found = operator_cell(evaluated(cell.trace))
    if found is None:
        return None
    params, config, operator = cell.unpack(call.packed), found.config, OPERATORS[found.config.family]
    weights = [joined(found.of_gates(space, operator.gates), params) for space in ("W", "U")]
    both = [constants for space in ("b", "bh") for constants in found.of_gates(space, operator.gates)]
    biases = joined(both, params) if found.has_biases else None
    looks = joined(found.of_gates("p", operator.peepholes), params) if config.peepholes else None
    lengths = None if call.ragged is None else call.ragged.lengths.to(torch.int32)
    states = [call.states[state.name] for state in cell.trace.states]
    operands: list[Tensor | None] = [like, *(_of_one(one) for one in (*weights, biases)), lengths]
    operands += [*map(_of_one, states), _of_one(looks)]
    while operands[-1] is None:
        operands.pop()
    attributes: dict[str, Any] = {
        "hidden_size": cell.sizes[HIDDEN],
        "direction": "reverse" if cell.backwards else "forward",
        **attributes_of(config),
    }
    steps, rows = like.shape[:2]
    shapes = [(steps, 1, rows, cell.sizes[HIDDEN]), *[(1, rows, cell.sizes[HIDDEN])] * len(states)]
    output, *ends = ops.symbolic_multi_out(
        operator.name, operands, attributes, dtypes=[like.dtype] * len(shapes), shapes=shapes
    )
    finals = {state.name: _kept(end[0], call, state.name) for state, end in zip(cell.trace.states, ends, strict=True)}
    return EagerRun(output.squeeze(1), finals, {})


def _of_one(value: Tensor | None) -> Tensor | None:
    """With an axis of directions in front."""
    return None if value is None else value.unsqueeze(0)


def _kept(final: Tensor, call: Call, state: str) -> Tensor:
    """A final state; a row without any step keeps what it began with, which ONNX Runtime replaces by zero."""
    initial = call.states[state]
    if initial is None or call.ragged is None:
        return final
    return torch.where(call.ragged.lengths[:, None] == 0, initial, final)
