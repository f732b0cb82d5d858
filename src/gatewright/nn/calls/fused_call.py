"""A call of a layer that torch's fused function runs: for what the compiled engine cannot, on CUDA above all."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch._C._functorch import maybe_current_level  # pyright: ignore[reportMissingImports, reportPrivateUsage]
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from gatewright.nn.backends import Plan, is_derived_by_transform
from gatewright.nn.calls.arguments import Given
from gatewright.nn.calls.levels import LayerResults, run_levels
from gatewright.nn.calls.second_derivatives import TwoWays
from gatewright.nn.engine.ragged import Ragged
from gatewright.nn.sequence import order_states, repack, unpack
from gatewright.nn.torch_fused import Fused, Results, fused_of, run_fused

if TYPE_CHECKING:
    from gatewright.nn.recurrent import Recurrent


def fused_or_reason(layer: "Recurrent", *, mask: bool = False, gates: bool = False, empty: bool = False) -> Fused | str:
    """Torch's function for a call of a layer, or why there is none."""
    if mask or gates:
        return "it knows no masks" if mask else "it does not give out gates"
    if empty:
        return "it takes at least one step of one row"
    if is_derived_by_transform() if torch.compiler.is_compiling() else maybe_current_level() is not None:
        return "torch.func is at work"
    if torch.jit.is_tracing():  # lengths would be those of the example; `recorded` serves the calls without
        return "torch.jit.trace is recording the operations"
    if layer.training and layer.dropout_per != "step" and layer.dropout:
        return "it draws dropout anew for every step"
    fused = fused_of(layer)
    if fused is None:
        return "the equations are not those of torch.nn's RNN, GRU or LSTM"
    if fused.name == "lstm" and torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.float16:
        return "torch.lstm does not run under autocast to float16 on the CPU"
    return fused


def run_whole(layer: "Recurrent", fused: Fused, given: Given, packed: Sequence[Sequence[Tensor]]) -> LayerResults:
    """Run all levels and directions of a layer at once; `packed` are the parameters of every direction."""
    if torch.compiler.is_compiling():  # the graph holds torch's function itself, not the autograd function around it
        return LayerResults(*_run(layer, fused, given, packed), {})
    states = given.states or (None,) * len(layer.trace.states)

    def split(tensors: Sequence[Any]) -> tuple[Given, list[list[Tensor]]]:
        values, *rest = tensors
        starts, parameters = tuple(rest[: len(states)]), iter(rest[len(states) :])
        again = replace(given, values=values, states=starts if given.states else None)
        return again, [[next(parameters) for _ in own] for own in packed]

    def run(tensors: Sequence[Tensor | None]) -> tuple[Tensor, ...]:
        return _flat(_run(layer, fused, *split(tensors)))

    def run_again(tensors: Sequence[Tensor | None]) -> tuple[Tensor, ...]:
        return _flat(_run_operations(layer, *split(tensors)))

    tensors = (given.values, *states, *(tensor for own in packed for tensor in own))
    output, *finals = TwoWays(run, run_again, _randomness(layer))(tensors)
    return LayerResults(output, tuple(finals), {})


def _flat(results: LayerResults | Results) -> tuple[Tensor, ...]:
    output, finals = results if isinstance(results, tuple) else (results.output, results.finals)
    return (output, *finals)


def _randomness(layer: "Recurrent") -> str | None:
    """Why a call cannot be repeated with the same numbers."""
    random = layer.training and layer.dropout and layer.num_layers > 1
    return "dropout between its levels, whose masks torch's function keeps to itself" if random else None


def _run(layer: "Recurrent", fused: Fused, given: Given, packed: Sequence[Sequence[Tensor]]) -> Results:
    values, starts = given.values, given.states
    if given.packed is not None:
        _, sizes, order, order_back = given.packed
        starts = starts and tuple(order_states(state, order) for state in starts)
        output, finals = run_fused(fused, layer, values, starts, packed=packed, batch_sizes=sizes)
        return output, tuple(order_states(state, order_back) for state in finals)
    if given.ragged is None or given.ragged.is_whole:
        return run_fused(fused, layer, values, starts, packed=packed)
    return _run_ragged(layer, fused, given, packed, given.ragged)


def _run_ragged(
    layer: "Recurrent", fused: Fused, given: Given, packed: Sequence[Sequence[Tensor]], ragged: Ragged
) -> Results:
    """Rows that end early, as a PackedSequence. That has no rows without steps: they take a step that is undone."""
    values, lengths = given.values, ragged.lengths.cpu()
    is_idle = bool((lengths == 0).any())
    values = ragged.fill_padding(values) if is_idle else values
    sequence = pack_padded_sequence(values, lengths.clamp(min=1), enforce_sorted=False)
    inner = replace(given, values=sequence.data, packed=sequence, ragged=None)
    output, finals = _run(layer, fused, inner, packed)
    sequence = PackedSequence(output, sequence.batch_sizes, sequence.sorted_indices, sequence.unsorted_indices)
    output, _ = pad_packed_sequence(sequence, total_length=ragged.steps)
    if not is_idle:
        return output, finals
    moved = (ragged.lengths > 0)[:, None]
    starts = given.states or (torch.zeros((), dtype=values.dtype, device=values.device),) * len(finals)
    ends = tuple(torch.where(moved, final, start) for final, start in zip(finals, starts, strict=True))
    return ragged.fill_padding(output), ends


def _run_operations(layer: "Recurrent", given: Given, packed: Sequence[Sequence[Tensor]]) -> LayerResults:
    """The same operation by operation, whose gradient can be differentiated."""
    plan = Plan("torch", "the gradient is differentiated")
    if given.packed is None:
        return run_levels(layer, plan, given, packed)
    values, lengths = unpack(PackedSequence(given.values, *given.packed[1:]))
    ragged = Ragged(lengths.to(values.device), values.shape[0])
    results = run_levels(layer, plan, replace(given, values=values, ragged=ragged), packed)
    return replace(results, output=repack(results.output, given.packed).data)
