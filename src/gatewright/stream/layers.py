"""Opens streams: of a model file, or of a cell with arrays as parameters."""

import os
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import DTypeLike

from gatewright import model_file
from gatewright.backends.base import infer_sizes, refuse_unknown, require
from gatewright.errors import OptionError, ShapeError
from gatewright.lang import Cell
from gatewright.model_file import LayerRecord, ModelFile
from gatewright.model_file.converted import parts_besides
from gatewright.packing import tensor_name, unpacked
from gatewright.stream.numpy_arrays import Array
from gatewright.stream.prepared_layer import Layer
from gatewright.stream.stream import Stream
from gatewright.trace import Trace, trace_cell

Params = Mapping[str, Array]


def open(
    model: str | os.PathLike[str] | ModelFile,
    *,
    name: str | Sequence[str] | None = None,
    batch: int = 1,
    dtype: DTypeLike | None = None,
    weights: str = "float32",
) -> Stream:
    """Open a stream of the recurrent layer of a model file, with all its levels, for `batch` rows.

    - `model`: a model file, its path, or the folder of a run, which contains one.
    - `name`: which layer, if the file has several; or the names of a stack from the bottom to the top. (The file of a
      trained model does not say what is between its layers.)
    - `dtype`: float32 or float64; that of the parameters by default.
    - `weights`: "float32", which means those of `dtype`; or "bfloat16" or "int8": matrices take half or a quarter of
      the memory, and reading them is most of a step of few rows. What they multiply is rounded to the same dtype; sums,
      gates and states stay float32. In int8 each row of a matrix has a scale, and so has each vector of a step.

    Other parts of a trained model, such as an embedding or a head, are not run; `gw.model_file.load` has their tensors.
    A converted file describes everything that its network computes. Its layer is opened without a `name` only if the
    network has no other parts.

    Raises ModelFileError for a file that cannot be read. Raises OptionError if there is no such layer, if it is
    bidirectional (its output needs the end of the sequence), if the layers do not fit one another, or if a converted
    network has other parts that would not be run.
    """
    file = model if isinstance(model, ModelFile) else model_file.load(model)
    layers = [layer for record in _chosen(file, name) for layer in _levels(record, file.tensors)]
    return Stream(layers, batch=batch, dtype=dtype, weights=weights)


def from_parameters(
    cell: Cell | Trace,
    params: Params | Sequence[Params],
    *,
    batch: int = 1,
    dtype: DTypeLike | None = None,
    weights: str = "float32",
) -> Stream:
    """Open a stream of a cell with its parameters by name: {"W.r": (hidden, input), ...}.

    A sequence of such mappings is a stack, from the bottom to the top. `weights` are those of `open`.

    Raises ShapeError if a parameter is missing, unknown, or does not fit.
    """
    trace = cell if isinstance(cell, Trace) else trace_cell(cell)
    levels = [params] if isinstance(params, Mapping) else list(params)
    return Stream([_layer(trace, level) for level in levels], batch=batch, dtype=dtype, weights=weights)


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
    for wanted in names:
        if wanted not in records:
            raise OptionError(f"the model file has no recurrent layer {wanted!r}", expected=known)
    _refuse_parts(model, names, all_parts=name is None)
    return [records[wanted] for wanted in names]


def _refuse_parts(model: ModelFile, names: Sequence[str], *, all_parts: bool) -> None:
    """Raise OptionError if a converted network has parts that would not be run: any, or those between the layers."""
    parts = parts_besides(model, None if all_parts else names)
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
    for level in range(record.num_layers):
        sizes = record.sizes_of(level)
        arrays = [tensors[record.prefix + tensor_name(packed, level, reverse=False)] for packed in record.layout]
        yield Layer(record.trace, unpacked(record.layout, arrays, record.trace, sizes), sizes)
