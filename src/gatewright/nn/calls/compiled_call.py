"""Fast path of `Recurrent.forward`: padded sequences on the engine, run as they are called.

Everything but the numbers is looked up: the operation of a direction by what is asked of it, and the plan of an
operation by its extent. `run_in_full` serves every call, and raises the errors for those that do not fit.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch._C._functorch import maybe_current_level  # pyright: ignore[reportMissingImports, reportPrivateUsage]

from gatewright.nn.dropout import drop
from gatewright.nn.engine.operation import SequenceOperation
from gatewright.nn.engine.ragged import Ragged
from gatewright.nn.engine.sequence_function import run
from gatewright.nn.packed_cell import Asked
from gatewright.nn.sequence import row_lengths

if TYPE_CHECKING:
    from gatewright.nn.recurrent import Recurrent

_ENGINE = ("auto", "llvm")  # the backends by which the engine may run
_Directions = list[tuple[SequenceOperation, list[Tensor]]]
Results = tuple[Tensor, tuple[Tensor, ...], dict[str, Tensor]]
"""The output, every final state (num_layers * num_directions, batch, size), and the gates that were asked for."""


def compiled_call(
    layer: "Recurrent",
    input: Tensor,
    hx: Tensor | Sequence[Tensor] | None,
    lengths: Tensor | Sequence[int] | None,
    gates: bool,
) -> Results | None:
    """The results of a call without a mask. None where it has to be looked at more closely, as the first one of its
    kind has."""
    if type(input) is not Tensor or input.dim() != 3 or not input.is_cpu or _is_observed():
        return None
    if input.shape[-1] != layer.input_size or layer.backend not in _ENGINE or (layer.training and layer.trace.noises):
        return None
    directions = _directions(layer, (True, False, gates), input.dtype)
    values = input.transpose(0, 1) if layer.batch_first else input
    steps, batch = values.shape[:2]
    starts = _starts(layer, hx, values)
    if directions is None or starts is None or not steps * batch:
        return None
    ragged = None
    if lengths is not None:  # a copy, since the gradient reads them again
        ragged = Ragged(row_lengths(lengths, steps=steps, batch=batch).clone(), steps)
        ragged = None if ragged.is_whole else ragged
    results = _run(layer, directions, values, starts, ragged)
    across = 1 + len(layer.trace.states)
    if len(results) == 1:
        output, finals = results[0][0], results[0][1:across]
    else:
        output = _joined(results[-2:] if layer.bidirectional else results[-1:])
        finals = tuple([torch.cat([result[number] for result in results]) for number in range(1, across)])
    named = _named_gates(layer, results) if gates else {}
    if layer.batch_first:
        output, named = output.transpose(0, 1), {name: gate.transpose(0, 1) for name, gate in named.items()}
    return output, finals, named


def _is_observed() -> bool:
    """Whether somebody wants to see operations: a graph, a recorder, a transform, a mode, autocast, forward mode."""
    return (
        torch.compiler.is_compiling()
        or torch.jit.is_tracing()
        or maybe_current_level() is not None
        or torch.is_autocast_enabled("cpu")
        or torch._C._len_torch_dispatch_stack() > 0  # pyright: ignore[reportPrivateUsage]
        or torch.autograd.forward_ad._current_level >= 0  # pyright: ignore[reportPrivateUsage]
    )


def _directions(layer: "Recurrent", asked: Asked, dtype: torch.dtype) -> _Directions | None:
    """For every direction of every layer what runs it, and its parameters as they are now."""
    found: _Directions = []
    for index, cell in enumerate(layer.packed_cells):
        operation, packed = cell.made.get(("operation", asked, dtype)), layer.packed_parameters(index)
        if operation is None or len(operation.inputs) > 1 or not operation.takes(packed):
            return None
        found.append((operation, packed))
    return found


def _starts(
    layer: "Recurrent", hx: Tensor | Sequence[Tensor] | None, values: Tensor
) -> Sequence[Sequence[Tensor | None]] | None:
    """The initial states of every direction of every layer, or None where they do not fit."""
    states, count = layer.trace.states, len(layer.packed_cells)
    if hx is None:
        return [(None,) * len(states)] * count
    given = [hx] if isinstance(hx, Tensor) else list(hx)
    if len(given) != len(states):
        return None
    for one, shape in zip(given, layer.state_shapes, strict=True):
        fits = isinstance(one, Tensor) and one.is_cpu and one.dtype is values.dtype  # pyright: ignore[reportUnnecessaryIsInstance]
        if not fits or one.shape != (count, values.shape[1], *shape):
            return None
    return [[whole[index] for whole in given] for index in range(count)]


def _run(
    layer: "Recurrent",
    directions: _Directions,
    values: Tensor,
    starts: Sequence[Sequence[Tensor | None]],
    ragged: Ragged | None,
) -> list[tuple[Tensor, ...]]:
    """The results of every direction of every layer."""
    count = 2 if layer.bidirectional else 1
    results: list[tuple[Tensor, ...]] = []
    for index, ((operation, packed), start) in enumerate(zip(directions, starts, strict=True)):
        if index and index % count == 0:
            values = _joined(results[-count:])
            if layer.dropout:
                values = drop(values, layer.dropout, layer.training, layer.dropout_per)
        results.append(run(operation, (values, *packed, *start), ragged))
    return results


def _joined(results: Sequence[Sequence[Tensor]]) -> Tensor:
    """The output of a layer: those of its directions beside each other."""
    return results[0][0] if len(results) == 1 else torch.cat([result[0] for result in results], -1)


def _named_gates(layer: "Recurrent", results: Sequence[Sequence[Tensor]]) -> dict[str, Tensor]:
    """Every gate of every direction by its name."""
    named: dict[str, Tensor] = {}
    for cell, (level, suffix), result in zip(layer.packed_cells, layer.directions(), results, strict=True):
        prefix = f"l{level}{suffix}." if len(results) > 1 else ""
        gates = cell.named_gates(result[1 + len(layer.trace.states) :])
        named |= {prefix + name: gate for name, gate in gates.items()}
    return named
