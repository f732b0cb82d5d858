"""A call of a layer that torch's fused function runs: for what the compiled engine cannot, on CUDA above all."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, invert_permutation, pack_padded_sequence, pad_packed_sequence

from gatewright.backends.triton.chips import OnChip
from gatewright.nn.backends import differentiable_backend
from gatewright.nn.calls.arguments import CallArguments
from gatewright.nn.calls.layer_call import LayerResults, call_generic
from gatewright.nn.calls.second_derivatives import TwiceDifferentiable
from gatewright.nn.host_copies import copied_to
from gatewright.nn.layer_interface import LayerInterface
from gatewright.nn.modes import is_derived_by_transform, is_transformed
from gatewright.nn.precision import Precision, products_beyond_torch
from gatewright.nn.sequence import RaggedRows, order_states, repack, unpack
from gatewright.nn.torch_fused import Fused, Results, fused_of, run_fused


def fused_or_reason(
    layer: LayerInterface,
    like: Tensor | OnChip,
    *,
    mask: bool = False,
    gates: bool = False,
    resets: bool = False,
    empty: bool = False,
    unread_lengths: bool = False,
) -> Fused | str:
    """Torch's function for a call of a layer on tensors such as `like`, or why there is none.

    `unread_lengths`: there are lengths, and a graph or FakeTensorMode does not know their values.
    """
    obstacles = {
        "it knows no masks": mask,
        "it knows no resets": resets,
        "it does not give out gates": gates,
        "it takes at least one step of one row": empty,
        "it needs the values of lengths, which a graph does not know": unread_lengths,
    }
    for reason, applies in obstacles.items():
        if applies:
            return reason
    if is_derived_by_transform() if torch.compiler.is_compiling() else is_transformed():
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
    if layer.checkpoint and like.device.type == "cuda" and torch.is_grad_enabled():
        return "it computes no saved values again, as checkpoint= asks"
    products = products_beyond_torch(layer, like)
    return f"it has no products in {products}" if products else fused


def call_fused(
    layer: LayerInterface,
    fused: Fused,
    arguments: CallArguments,
    packed: Sequence[Sequence[Tensor]],
    precision: Precision | str,
) -> LayerResults:
    """Run all levels and directions of a layer by torch's function; `packed` are the parameters of every direction.

    A gradient that is differentiated itself is computed in `precision` by Triton's kernels, where those can run.
    """
    if torch.compiler.is_compiling():  # the graph holds torch's function itself, not the autograd function around it
        return LayerResults(*_run(layer, fused, arguments, packed), {})
    states = arguments.states or (None,) * len(layer.trace.states)

    def split(tensors: Sequence[Any]) -> tuple[CallArguments, list[list[Tensor]]]:
        values, *others = tensors
        initial, parameters = tuple(others[: len(states)]), iter(others[len(states) :])
        changed = replace(arguments, values=values, states=initial if arguments.states else None)
        return changed, [[next(parameters) for _ in direction] for direction in packed]

    def run(tensors: Sequence[Tensor | None]) -> tuple[Tensor, ...]:
        output, finals = _run(layer, fused, *split(tensors))
        return (output, *finals)

    def run_operations(tensors: Sequence[Tensor | None]) -> tuple[Tensor, ...]:
        results = _run_differentiably(layer, *split(tensors), precision)
        return (results.output, *results.finals)

    tensors = (arguments.values, *states, *(tensor for direction in packed for tensor in direction))
    is_random = layer.training and layer.dropout and layer.num_layers > 1
    obstacle = "dropout between its levels, whose masks torch's function keeps to itself" if is_random else None
    output, *finals = TwiceDifferentiable(run, run_operations, obstacle)(tensors)
    return LayerResults(output, tuple(finals), {})


def _run(layer: LayerInterface, fused: Fused, arguments: CallArguments, packed: Sequence[Sequence[Tensor]]) -> Results:
    values, states, ragged = arguments.values, arguments.states, arguments.ragged
    if ragged is None or ragged.is_whole:
        return run_fused(fused, layer, values, states, packed=packed, like=arguments.packed)
    # a PackedSequence has no rows without steps: they take one step, which is undone afterwards
    lengths = ragged.on_host
    has_idle_rows = bool((lengths == 0).any())
    values = ragged.fill_padding(values) if has_idle_rows else values
    sequence = _packed(values, lengths.clamp(min=1))
    data, finals = run_fused(fused, layer, sequence.data, states, packed=packed, like=sequence)
    in_order, _ = pad_packed_sequence(PackedSequence(data, sequence.batch_sizes), total_length=ragged.steps)
    output = order_states(in_order, sequence.unsorted_indices)
    if not has_idle_rows:
        return output, finals
    is_taken = (ragged.lengths > 0)[:, None]
    initial = states or (values.new_zeros(()),) * len(finals)
    ends = tuple(torch.where(is_taken, final, state) for final, state in zip(finals, initial, strict=True))
    return ragged.fill_padding(output), ends


def _packed(values: Tensor, lengths: Tensor) -> PackedSequence:
    """A batch packed by lengths on the CPU. torch's own function waits for a GPU to have the order of the rows."""
    order = lengths.argsort(descending=True, stable=True)
    on_device = copied_to(order, values.device)
    packed = pack_padded_sequence(values.index_select(1, on_device), lengths[order])
    unsorted = invert_permutation(on_device)
    return PackedSequence(packed.data, packed.batch_sizes, on_device, unsorted)


def _run_differentiably(
    layer: LayerInterface, arguments: CallArguments, packed: Sequence[Sequence[Tensor]], precision: Precision | str
) -> LayerResults:
    """The same by Triton's kernels, or operation by operation: that gradient can be differentiated."""
    backend = differentiable_backend(layer.trace, arguments.values, precision)
    computed = precision if backend == "triton" and not isinstance(precision, str) else None
    if arguments.packed is None:
        return call_generic(layer, backend, arguments, packed, precision=computed)
    values, lengths = unpack(PackedSequence(arguments.values, *arguments.packed[1:]))
    ragged = RaggedRows.on(lengths, values.shape[0], values.device)
    padded = replace(arguments, values=values, ragged=ragged)
    results = call_generic(layer, backend, padded, packed, precision=computed)
    return results._replace(output=repack(results.output, arguments.packed).data)
