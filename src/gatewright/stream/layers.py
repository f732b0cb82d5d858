"""The layers that a stream runs, from a model file or from arrays."""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from gatewright import model_file
from gatewright.axes import INPUT, bind
from gatewright.backends.base import infer_sizes, refuse_unknown, require
from gatewright.errors import OptionError, ShapeError
from gatewright.lang import Cell
from gatewright.model_file import LayerRecord, ModelFile
from gatewright.model_file.converted import parts_besides, parts_between
from gatewright.packing import tensor_name, unpacked
from gatewright.stream.stream import Layer, Stream
from gatewright.trace import Trace, trace_cell

Params = Mapping[str, NDArray[Any]]


def open(
    model: str | os.PathLike[str] | ModelFile,
    *,
    name: str | Sequence[str] | None = None,
    batch: int = 1,
    dtype: DTypeLike | None = None,
) -> Stream:
    """The recurrent layer of a model file, all its levels one above the other, made ready for `batch` rows. The folder
    of a run stands for the model file in it.

    Where the file has several layers, `name` chooses one, or gives the names of a stack from the bottom to the top: the
    file of a trained model does not tell what lies between them. `dtype` is float32 or float64; without it, that of the
    parameters. What else a trained model has, such as an embedding or a head, is among the tensors that
    `gw.model_file.load` gives. A converted file tells all that its network computes: its layer runs alone only where
    that is all, or by its name.

    Raises ModelFileError for a file that cannot be read, and OptionError where there is no such layer, where it is
    bidirectional (its output needs the end of the sequence), where the layers do not fit one another, or where a
    converted network has something else that would not be run.
    """
    found = model if isinstance(model, ModelFile) else model_file.load(model)
    layers = [layer for record in _chosen(found, name) for layer in _levels(record, found.tensors)]
    return Stream(layers, batch=batch, dtype=dtype)


def from_parameters(
    cell: Cell | Trace, params: Params | Sequence[Params], *, batch: int = 1, dtype: DTypeLike | None = None
) -> Stream:
    """A cell with its parameters, by the names in its equations: {"W.r": (hidden, input), ...}. A sequence of them is
    a stack, from the bottom to the top.

    Raises ShapeError where a parameter is missing, unknown, or does not fit.
    """
    trace = cell if isinstance(cell, Trace) else trace_cell(cell)
    levels = [params] if isinstance(params, Mapping) else list(params)
    return Stream([_layer(trace, level) for level in levels], batch=batch, dtype=dtype)


def _layer(trace: Trace, params: Params) -> Layer:
    arrays = {name: np.asarray(value) for name, value in params.items()}
    require(trace, arrays, trace.params, "parameter")
    refuse_unknown(trace, arrays, trace.params, "parameter")
    sizes = infer_sizes(trace, arrays, {})
    for leaf in (*trace.inputs, *trace.states):
        unknown = [axis for axis in leaf.shape if axis not in sizes]
        if unknown:
            raise ShapeError(f"cell {trace.name!r} has no parameter that tells the size of {leaf.name}, {unknown[0]}")
    return Layer(trace, arrays, sizes)


def _chosen(model: ModelFile, name: str | Sequence[str] | None) -> list[LayerRecord]:
    records = {record.name: record for record in model.layers}
    names = list(records) if name is None else [name] if isinstance(name, str) else list(name)
    known = ", ".join(map(repr, records)) or "none"
    if name is None and len(records) != 1:
        raise OptionError(
            "the model file has no recurrent layer" if not records else "the model file has several recurrent layers",
            expected="one, or a name",
            got=known,
            do="give name='...', or the names of layers that feed one another, from the bottom to the top",
        )
    for one in names:
        if one not in records:
            raise OptionError(f"the model file has no recurrent layer {one!r}", expected=known)
    _refuse_parts(model, names, all_parts=name is None)
    return [records[one] for one in names]


def _refuse_parts(model: ModelFile, names: Sequence[str], *, all_parts: bool) -> None:
    """Refuse a converted network with parts that would not be run; of layers by name, with such between them."""
    parts = parts_besides(model) if all_parts else parts_between(model, names)
    bidirectional = any(record.bidirectional for record in model.layers if record.name in names)
    if parts and not bidirectional:  # that has an error of its own
        named = names[0] if len(names) == 1 else tuple(names)
        raise OptionError(
            "the converted model computes more than its recurrent layer, which alone would be run"
            if all_parts
            else f"between the layers {', '.join(map(repr, names))} the converted model computes something else",
            expected="recurrent layers that feed one another, and nothing else",
            got=", ".join(parts),
            do=f"give name={named!r} for the layer alone; gw.convert.run(gw.convert.read(path), inputs) runs the whole"
            if all_parts
            else "open a stream for each layer; gw.convert.run(gw.convert.read(path), inputs) runs the whole",
        )


def _levels(record: LayerRecord, tensors: Params) -> Iterator[Layer]:
    if record.bidirectional:
        raise OptionError(
            f"layer {record.name!r} ({record.trace.name}) is bidirectional, so it cannot run step by step",
            expected="a layer that reads a sequence from its beginning on",
            got="a backward direction, which begins at the end",
            do="train the model with bidirectional=False (a recipe with directions=forward), or run the whole sequence "
            "by gw.nn",
        )
    prefix = f"{record.name}." if record.name else ""
    below = bind(record.trace.states[0].shape, record.sizes)[0]
    for level in range(record.num_layers):
        sizes = {**record.sizes, INPUT: below} if level else dict(record.sizes)
        arrays = [tensors[prefix + tensor_name(packed, level, reverse=False)] for packed in record.layout]
        yield Layer(record.trace, unpacked(record.layout, arrays, record.trace, sizes), sizes)
