"""Layers with clamped gates: a gate of a unit is held at a value, to see what the network does then."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from gatewright.errors import OptionError
from gatewright.nn import Recurrent
from gatewright.nn.records import twin_of
from gatewright.packing import Packed
from gatewright.trace.clamp import KEEP, SET, clamped_trace


@dataclass(frozen=True)
class Clamp:
    """A gate of a unit is held at a value. `layer` is named as in `Activations.layers`: "recurrent.l0"."""

    layer: str
    gate: str
    unit: int
    value: float


def clamped(model: nn.Module, clamps: Sequence[Clamp]) -> nn.Module:
    """A copy of a model of gatewright.nn's layers with clamped gates. It shares the parameters of the model.

        model = gw.inspect.clamped(run.model.network, [gw.inspect.Clamp("recurrent.l0", "z", 12, 0.0)])

    Raises OptionError for a layer, gate or unit that does not exist, and names what there is.
    """
    layers = {path: layer for path, layer in model.named_modules() if isinstance(layer, Recurrent)}
    by_path: dict[str, list[tuple[str, Clamp]]] = {}
    for clamp in clamps:
        path, direction = _place(layers, clamp)
        by_path.setdefault(path, []).append((direction, clamp))
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    twin = copy.deepcopy(model, shared)
    for path, own in by_path.items():
        layer = _clamped_layer(layers[path], own)
        if not path:
            return layer
        parent, _, name = path.rpartition(".")
        setattr(twin.get_submodule(parent), name, layer)
    return twin


def _place(layers: dict[str, Recurrent], clamp: Clamp) -> tuple[str, str]:
    """The path of a layer and the suffix of its direction, such as "l0" or "l1_reverse"."""
    names = {
        ".".join(filter(None, (path, f"l{level}{suffix}"))): (path, f"l{level}{suffix}")
        for path, layer in layers.items()
        for level, suffix in layer.directions()
    }
    if clamp.layer not in names:
        raise OptionError(
            f"the model has no recurrent layer {clamp.layer!r} of gatewright.nn", expected=", ".join(names)
        )
    path, direction = names[clamp.layer]
    layer = layers[path]
    gates = [name for name, gate in layer.trace.gates if gate.name in layer.trace.definitions()]
    if clamp.gate not in gates:
        raise OptionError(f"layer {clamp.layer!r} has no gate {clamp.gate!r}", expected=", ".join(gates))
    if not 0 <= clamp.unit < layer.hidden_size:
        raise OptionError(
            f"gate {clamp.gate!r} of layer {clamp.layer!r} has no unit {clamp.unit}",
            expected=f"0 to {layer.hidden_size - 1}",
        )
    return path, direction


def _clamped_layer(layer: Recurrent, clamps: Sequence[tuple[str, Clamp]]) -> Recurrent:
    """A layer with the same parameters and some gates clamped."""
    parameter = next(layer.parameters())
    gates = [name for name, gate in layer.trace.gates if gate.name in layer.trace.definitions()]
    spaces = tuple(Packed(space, tuple(f"{space}.{name}" for name in gates)) for space in (KEEP, SET))
    layout = (*layer.layout, *spaces)
    twin = twin_of(layer, clamped_trace(layer.trace), layout, layer, device=parameter.device, dtype=parameter.dtype)
    with torch.no_grad():
        for index, (level, suffix) in enumerate(layer.directions()):
            keep, fixed = (twin.get_parameter(name).view(len(gates), -1) for name in twin.packed_names[index][-2:])
            keep.fill_(1.0)
            fixed.zero_()
            for direction, clamp in clamps:
                if direction == f"l{level}{suffix}":
                    keep[gates.index(clamp.gate), clamp.unit] = 0.0
                    fixed[gates.index(clamp.gate), clamp.unit] = clamp.value
    return twin
