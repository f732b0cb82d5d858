"""Several batches of activations as one, so that a page shows rows of different lengths side by side."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.inspect.activity.activations import Activations, LayerActivations


def joined(batches: Sequence[Activations]) -> Activations:
    """The rows of all batches, which come from one model. Arrays are NaN after a row's end."""
    if len(batches) == 1:
        return batches[0]
    first = batches[0]
    layers = {name: _joined_layer([batch.layers[name] for batch in batches]) for name in first.layers}
    return replace(
        first,
        layers=layers,
        lengths=np.concatenate([batch.lengths for batch in batches]),
        symbols=None if first.symbols is None else [row for batch in batches for row in batch.symbols or ()],
        series=_by_rows([batch.series for batch in batches]),
        measured=_by_rows([batch.measured for batch in batches]),
        outputs=_joined_outputs(batches),
        rows=None if first.rows is None else [row for batch in batches for row in batch.rows or ()],
    )


def first_rows(batches: Iterable[Activations], count: int) -> Activations | None:
    """The first rows of a stream of batches. No more batches are read than these need. None where there are no rows."""
    kept: list[Activations] = []
    missing = count
    for batch in batches:
        kept.append(cut(batch, missing))
        missing -= kept[-1].batch
        if missing <= 0:
            break
    return joined(kept) if kept else None


def cut(activations: Activations, rows: int) -> Activations:
    """The first rows of a batch."""
    if rows >= activations.batch:
        return activations

    def keep(values: Any) -> Any:
        return None if values is None else values[:, :rows]

    is_pooled = activations.outputs is not None and activations.outputs.ndim == 2
    outputs = activations.outputs[:rows] if is_pooled and activations.outputs is not None else keep(activations.outputs)
    return replace(
        activations,
        layers={name: _first_rows(layer, rows) for name, layer in activations.layers.items()},
        lengths=activations.lengths[:rows],
        symbols=None if activations.symbols is None else activations.symbols[:rows],
        series=keep(activations.series),
        measured=keep(activations.measured),
        outputs=outputs,
        rows=None if activations.rows is None else activations.rows[:rows],
    )


def _first_rows(layer: LayerActivations, rows: int) -> LayerActivations:
    def kept(values: Mapping[str, Any]) -> dict[str, Any]:
        return {name: array[:, :rows] for name, array in values.items()}

    return replace(
        layer,
        gates=kept(layer.gates),
        states=kept(layer.states),
        inputs=layer.inputs[:, :rows],
        lengths=layer.lengths[:rows],
    )


def _joined_layer(parts: Sequence[LayerActivations]) -> LayerActivations:
    return replace(
        parts[0],
        inputs=_by_rows([part.inputs for part in parts]),
        gates={name: _by_rows([part.gates[name] for part in parts]) for name in parts[0].gates},
        states={name: _by_rows([part.states[name] for part in parts]) for name in parts[0].states},
        lengths=np.concatenate([part.lengths for part in parts]),
    )


def _joined_outputs(batches: Sequence[Activations]) -> Any:
    outputs = [batch.outputs for batch in batches]
    present = [array for array in outputs if array is not None]
    if len(present) < len(outputs):
        return None
    return np.concatenate(present) if present[0].ndim == 2 else _by_rows(present)


def _by_rows(arrays: Sequence[NDArray[Any] | None]) -> Any:
    """Arrays (time, batch, ...) side by side, each filled up with NaN to the longest one."""
    present = [array for array in arrays if array is not None]
    if len(present) < len(arrays):
        return None
    steps = max(len(array) for array in present)
    filled: list[NDArray[Any]] = []
    for array in present:
        whole = np.full((steps, *array.shape[1:]), np.nan, array.dtype)
        whole[: len(array)] = array
        filled.append(whole)
    return np.concatenate(filled, 1)
