"""Calls that are recorded: by torch.jit.trace, by torch.fx, by objects with `__torch_function__`.

torch.fx records a layer as one node, like a layer of torch.nn. If torch has a fused function for the equations,
torch.jit.trace and objects with `__torch_function__` record that function: a file then holds what the file of
torch.nn's layer would hold, and runs without Gatewright.
"""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Proxy
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence
from torch.overrides import has_torch_function_unary  # pyright: ignore[reportUnknownVariableType]

from gatewright.errors import GatewrightError
from gatewright.nn.calls.arguments import check_input, read_arguments
from gatewright.nn.graphs.looped import unrecorded
from gatewright.nn.layer_interface import LayerInterface
from gatewright.nn.torch_fused import Fused, fused_of, run_fused

States = Tensor | tuple[Tensor, ...]


def record_call(layer: LayerInterface, input: Any, hx: Any, options: Mapping[str, Any]) -> Any | None:
    """The results of a call that is being recorded. None if nothing records it, or if torch.compile or torch.export do:
    these record the operations themselves.

    `options` are the keyword arguments of the call. Raises GatewrightError where torch.fx cannot record it.
    """
    proxy = next((value for value in (input, *_states(hx), *options.values()) if isinstance(value, Proxy)), None)
    if proxy is not None:
        return _record_leaf(layer, proxy, (input, hx), options)
    plain = all(option is None or option is False for option in options.values())
    if not isinstance(input, Tensor | PackedSequence):
        fused = fused_of(layer) if plain and has_torch_function_unary(input) else None
        return _run_dense(fused, layer, input, hx) if fused else None
    return _trace(layer, input, hx, options, plain=plain) if torch.jit.is_tracing() else None


def _trace(
    layer: LayerInterface, input: Tensor | PackedSequence, hx: Any, options: Mapping[str, Any], *, plain: bool
) -> Any:
    """Run a call so that what torch.jit.trace records serves any number of steps and rows."""
    with unrecorded():
        check_input(layer, input.data if isinstance(input, PackedSequence) else input)
        read_arguments(layer, input, hx, options["lengths"], options["mask"], options["resets"])
    fused = _fused_for_trace(layer, input) if plain else None
    if fused and isinstance(input, PackedSequence):
        data, finals = run_fused(fused, layer, input.data, None if hx is None else _states(hx), like=input)
        return PackedSequence(data, *input[1:]), _as_called(finals)
    if fused and isinstance(input, Tensor):
        return _run_dense(fused, layer, input, hx)
    with warnings.catch_warnings():
        # Sizes are tensors here. Comparing them warns, but read_arguments above has compared them already.
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        if isinstance(input, PackedSequence):
            return _run_padded(layer, input, hx, options)
        return layer.run_generic(input, hx, **options)


def _fused_for_trace(layer: LayerInterface, input: Tensor | PackedSequence) -> Fused | None:
    """Torch's fused function if a trace is to hold it: not if another backend was asked for by name.

    A trace that becomes an ONNX file holds it if ONNX Runtime has an operator for it, in float32 without a projection.
    """
    if not torch.onnx.is_in_onnx_export():
        return fused_of(layer) if layer.backend in {"auto", "torch-fused"} else None
    values = input.data if isinstance(input, PackedSequence) else input
    fused = fused_of(layer) if values.dtype == torch.float32 else None
    return None if fused and fused.projection else fused


def _run_padded(layer: LayerInterface, input: PackedSequence, hx: Any, options: Mapping[str, Any]) -> tuple[Any, ...]:
    """A PackedSequence as a padded sequence with lengths, and back."""
    values, lengths = pad_packed_sequence(input, batch_first=layer.batch_first)
    output, *others = layer.run_generic(values, hx, **{**options, "lengths": lengths})
    if input.sorted_indices is not None:
        output = output.index_select(0 if layer.batch_first else 1, input.sorted_indices)
        lengths = lengths[input.sorted_indices]
    data = pack_padded_sequence(output, lengths, batch_first=layer.batch_first).data
    return PackedSequence(data, input.batch_sizes, input.sorted_indices, input.unsorted_indices), *others


def no_script(layer: nn.Module, cell: str) -> GatewrightError:
    """The error of torch.jit.script, which cannot compile a layer or cell."""
    return GatewrightError(
        f"torch.jit.script cannot compile the layer {type(layer).__name__}({cell})",
        expected="torch.jit.trace, which records a layer for any number of steps and rows",
        got="torch.jit.script",
        do="call torch.jit.trace(model, inputs), or undo accelerate before scripting: report.undo()",
    )


def no_packed_export(layer: LayerInterface) -> GatewrightError:
    """The error of torch.export, which cannot record a call with a PackedSequence."""
    return GatewrightError(
        f"torch.export cannot record the layer {type(layer).__name__}({layer.trace.name}) with a PackedSequence",
        expected="a padded sequence and its lengths",
        got="a PackedSequence, whose shape depends on the values of the lengths",
        do="call the layer in the model with a padded sequence: layer(x, lengths=lengths)",
    )


def _states(hx: Any) -> tuple[Any, ...]:
    return tuple(hx) if isinstance(hx, tuple | list) else (hx,)


def _record_leaf(layer: LayerInterface, proxy: Proxy, args: tuple[Any, ...], options: Mapping[str, Any]) -> Proxy:
    """A node in the graph of torch.fx that calls the layer."""
    tracer: Any = proxy.tracer
    name = tracer.path_of_module(layer) if hasattr(tracer, "path_of_module") else ""
    hooks = layer._forward_hooks or layer._forward_pre_hooks  # pyright: ignore[reportPrivateUsage]
    if hooks or not name:
        raise GatewrightError(
            f"torch.fx cannot record the layer {type(layer).__name__}({layer.trace.name})",
            expected="a layer within a module, without forward hooks, which would be recorded and run again",
            got=f"forward hooks on {name!r}" if hooks else "the layer by itself",
            do="remove the hooks before tracing" if hooks else "put it into a module: torch.nn.Sequential(layer)",
        )
    kwargs = {name: value for name, value in options.items() if value is not None and value is not False}
    return proxy.tracer.create_proxy("call_module", name, args if args[1] is not None else args[:1], kwargs)


def _run_dense(fused: Fused, layer: LayerInterface, input: Tensor, hx: Any) -> tuple[Tensor, States]:
    """A dense sequence, with a batch axis or without, by torch's function."""
    batched = input.dim() == 3
    values = input if batched else input.unsqueeze(0 if layer.batch_first else 1)
    states = None if hx is None else [state if batched else state.unsqueeze(1) for state in _states(hx)]
    output, finals = run_fused(fused, layer, values, states, batch_first=layer.batch_first)
    if not batched:
        output, finals = output.squeeze(0 if layer.batch_first else 1), tuple(final.squeeze(1) for final in finals)
    return output, _as_called(finals)


def _as_called(finals: Sequence[Tensor]) -> States:
    """The final states as a layer returns them: a single one without a tuple."""
    return finals[0] if len(finals) == 1 else tuple(finals)
