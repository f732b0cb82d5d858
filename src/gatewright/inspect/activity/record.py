"""`record`: run a torch model once and keep the gates and states of its recurrent layers. The model is not changed."""

import warnings
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from gatewright.errors import OptionError, ShapeError
from gatewright.inspect.activity.activations import Activations, Array, LayerActivations
from gatewright.inspect.activity.names import check_names
from gatewright.inspect.activity.outputs import axis_of_rows, outputs_with_time_first
from gatewright.inspect.activity.unchanged import unchanged
from gatewright.nn import GRU, LSTM, RNN, QuantizedRecurrent, Recurrent
from gatewright.nn.derived_layers import layer_of
from gatewright.nn.records import twin_of
from gatewright.trace import Trace
from gatewright.trace.ir import Var

_DROP_INS: Mapping[type[nn.RNNBase], Any] = {nn.RNN: RNN, nn.GRU: GRU, nn.LSTM: LSTM}
RECURRENT_LAYERS = (Recurrent, *_DROP_INS)
"""What is recorded: our layers, and those of torch.nn."""
_OPTIONS = ("hx", "lengths", "mask", "return_gates", "resets")  # of our layers, after their input; torch.nn's have hx
_CLOSE = 1e-2  # above rounding in bfloat16, also where a long sequence amplifies it
_STATE = "state "  # before the name of a state among the gates: no name in an equation has a space


