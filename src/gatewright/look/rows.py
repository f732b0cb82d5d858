"""The rows of a page: the names of their steps, their numbers, and what the network answers at each step."""

from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.inspect.activity.activations import Activations
from gatewright.look.quantised import Blob

_PREDICTIONS = 8
_BIT = 64  # levels of a bit of surprise: two bytes hold up to 1,023 bits
_NO_SURPRISE = 65535  # of the first symbol, before which nothing was expected
_FEW = 8  # outputs of no known kind: more are not shown
_FORECAST_AXES = 4

Described = dict[str, Any]


def row_names(activations: Activations) -> list[str]:
    """What identifies each row; of files only as much of the path as tells them apart.

    A page is shown to others, who have no use for the folders of this machine.
    """
    rows = list(activations.rows or map(str, range(1, activations.batch + 1)))
    paths = {name: PurePath(name).parts for name in rows if _is_path(name)}
    names: dict[str, str] = {}
    for name, parts in paths.items():
        others = [other for other in paths.values() if other != parts]
        count = next((n for n in range(1, len(parts)) if all(other[-n:] != parts[-n:] for other in others)), len(parts))
        names[name] = str(PurePath(*parts[-count:]))
    return [names.get(name, name) for name in rows]


def _is_path(name: str) -> bool:
    try:
        return Path(name).is_absolute() or Path(name).exists()
    except (OSError, ValueError):  # a row may be identified by any text
        return False


def described_row(activations: Activations, row: int, length: int, blob: Blob, *, since: int = 0) -> Described:
    """One row of the header. `length` counts the steps of the layers that are shown.

    `since`: the step from which on the most probable outputs of each step are put into the blob.
    """
    steps = length * activations.patch
    described: Described = {
        "steps": length,
        "all": int(activations.lengths[row]),
    }
    if activations.symbols is not None:
        described["symbols"] = list(activations.symbols[row][:steps])
    series = activations.series if activations.measured is None else activations.measured
    if activations.output_kind == "keys" and series is not None:
        described["keys"] = _played(series[:steps, row], activations.outputs, row, blob)
    elif series is not None and not (activations.output_kind == "bit" and activations.symbols is not None):
        values = series[:steps, row]
        described["series"] = [shortened(column) for column in values.reshape(len(values), -1).T]
    if activations.outputs is not None:
        described |= _answers(activations, activations.outputs, row, slice(since, length), blob)
    return described


def _answers(activations: Activations, outputs: NDArray[Any], row: int, steps: slice, blob: Blob) -> Described:
    """What the network answers, in the form that fits the kind of its outputs; nothing where that is not known."""
    labels = len(activations.labels or ())
    match activations.output_kind:
        case "forecast" if outputs.ndim == _FORECAST_AXES:
            return {"forecast": [[shortened(end) for end in ends.T] for ends in outputs[:, row].swapaxes(0, 1)]}
        case "bit":
            return {"bits": shortened(outputs[: steps.stop, row, 0])}
        case "keys":
            return _ranked(_sigmoid(outputs[steps, row]), blob)
        case _ if labels and outputs.shape[-1] == labels:
            if outputs.ndim == 2:
                return {"classes": [round(float(p), 4) for p in _softmax(outputs[row])]}
            described = _ranked(_softmax(outputs[steps, row]), blob)
            if activations.output_kind == "next" and activations.symbols is not None:
                described["expected"]["surprise"] = blob.add(_surprise(activations, outputs, row, steps).view(np.uint8))
            return described
        case _ if not labels and outputs.shape[-1] <= _FEW:
            if outputs.ndim == 2:
                return {"answer": shortened(outputs[row])}
            if outputs.ndim == 3:
                return {"outputs": [shortened(column) for column in outputs[: steps.stop, row].T]}
        case _:
            pass
    return {}


def _surprise(activations: Activations, outputs: NDArray[Any], row: int, steps: slice) -> NDArray[np.uint16]:
    """The surprise of each symbol, -log2 of its probability, in levels of 1/64 bit, the lower byte first."""
    labels = {label: number for number, label in enumerate(activations.labels or ())}
    names = (activations.symbols or ())[row][steps.start : steps.stop]
    levels = np.full(len(names), _NO_SURPRISE, "<u2")
    if not len(names):
        return levels
    first = int(steps.start == 0)
    # A name that is no label is a word that the model does not know: it reads the label 0 in its place.
    came = np.array([labels.get(name, 0) for name in names[first:]], np.int64)
    before = outputs[max(0, steps.start - 1) : steps.stop - 1, row]
    chances = np.take_along_axis(_softmax(before), came[:, None], -1)[:, 0]
    bits = -np.log2(np.maximum(chances, 1e-300))
    levels[first:] = np.minimum(_NO_SURPRISE - 1, np.rint(_BIT * bits)).astype("<u2")
    return levels


def _ranked(probabilities: NDArray[np.float64], blob: Blob) -> Described:
    """The most probable outputs of every step."""
    labels = probabilities.shape[-1]
    count = min(_PREDICTIONS, labels)
    best = np.argsort(-probabilities, axis=-1, kind="stable")[:, :count]
    chances = np.take_along_axis(probabilities, best, -1)
    numbers = best.astype("<u2" if labels <= 1 << 16 else "<u4")
    return {
        "expected": {
            "count": count,
            "bytes": numbers.dtype.itemsize,
            "labels": blob.add(numbers.view(np.uint8)),
            "chances": blob.add(np.rint(chances * 255).astype(np.uint8)),
        }
    }


def _played(roll: NDArray[Any], outputs: NDArray[Any] | None, row: int, blob: Blob) -> Described:
    """A piano roll: from the lowest to the highest key of the row which were struck, and the chance of each before."""
    struck = roll > 0
    used = np.flatnonzero(struck.any(0))
    first, stop = (max(0, int(used[0]) - 3), min(roll.shape[1], int(used[-1]) + 4)) if len(used) else (0, 12)
    described: Described = {
        "first": first,
        "count": stop - first,
        "struck": blob.add(struck[:, first:stop].T.astype(np.uint8)),
    }
    if outputs is not None and outputs.shape[-1] == roll.shape[1]:
        chances = np.zeros(roll.shape)
        chances[1:] = _sigmoid(outputs[: len(roll) - 1, row])  # expected of a frame after the one before it
        described["chances"] = blob.add(np.rint(255 * chances[:, first:stop]).T.astype(np.uint8))
    return described


def _softmax(scores: NDArray[Any]) -> NDArray[np.float64]:
    shifted = np.exp(scores.astype(np.float64) - scores.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)


def _sigmoid(logits: NDArray[Any]) -> NDArray[np.float64]:
    return 0.5 * (1 + np.tanh(0.5 * logits.astype(np.float64)))


def shortened(values: NDArray[Any]) -> list[float | None]:
    """Numbers with four digits, ready for JSON; None where a number is not finite."""
    return list(_rounded(values))


def _rounded(values: NDArray[Any]) -> Iterator[float | None]:
    for value in values.tolist():
        yield float(f"{value:.4g}") if np.isfinite(value) else None
