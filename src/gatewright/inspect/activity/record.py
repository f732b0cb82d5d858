"""`record`: run a torch model once and keep the gates and states of its recurrent layers. The model is not changed."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from gatewright.errors import OptionError
from gatewright.inspect.activity.activations import Activations, Array, LayerActivations
from gatewright.nn import GRU, LSTM, RNN, QuantizedRecurrent, Recurrent
from gatewright.nn.derived_layers import layer_of
from gatewright.nn.records import twin_of
from gatewright.trace import Trace
from gatewright.trace.ir import Var

_DROP_INS: Mapping[type[nn.RNNBase], Any] = {nn.RNN: RNN, nn.GRU: GRU, nn.LSTM: LSTM}
RECURRENT_LAYERS = (Recurrent, *_DROP_INS)
"""What is recorded: our layers, and those of torch.nn."""
_STATE = "state "  # before the name of a state among the gates: no name in an equation has a space


@dataclass
class _Calls:
    """The arguments of the calls of one layer."""

    layer: nn.Module
    arguments: list[tuple[tuple[Any, ...], dict[str, Any]]] = field(default_factory=list[Any])


def record(
    model: nn.Module,
    *inputs: Any,
    lengths: Sequence[int] | Tensor | None = None,
    symbols: Sequence[Sequence[str]] | None = None,
    series: Array | None = None,
    labels: Sequence[str] | None = None,
    **options: Any,
) -> Activations:
    """Run `model(*inputs, **options)` in evaluation mode, and give out what its recurrent layers did.

        activations = gw.inspect.record(model, torch.randint(100, (50, 1)))
        activations.layer("1.l0").gates["z"]          # (time, batch, units)

    - `model`: any module with layers of gatewright.nn or torch.nn (RNN, GRU, LSTM and their subclasses), or such a
      layer. Its parameters, its mode, its hooks and its random numbers stay as they are.
    - `lengths` (batch,): the steps of each row, where the layers get padded rows without their lengths. Rows that the
      layers get as `lengths` or as a PackedSequence end there in any case.
    - `symbols`, `series`, `labels`: what the result names its steps and outputs by.

    A layer that is called several times, a step at a time for instance, is recorded over all of its calls. Raises
    OptionError where no recurrent layer ran, or where calls of one layer have different numbers of rows.
    """
    with _observed(model) as calls, torch.no_grad():
        result = model(*inputs, **options)
    layers: dict[str, LayerActivations] = {}
    ends = np.zeros(0, np.int64)
    for path, called in calls.items():
        if called.arguments:
            found, own_lengths = _replayed(path, called, lengths)
            layers |= found
            ends = own_lengths if not ends.size else np.maximum(ends, own_lengths)
    if not layers:
        raise OptionError(
            f"no recurrent layer ran in the {type(model).__name__}",
            expected="a model with torch.nn's or gatewright.nn's RNN, GRU, LSTM or Recurrent",
        )
    return Activations(layers, ends, symbols, series, _outputs(result), labels)


@contextmanager
def _observed(model: nn.Module) -> Generator[dict[str, _Calls]]:
    """Evaluation mode, with hooks that keep the arguments of every recurrent layer; afterwards all is as before."""
    calls: dict[str, _Calls] = {}
    handles: list[Any] = []
    modes = {module: module.training for module in model.modules()}

    def keep(path: str) -> Any:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            calls[path].arguments.append((args, kwargs))

        return hook

    generator = torch.get_rng_state()
    try:
        for path, module in model.named_modules():
            if isinstance(module, RECURRENT_LAYERS):
                calls[path] = _Calls(module)
                handles.append(module.register_forward_pre_hook(keep(path), with_kwargs=True))
        model.eval()
        yield calls
    finally:
        for handle in handles:
            handle.remove()
        for module, mode in modes.items():
            module.training = mode
        torch.set_rng_state(generator)


def _replayed(
    path: str, called: _Calls, lengths: Sequence[int] | Tensor | None
) -> tuple[dict[str, LayerActivations], "np.ndarray[Any, Any]"]:
    """The calls of one layer once more, with gates and states; one after the other where there are several."""
    layer = with_states(called.layer)
    parts: list[dict[str, Tensor]] = []
    ends: list[Tensor] = []
    for args, kwargs in called.arguments:
        values, own = _call(layer, args, kwargs, lengths if len(called.arguments) == 1 else None)
        parts.append(values)
        ends.append(own)
    if len({len(own) for own in ends}) > 1:
        raise OptionError(f"layer {path!r} was called with batches of different sizes", do="record one batch at a time")
    values = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    end = ends[0] if len(ends) == 1 else torch.stack(ends).sum(0)
    arrays = {name: tensor.detach().cpu().numpy() for name, tensor in values.items()}
    return _by_direction(path, layer, arrays), end.numpy()


def with_states(layer: nn.Module) -> Recurrent:
    """A layer with the same parameters whose gates have the states of every step among them."""
    own = engine_layer(layer)
    # A quantised layer has no parameters of its own, and a twin of the dequantised ones rounds to the same numbers.
    tensors = layer.dequantize() if isinstance(layer, QuantizedRecurrent) else layer
    return twin_of(own, _with_states(own.trace), own.layout, tensors, device="meta")


def engine_layer(layer: nn.Module) -> Recurrent:
    """The layer itself where it is one of ours, else one of ours with its options and equations, without its values."""
    running = layer_of(layer)
    return running if isinstance(running, Recurrent) else _drop_in(cast("nn.RNNBase", layer))


def _with_states(trace: Trace) -> Trace:
    states = tuple((_STATE + state.name, after) for state, after in trace.updates() if isinstance(after, Var))
    return replace(trace, gates=(*trace.gates, *states))


def _drop_in(layer: nn.RNNBase) -> Recurrent:
    """A layer of ours with the options of one of torch.nn's; its own parameters are not those of the layer."""
    kind = next(ours for theirs, ours in _DROP_INS.items() if isinstance(layer, theirs))
    options: dict[str, Any] = {"num_layers": layer.num_layers, "bias": layer.bias, "batch_first": layer.batch_first}
    options |= {"bidirectional": layer.bidirectional, "device": "meta"}
    if isinstance(layer, nn.RNN):
        options["nonlinearity"] = layer.nonlinearity
    if isinstance(layer, nn.LSTM):
        options["proj_size"] = layer.proj_size
    return kind(layer.input_size, layer.hidden_size, **options)


