"""Reading a text that is typed: only what follows the first changed symbol is run again."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gatewright.inspect.activity.activations import Activations, LayerActivations
from gatewright.inspect.activity.observe import activations_of
from gatewright.tasks.answers.network_inputs import NetworkInputs
from gatewright.tasks.run import Run


@dataclass(frozen=True, eq=False)
class _ReadText:
    """What was read last: the symbols as numbers, and what the network did."""

    values: NDArray[Any]
    activations: Activations


class IncrementalReader:
    """Reads texts with one network. The states at every step of the last text are kept, and the next one goes on there.

    That holds for networks with one layer module that reads in one direction, one symbol a step: their states are all
    that a later step depends on. Others read every text from its beginning.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self._last: _ReadText | None = None

    def read(self, inputs: NetworkInputs) -> Activations:
        """The activations for a batch with one row."""
        last, network = self._last, self.run.model.network
        goes_on = last is not None and is_causal(network, last.activations)
        kept = common_steps(last.values, inputs.values) if last is not None and goes_on else 0
        if last is None or not kept:
            seen = activations_of(network, inputs)
        elif kept == len(inputs.values):
            seen = _extended(last.activations, kept, None, inputs)
        else:
            names = None if inputs.symbols is None else [row[kept:] for row in inputs.symbols]
            rest = replace(inputs, values=inputs.values[kept:], lengths=inputs.lengths - kept, symbols=names)
            after = activations_of(network, rest, _state(network, last.activations, kept - 1))
            seen = _extended(last.activations, kept, after, inputs)
        self._last = _ReadText(inputs.values, seen)
        return seen


def common_steps(before: NDArray[Any], after: NDArray[Any]) -> int:
    """How many of the first steps are the same."""
    steps = min(len(before), len(after))
    changed = (before[:steps] != after[:steps]).reshape(steps, -1).any(1)
    return int(changed.argmax()) if changed.any() else steps


def is_causal(network: Any, activations: Activations) -> bool:
    """Whether the states of the one row at a step are all that later steps depend on."""
    return (
        getattr(network, "patch", None) is None
        and getattr(network, "pool", None) is None
        and len({layer.name.rpartition(".")[0] for layer in activations}) == 1
        and not any(layer.is_backward for layer in activations)
        and all(len(layer.states) == len(layer.trace.states) for layer in activations)
        and activations.outputs is not None
        and activations.batch == 1
    )


def _state(network: Any, activations: Activations, step: int) -> Any:
    """The state of the network after a step: for each state of the cell (levels, 1, units)."""
    like: Tensor = next(network.parameters())
    layers = list(activations)
    states = tuple(
        torch.as_tensor(np.stack([layer.states[name][step] for layer in layers])).to(like) for name in layers[0].states
    )
    return states[0] if len(states) == 1 else states


def _extended(before: Activations, kept: int, after: Activations | None, inputs: NetworkInputs) -> Activations:
    """The first steps of what was read before, and what follows them, if anything does."""
    assert before.outputs is not None, "only a model with outputs is read in parts"

    def joined(own: Any, other: Any) -> Any:
        return own[:kept] if other is None else np.concatenate([own[:kept], other])

    layers: dict[str, LayerActivations] = {}
    for name, layer in before.layers.items():
        more = None if after is None else after.layers[name]
        layers[name] = replace(
            layer,
            inputs=joined(layer.inputs, more and more.inputs),
            gates={gate: joined(values, more and more.gates[gate]) for gate, values in layer.gates.items()},
            states={state: joined(values, more and more.states[state]) for state, values in layer.states.items()},
            lengths=inputs.lengths,
        )
    outputs = joined(before.outputs, after and after.outputs)
    return replace(before, layers=layers, outputs=outputs, lengths=inputs.lengths, symbols=inputs.symbols)
