"""Layers with clamped gates: a gate of a unit is held at a value, to see what the network does then."""

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import cast

import torch
from torch import nn

from gatewright.axes import bind
from gatewright.errors import OptionError
from gatewright.inspect.activity.record import engine_layer, recurrent_layers
from gatewright.nn import QuantizedRecurrent, Recurrent
from gatewright.nn.derived_layers import is_on_engine, obstacle_of, put_on_engine
from gatewright.nn.records import twin_of
from gatewright.packing import Packed
from gatewright.trace import Trace
from gatewright.trace.clamp import KEEP, SET, clamped_trace

_REPLACED = ("backend", "cell", "layout", "packed_cells", "packed_names", "trace")
"""The attributes of a layer that depend on its equations."""


@dataclass(frozen=True)
class Clamp:
    """A gate of a unit is held at a value. `layer` is named as in `Activations.layers`: "recurrent.l0"."""

    layer: str
    gate: str
    unit: int
    value: float


def clamped(model: nn.Module, clamps: Sequence[Clamp]) -> nn.Module:
    """A copy of a model with clamped gates, which shares the parameters of the model. The model stays as it is.

        model = gw.inspect.clamped(run.model.network, [gw.inspect.Clamp("recurrent.l0", "z", 12, 0.0)])

    The layers are those of gatewright.nn and torch.nn (RNN, GRU, LSTM), also of several levels and both directions.
    Those of torch.nn keep their class, attributes and hooks. A copy can be clamped once more.

    Raises OptionError for a layer, gate or unit that does not exist, and names what there is.
    """
    layers = recurrent_layers(model)
    places = _places({path: engine_layer(layer) for path, layer in layers.items()})
    by_path: dict[str, list[tuple[str, Clamp]]] = {}
    for clamp in clamps:
        path, direction = _place(places, clamp)
        by_path.setdefault(path, []).append((direction, clamp))
    for path in by_path:
        _check_forward(layers[path], path)
    shared = {id(tensor): tensor for tensor in chain(model.parameters(), model.buffers())}
    twin = copy.deepcopy(model, shared)
    for path, own in by_path.items():
        layer = twin.get_submodule(path)
        if isinstance(layer, QuantizedRecurrent):
            twin = _replaced(twin, layer, layer.dequantize())
            layer = twin.get_submodule(path)
        _clamp(layer, own)
    return twin


def _places(layers: Mapping[str, Recurrent]) -> dict[str, tuple[str, str, Recurrent]]:
    """By the name of a layer as it is recorded: its path, the suffix of its direction such as "l1_reverse", itself."""
    return {
        ".".join(filter(None, (path, f"l{level}{suffix}"))): (path, f"l{level}{suffix}", layer)
        for path, layer in layers.items()
        for level, suffix in layer.directions()
    }


def _place(places: Mapping[str, tuple[str, str, Recurrent]], clamp: Clamp) -> tuple[str, str]:
    """The path and the direction of a clamp's layer. Raises OptionError where there is no such layer, gate or unit."""
    if clamp.layer not in places:
        raise OptionError(f"the model has no recurrent layer {clamp.layer!r}", expected=", ".join(places) or "none")
    path, direction, layer = places[clamp.layer]
    gates = _gates(layer.trace)
    if clamp.gate not in gates:
        raise OptionError(f"layer {clamp.layer!r} has no gate {clamp.gate!r}", expected=", ".join(gates))
    units = bind(dict(layer.trace.gates)[clamp.gate].shape, layer.sizes())[-1]
    if not math.isfinite(clamp.value):
        raise OptionError(f"gate {clamp.gate!r} cannot be held at {clamp.value}", expected="a number")
    if clamp.unit not in range(units):
        raise OptionError(
            f"gate {clamp.gate!r} of layer {clamp.layer!r} has no unit {clamp.unit}", expected=f"0 to {units - 1}"
        )
    return path, direction


def _gates(trace: Trace) -> list[str]:
    """The gates that the equations compute."""
    computed = trace.definitions()
    return [name for name, gate in trace.gates if gate.name in computed]


def _check_forward(layer: nn.Module, path: str) -> None:
    """Raises OptionError for a layer of a class derived from torch.nn's that computes its steps itself."""
    obstacle = None if isinstance(layer, Recurrent) or is_on_engine(layer) else obstacle_of(layer)
    if obstacle is not None:
        raise OptionError(f"layer {path!r} ({type(layer).__name__}) cannot be clamped: {obstacle}")


def _replaced(model: nn.Module, old: nn.Module, new: nn.Module) -> nn.Module:
    """The model with another layer, wherever the old one is."""
    if model is old:
        return new
    for owner in list(model.modules()):
        for name, part in list(owner.named_children()):
            if part is old:
                setattr(owner, name, new)
    return model


def _clamp(layer: nn.Module, clamps: Sequence[tuple[str, Clamp]]) -> None:
    """Let a layer run the equations with clamped gates. Its parameters stay, and get two buffers beside them."""
    own = engine_layer(layer)
    if all(packed.name != KEEP for packed in own.layout):
        _change_equations(layer, own)
    gates = _gates(own.trace)
    for index, (level, suffix) in enumerate(own.directions()):
        keep, fixed = (_own_buffer(layer, name).view(len(gates), -1) for name in own.packed_names[index][-2:])
        for direction, clamp in clamps:
            if direction == f"l{level}{suffix}":
                keep[gates.index(clamp.gate), clamp.unit] = 0.0
                fixed[gates.index(clamp.gate), clamp.unit] = clamp.value


def _own_buffer(layer: nn.Module, name: str) -> torch.Tensor:
    """A buffer as a copy: where the model was clamped before, it shares its buffers with that model."""
    buffer = cast("torch.Tensor", getattr(layer, name)).clone()
    layer.register_buffer(name, buffer)
    return buffer


def _change_equations(layer: nn.Module, own: Recurrent) -> None:
    """Give a layer the equations with `keep` and `set`. `own` is the layer itself, or runs one of torch.nn's."""
    gates, parameter = _gates(own.trace), next(layer.parameters())
    spaces = tuple(Packed(space, tuple(f"{space}.{gate}" for gate in gates)) for space in (KEEP, SET))
    twin = twin_of(own, clamped_trace(own.trace), (*own.layout, *spaces), own, device="meta")
    vars(own).update({name: getattr(twin, name) for name in _REPLACED})
    for names in own.packed_names:
        for name, value in zip(names[-2:], (1.0, 0.0), strict=True):
            # Of the layer, not of `own`: so they move to another device or dtype with its parameters.
            layer.register_buffer(name, parameter.detach().new_full(getattr(twin, name).shape, value))
    if not isinstance(layer, Recurrent) and not is_on_engine(layer):
        put_on_engine(layer, own)