def _call(
    layer: Recurrent, args: tuple[Any, ...], kwargs: dict[str, Any], lengths: Sequence[int] | Tensor | None
) -> tuple[dict[str, Tensor], Tensor]:
    """Inputs, gates and states of one call, (time, batch, size), and the steps of its rows."""
    input, others = (args[0], args[1:]) if args else (kwargs["input"], ())
    options = {name: value for name, value in kwargs.items() if name not in ("input", "return_gates")}
    if isinstance(input, PackedSequence):
        values, lengths = pad_packed_sequence(input)
        layer.batch_first = False
    else:
        values = input
        if values.dim() == 2:
            values = values.unsqueeze(0 if layer.batch_first else 1)
            others = tuple(_with_row(states) for states in others)
            options = {name: _with_row(value) if name == "hx" else value for name, value in options.items()}
    if lengths is not None:
        options["lengths"] = torch.as_tensor(lengths)
    with torch.no_grad():
        output, _, gates = layer(values, *others, **options, return_gates=True)
    first = (lambda tensor: tensor.transpose(0, 1)) if layer.batch_first else (lambda tensor: tensor)
    steps, batch = first(values).shape[:2]
    ends = options.get("lengths")
    own = torch.full((batch,), steps) if ends is None else torch.as_tensor(ends).cpu().long()
    outside = torch.arange(steps)[:, None, None] >= own[:, None]
    arrays = {"input": first(values), "output": first(output)} | {name: first(gate) for name, gate in gates.items()}
    return {name: _readable(tensor).masked_fill(outside, torch.nan) for name, tensor in arrays.items()}, own


def _readable(tensor: Tensor) -> Tensor:
    """A tensor that NumPy can hold: on the CPU, in float32 where it has fewer bits."""
    return tensor.cpu() if tensor.dtype == torch.float64 else tensor.float().cpu()


def _with_row(states: Any) -> Any:
    """States of a call without the axis of rows, with one row."""
    if states is None:
        return None
    return states.unsqueeze(1) if isinstance(states, Tensor) else tuple(state.unsqueeze(1) for state in states)


def _by_direction(path: str, layer: Recurrent, values: Mapping[str, Any]) -> dict[str, LayerActivations]:
    """One record for each direction of each level."""
    found: dict[str, LayerActivations] = {}
    directions = layer.directions()
    below = values["input"]
    gate_names = [name for name, _ in layer.trace.gates]
    for level, suffix in directions:
        prefix = f"l{level}{suffix}." if len(directions) > 1 else ""
        own = {name: values[prefix + name] for name in gate_names}
        name = ".".join(filter(None, (path, f"l{level}{suffix}")))
        states = {name.removeprefix(_STATE): value for name, value in own.items() if name.startswith(_STATE)}
        gates = {name: value for name, value in own.items() if not name.startswith(_STATE)}
        trace = replace(layer.trace, gates=tuple(gate for gate in layer.trace.gates if gate[0] in gates))
        found[name] = LayerActivations(name, trace, below if not level else np.empty(0), gates, states)
    return _with_inputs(found, layer, path)


def _with_inputs(found: dict[str, LayerActivations], layer: Recurrent, path: str) -> dict[str, LayerActivations]:
    """The inputs of the upper levels: the outputs of all directions of the level below."""
    for level in range(1, layer.num_layers):
        suffixes = ("", "_reverse") if layer.bidirectional else ("",)
        below = [found[".".join(filter(None, (path, f"l{level - 1}{suffix}")))] for suffix in suffixes]
        inputs = np.concatenate([next(iter(activity.states.values())) for activity in below], -1)
        for suffix in suffixes:
            name = ".".join(filter(None, (path, f"l{level}{suffix}")))
            found[name] = replace(found[name], inputs=inputs)
    return found


def _outputs(result: Any) -> Array | None:
    """What a model gives, where it is a tensor, or a tuple with one first."""
    first = result[0] if isinstance(result, (tuple, list)) and result else result
    return first.detach().float().cpu().numpy() if isinstance(first, Tensor) else None
