"""Which matrices of a model are kept in fewer bits, and the model with these matrices rounded."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from gatewright.errors import OptionError
from gatewright.model_file import LayerRecord, ModelFile
from gatewright.model_file.converted import PARTS, TASK
from gatewright.model_file.narrow import KINDS, rounded
from gatewright.network.part import Array
from gatewright.network.parts import Dense, Embedding, SumEmbedding
from gatewright.network.stored import listed_parts
from gatewright.packing import Layout, packed_shape, tensor_name
from gatewright.trace import Trace
from gatewright.trace.analysis import matrices_that_only_multiply

WEIGHTS = ("float32", *KINDS)
LEAST_COLUMNS = 8
"""Matrices of fewer columns stay float32: a scale for each row would take as much as it saves."""
_RECIPE_MATRICES = ("encode.weight", "output.weight")


def narrowed(model: ModelFile, weights: str) -> ModelFile:
    """The model with its matrices rounded to what "int8" or "bfloat16" keeps of them; "float32" leaves it as it is.

    These are the matrices by which recurrent layers multiply, the tables of embeddings, and the matrices of linear
    layers. Biases, gains, scaling and linear models beside the network stay as they are.

    Raises OptionError for other weights, and for a model that has no such matrices in float32.
    """
    if weights not in WEIGHTS:
        raise OptionError("no model can have these weights", expected=", ".join(WEIGHTS), got=repr(weights))
    if weights == "float32":
        return model
    names = tuple(dict.fromkeys(_matrices(model)))
    wrong = next((name for name in names if model.tensors[name].dtype != np.float32), None)
    if wrong is not None:
        raise OptionError(
            f"weights in {weights} stand for float32 numbers",
            expected="a model in float32",
            got=f"{wrong!r} in {model.tensors[wrong].dtype}",
            do="convert the model to float32 first: gw.convert.convert(..., dtype='float32')",
            shell="convert the model to float32 first, with gatewright convert --dtype float32",
        )
    if not names:
        raise OptionError(
            f"the model has no matrix that could be kept in {weights}",
            expected=f"recurrent layers, embeddings or linear layers with {LEAST_COLUMNS} columns or more",
            do="leave weights out",
        )
    infinite = next((name for name in names if not np.isfinite(model.tensors[name]).all()), None)
    if infinite is not None:
        raise OptionError(
            f"weights that are not finite cannot be kept in {weights}",
            got=f"{infinite!r} has such a number",
            do="train the model again, with a lower rate or with clip",
        )
    matrices = {name: rounded(model.tensors[name], weights) for name in names}
    kinds = {**model.narrow, **dict.fromkeys(names, weights)}
    return replace(model, tensors={**model.tensors, **matrices}, narrow=kinds)


def _matrices(model: ModelFile) -> Iterator[str]:
    """The names of the tensors that are kept in fewer bits."""
    for record in model.layers:
        yield from _layer_matrices(record)
    if model.task == TASK and PARTS in model.settings:
        for index, part in enumerate(listed_parts(model)[0]):
            name = f"part{index}.weight"
            if isinstance(part, Dense | Embedding | SumEmbedding) and _is_wide(model.tensors.get(name)):
                yield name
    elif model.settings:  # a recipe's network; the tensors of other models are not known
        yield from (name for name in _RECIPE_MATRICES if _is_wide(model.tensors.get(name)))


def _layer_matrices(record: LayerRecord) -> Iterator[str]:
    """The packed matrices of a layer by which its equations multiply, and with which they do nothing else."""
    for level in range(record.num_layers):
        for place in narrow_places(record.trace, record.layout, record.sizes_of(level)):
            packed = record.layout[place]
            yield from (record.prefix + tensor_name(packed, level, reverse) for reverse in record.directions)


def narrow_places(trace: Trace, layout: Layout, sizes: Mapping[str, int]) -> list[int]:
    """The places in a layout of the matrices by which equations multiply, and with which they do nothing else."""
    factors = matrices_that_only_multiply(trace)
    shapes = [packed_shape(packed, trace, sizes) for packed in layout]
    return [
        place
        for place, (packed, shape) in enumerate(zip(layout, shapes, strict=True))
        if len(shape) == 2 and shape[1] >= LEAST_COLUMNS and factors.issuperset(packed.slots)
    ]


def _is_wide(array: Array | None) -> bool:
    return array is not None and array.ndim == 2 and array.shape[1] >= LEAST_COLUMNS
