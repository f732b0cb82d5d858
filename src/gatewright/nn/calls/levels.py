"""A layer run level by level and direction by direction, each a cell over a sequence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gatewright.backends import torch_eager
from gatewright.nn import backends
from gatewright.nn.calls.arguments import Given, split_states
from gatewright.nn.dropout import drop
from gatewright.trace.mask import MASK

if TYPE_CHECKING:
    from gatewright.nn.recurrent import Recurrent


@dataclass(frozen=True, slots=True)
class LayerResults:
    """What a whole layer gave.

    - `output`: (time, batch, features); where a PackedSequence was to stay packed, its data.
    - `finals`: every final state, (num_layers * num_directions, batch, size).
    - `gates`: every gate that was asked for, (time, batch, size).
    """

    output: Tensor
    finals: tuple[Tensor, ...]
    gates: Mapping[str, Tensor]


def run_levels(
    layer: "Recurrent", plan: backends.Plan, given: Given, packed: Sequence[Sequence[Tensor]], *, gates: bool = False
) -> LayerResults:
    """Run a layer by the engine or operation by operation; `packed` are the parameters of every direction."""
    values = given.values
    directions = 2 if layer.bidirectional else 1
    pieces: list[torch_eager.EagerRun] = []
    for level in range(layer.num_layers):
        if level and layer.dropout:
            values = drop(values, layer.dropout, layer.training, layer.dropout_per)
        indices = range(level * directions, (level + 1) * directions)
        pieces += [_run_direction(layer, plan, index, values, given, packed[index], gates) for index in indices]
        outputs = [piece.output for piece in pieces[-directions:]]
        values = torch.cat(outputs, -1) if len(outputs) > 1 else outputs[0]
    finals = tuple(torch.stack([piece.finals[state.name] for piece in pieces]) for state in layer.trace.states)
    prefixes = [f"l{level}{suffix}." if len(pieces) > 1 else "" for level, suffix in layer.directions()]
    named = {
        f"{prefix}{n}": gate for prefix, piece in zip(prefixes, pieces, strict=True) for n, gate in piece.gates.items()
    }
    return LayerResults(values, finals, named)


def _run_direction(
    layer: "Recurrent",
    plan: backends.Plan,
    index: int,
    values: Tensor,
    given: Given,
    packed: Sequence[Tensor],
    gates: bool,
) -> torch_eager.EagerRun:
    """One direction of one level, over (time, batch, features)."""
    cell, trace = layer.packed_cells[index], layer.trace
    steps, batch = values.shape[:2]
    inputs = {trace.inputs[0].name: values}
    if any(leaf.name == MASK for leaf in trace.inputs):
        inputs[MASK] = values.new_ones(steps, batch)
    call = backends.Call(
        cell,
        inputs,
        packed,
        split_states(layer, given, index),
        noises=torch_eager.draw(trace, cell.sizes, steps, batch, values) if layer.training else None,
        active=given.active,
        ragged=given.ragged,
        gates=gates,
    )
    return backends.run(plan, call)