@dataclass
class _Calls:
    """The calls of one layer."""

    layer: nn.Module
    arguments: list[tuple[tuple[Any, ...], dict[str, Any]]] = field(default_factory=list[Any])
    results: list[Any] = field(default_factory=list[Any])  # of a layer with a forward of its own


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
      layer. Its parameters, buffers, attributes, mode and hooks stay as they are, and so do random numbers.
    - `lengths` (batch,): the steps of each row, where the layers get padded rows without their lengths. What a layer
      did after them is left out; a backward direction has read it all the same. Rows that the layers get as
      `lengths` or as a PackedSequence end there in any case.
    - `symbols`, `series`, `labels`: what the result names its steps and outputs by.

    A layer that is called several times, a step at a time for instance, is recorded over all of its calls. Raises
    OptionError where no recurrent layer ran, where calls of one layer have different numbers of rows, or where there is
    not one of `lengths` for each row, or where symbols or labels do not fit; ShapeError where `series` does not.
    """
    if not isinstance(model, nn.Module):  # pyright: ignore[reportUnnecessaryIsInstance] (the folder of a run, often)
        raise OptionError(f"a {type(model).__name__} is no torch module", do="read a run with observe")
    inputs = tuple(as_read_by(model, value) if isinstance(value, np.ndarray) else value for value in inputs)
    with _observed(model) as calls, torch.no_grad():
        result = model(*inputs, **options)
    layers = {name: layer for path, called in calls.items() for name, layer in _replayed(path, called, lengths).items()}
    if not layers:
        raise OptionError(
            f"no recurrent layer ran in the {type(model).__name__}",
            expected="a model with torch.nn's or gatewright.nn's RNN, GRU, LSTM or Recurrent",
        )
    ends = _row_lengths(list(layers.values()))
    steps = max(len(layer.inputs) for layer in layers.values() if len(layer.lengths) == len(ends))
    outputs = outputs_with_time_first(
        result,
        steps,
        len(ends),
        row_axis=lambda: _axis_of_rows(model, [called.layer for called in calls.values()], inputs, options),
    )
    array = None if outputs is None else _readable(outputs.detach()).numpy()
    check_names(ends, symbols, labels, None if array is None else array.shape[-1])
    if series is not None and series.shape[:2] != (int(ends.max(initial=0)), len(ends)):
        shape = (int(ends.max(initial=0)), len(ends))
        raise ShapeError("the series does not fit the rows", expected=f"{shape}, then variables", got=str(series.shape))
    return Activations(layers, ends, symbols, series, array, labels)


def _axis_of_rows(
    model: nn.Module, layers: Sequence[nn.Module], inputs: tuple[Any, ...], options: dict[str, Any]
) -> int | None:
    axis = axis_of_rows(model, layers, inputs, options)
    if axis is None:
        warnings.warn(
            f"the outputs of the {type(model).__name__} are left out: there are as many rows as steps, and it cannot "
            "be told which axis is which; give more rows, or fewer",
            stacklevel=4,
        )
    return axis


def recurrent_layers(model: nn.Module) -> dict[str, Any]:
    """The recurrent layers of a model by their paths."""
    return {path: module for path, module in model.named_modules() if isinstance(module, RECURRENT_LAYERS)}


def as_read_by(model: nn.Module, value: Tensor | NDArray[Any]) -> Tensor:
    """A tensor or array as a tensor on the device of a model; numbers with a point have its dtype."""
    tensor = torch.as_tensor(value)
    parameter = next(model.parameters(), tensor)
    return tensor.to(parameter.device, parameter.dtype if tensor.is_floating_point() else tensor.dtype)


def _row_lengths(layers: Sequence[LayerActivations]) -> NDArray[np.int64]:
    """The lengths of the rows of a model: those of its longest layer, among the layers with as many rows as the last.

    Layers below may have other rows, such as one that reads the letters of each word.
    """
    rows = len(layers[-1].lengths)
    lengths = [layer.lengths for layer in layers if len(layer.lengths) == rows]
    return np.max(lengths, axis=0)


@contextmanager
def _observed(model: nn.Module) -> Generator[dict[str, _Calls]]:
    """Evaluation mode, with hooks that keep the arguments of the recurrent layers, in the order in which they run.

    Afterwards all is as before.
    """
    calls: dict[str, _Calls] = {}

    def keep(path: str) -> Any:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            calls.setdefault(path, _Calls(module)).arguments.append((_copied(args), _copied(kwargs)))

        return hook

    def keep_result(path: str) -> Any:
        def hook(module: nn.Module, args: Any, result: Any) -> None:
            calls[path].results.append(_copied(result[0] if isinstance(result, (tuple, list)) else result))

        return hook

    with ExitStack() as stack:
        stack.enter_context(unchanged(model))
        for path, layer in recurrent_layers(model).items():
            handle = layer.register_forward_pre_hook(keep(path), with_kwargs=True)
            stack.callback(handle.remove)
            if _has_own_forward(layer):
                handle = layer.register_forward_hook(keep_result(path))
                stack.callback(handle.remove)
        yield calls


def _copied(value: Any) -> Any:
    """Arguments of a call: the model may go on and change the tensors in place, as one that keeps a state does."""
    if isinstance(value, PackedSequence):
        return PackedSequence(value.data.detach().clone(), *value[1:])
    if isinstance(value, (tuple, list)):
        return tuple(_copied(item) for item in cast("Sequence[Any]", value))
    if isinstance(value, dict):
        return {name: _copied(item) for name, item in cast("dict[str, Any]", value).items()}
    return value.detach().clone() if isinstance(value, Tensor) else value


def _replayed(path: str, called: _Calls, lengths: Sequence[int] | Tensor | None) -> dict[str, LayerActivations]:
    """The calls of one layer once more, with gates and states; one after the other where there are several. Arrays are
    NaN after the ends of rows.
    """
    layer = with_states(called.layer)
    calls = [_call(layer, args, kwargs) for args, kwargs in called.arguments]
    ends = [own for _, own in calls]
    for (values, own), result in zip(calls, called.results, strict=False):
        _check_result(path, called.layer, values["output"], own, result)
    if len({len(own) for own in ends}) > 1:
        raise OptionError(f"layer {path!r} was called with batches of different sizes", do="record one batch at a time")
    totals = torch.stack(ends).sum(0)
    if lengths is not None:
        totals = torch.minimum(totals, _checked(lengths, len(totals)))
    arrays: dict[str, Any] = {}
    for name in calls[0][0]:
        parts = [values[name] for values, _ in calls]
        whole = parts[0] if len(parts) == 1 else _joined(parts, ends)
        outside = torch.arange(len(whole))[:, None, None] >= totals[:, None]
        arrays[name] = whole.masked_fill(outside, torch.nan).numpy()
    return _by_direction(path, layer, arrays, totals.numpy())


def _has_own_forward(layer: nn.Module) -> bool:
    """Whether a subclass of a layer computes something else than the layer, perhaps."""
    return not type(layer).forward.__module__.startswith(("torch.nn.", "gatewright.nn."))


def _check_result(path: str, layer: nn.Module, output: Tensor, lengths: Tensor, result: Any) -> None:
    """Raises OptionError where a layer with a forward of its own gives something else than its equations do."""
    batch_first: Any = layer.batch_first
    if isinstance(result, PackedSequence):
        result = pad_packed_sequence(result, batch_first=batch_first)[0]
    if isinstance(result, Tensor):
        given = result if result.dim() == output.dim() else result.unsqueeze(0 if batch_first else 1)
        given = _readable((given.transpose(0, 1) if batch_first else given).detach())
        inside = torch.arange(len(output))[:, None] < lengths
        is_like = given.shape == output.shape
        if is_like and torch.allclose(given[inside], output[inside], _CLOSE, _CLOSE, equal_nan=True):
            return
    raise OptionError(
        f"the layer {path!r} is a {type(layer).__name__} with a forward of its own, "
        "which gives something else than the layer's equations",
        do="make it a module that calls the layer",
    )


def _checked(lengths: Sequence[int] | Tensor, rows: int) -> Tensor:
    """The lengths that the user gave. Raises OptionError where there is not one a row."""
    ends = torch.as_tensor(lengths).cpu().long()
    if ends.shape != (rows,) or bool((ends < 0).any()):
        raise OptionError("the lengths do not fit the rows", expected=f"{rows} numbers of 0 or more", got=str(lengths))
    return ends


def _joined(parts: list[Tensor], ends: list[Tensor]) -> Tensor:
    """The steps of several calls one after the other, row by row, without those after the ends of rows."""
    totals = torch.stack(ends).sum(0)
    joined = parts[0].new_full((int(totals.max()) if len(totals) else 0, *parts[0].shape[1:]), torch.nan)
    for row, total in enumerate(totals.tolist()):
        joined[:total, row] = torch.cat([part[: own[row], row] for part, own in zip(parts, ends, strict=True)])
    return joined


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


def _call(layer: Recurrent, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[dict[str, Tensor], Tensor]:
    """Inputs, gates and states of one call, (time, batch, size), and the steps of its rows."""
    options = dict(zip(("input", *_OPTIONS), args, strict=False)) | kwargs
    values: Any = options.pop("input")
    batch_first = layer.batch_first
    if isinstance(values, PackedSequence):
        values, options["lengths"] = pad_packed_sequence(values, batch_first=batch_first)
    elif values.dim() == 2:
        values = values.unsqueeze(0 if batch_first else 1)
        options["hx"] = _with_row(options.get("hx"))
    with torch.no_grad():
        output, _, gates = layer(values, **options | {"return_gates": True})
    first = (lambda tensor: tensor.transpose(0, 1)) if batch_first else (lambda tensor: tensor)
    steps, batch = first(values).shape[:2]
    ends = options.get("lengths")
    own = torch.full((batch,), steps) if ends is None else torch.as_tensor(ends).cpu().long()
    arrays = {"input": first(values), "output": first(output)} | {name: first(gate) for name, gate in gates.items()}
    return {name: _readable(tensor.detach()) for name, tensor in arrays.items()}, own


def _readable(tensor: Tensor) -> Tensor:
    """A tensor that NumPy can hold: on the CPU, in float32 where it has fewer bits."""
    return tensor.cpu() if tensor.dtype == torch.float64 else tensor.float().cpu()


def _with_row(states: Any) -> Any:
    """States of a call without the axis of rows, with one row."""
    if states is None:
        return None
    return states.unsqueeze(1) if isinstance(states, Tensor) else tuple(state.unsqueeze(1) for state in states)


def _by_direction(
    path: str, layer: Recurrent, values: Mapping[str, Any], lengths: NDArray[np.int64]
) -> dict[str, LayerActivations]:
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
        found[name] = LayerActivations(name, trace, below if not level else np.empty(0), gates, states, lengths)
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
