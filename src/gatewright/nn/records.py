"""Recurrent layers as records of a model file, and back: a layer is its equations, its sizes and its packing; and the
tensors of a model as a file has them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from gatewright.axes import HIDDEN, INPUT
from gatewright.model_file import LayerRecord
from gatewright.model_file.narrow import SCALES
from gatewright.nn.quantized import QuantizedRecurrent
from gatewright.nn.recurrent import Recurrent
from gatewright.packing import Layout
from gatewright.trace import Trace

_OPTIONS = ("num_layers", "bidirectional", "batch_first", "dropout", "dropout_per", "layout")


def layer_records(model: nn.Module) -> tuple[LayerRecord, ...]:
    """A record of every recurrent layer in a model, under the name that it has there."""
    return tuple(
        LayerRecord(name=name, trace=layer.trace, sizes=layer.sizes(), starts=layer.starts, **_options(layer))
        for name, layer in model.named_modules()
        if isinstance(layer, Recurrent)
    )


def from_record(record: LayerRecord) -> Recurrent:
    """The layer that a record describes, with freshly drawn parameters: load the file's tensors into it."""
    layer = _layer_of(record.trace, record.sizes, **_options(record))
    if record.starts:
        layer.starts = dict(record.starts)
        layer.reset_parameters()
    return layer


def twin_of(layer: Recurrent, trace: Trace, layout: Layout, tensors: nn.Module, **options: Any) -> Recurrent:
    """A layer in evaluation with the sizes and options of another one, but another Trace.

    - `layout`: begins with that of the layer. Parameters that it has beyond that are new.
    - `tensors`: the module with the values of the layer's parameters, under the layer's names.
    - `options`: the `device` and the `dtype` of new parameters.
    """
    backend = "auto" if layer.backend == "torch-fused" else layer.backend  # torch's functions know torch's Traces alone
    twin = _layer_of(trace, layer.sizes(), **_options(layer) | {"layout": layout, "backend": backend} | options)
    twin.products = layer.products
    for new_names, names in zip(twin.packed_names, layer.packed_names, strict=True):
        for new_name, name in zip(new_names, names, strict=False):
            setattr(twin, new_name, nn.Parameter(getattr(tensors, name).detach(), requires_grad=False))
    return twin.eval()


def _layer_of(trace: Trace, sizes: Mapping[str, int], **options: Any) -> Recurrent:
    others = dict(sizes)
    input_size, hidden_size = others.pop(INPUT), others.pop(HIDDEN)
    return Recurrent(trace, input_size, hidden_size, sizes=others, **options)


def direction_parameters(layer: Recurrent, index: int) -> dict[str, NDArray[np.float64]]:
    """The parameters of one direction of one level by their names in the equations, copied to float64 arrays."""
    tensors = [tensor.detach().cpu().double() for tensor in layer.packed_parameters(index)]
    return {name: tensor.numpy() for name, tensor in layer.packed_cells[index].unpack(tensors).items()}


def stored_tensors(model: nn.Module) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """The tensors of a model for a ModelFile, and the kinds of those in fewer bits: matrices of quantised layers."""
    tensors = {name: tensor.detach().cpu().numpy() for name, tensor in model.state_dict().items()}
    kinds: dict[str, str] = {}
    for path, layer in model.named_modules(remove_duplicate=False):
        for name in layer.matrices() if isinstance(layer, QuantizedRecurrent) else ():
            key = f"{path}.{name}" if path else name
            scales: NDArray[np.float32] = tensors.pop(key + SCALES)
            tensors[key], kinds[key] = scales[:, None] * tensors[key], "int8"
    return tensors, kinds


def _options(source: Recurrent | LayerRecord) -> dict[str, Any]:
    return {name: getattr(source, name) for name in _OPTIONS}
