"""What a page is made of: a header that says what there is, and a blob with the numbers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.backends.formulas import unicode
from gatewright.errors import OptionError
from gatewright.inspect.activity.activations import Activations, LayerActivations
from gatewright.inspect.measures.half_life import half_life
from gatewright.inspect.measures.saturation import saturation
from gatewright.inspect.measures.steps import share_gates
from gatewright.look.quantised import LEVELS, Blob, ValueRange, differences, in_script, packed

LARGEST = 1_500_000
"""Bytes of a page, at most."""
STEPS = 2000
"""Steps of a row that are shown, unless it is asked for more."""
_PREDICTIONS = 5
_SHARE = ValueRange(0.0, 1.0)


@dataclass(frozen=True)
class Payload:
    """The header, ready for JSON, and the packed numbers."""

    header: dict[str, Any]
    blob: str


def payload(activations: Activations, *, title: str, steps: int = STEPS, largest: int = LARGEST) -> Payload:
    """The finest payload that is no larger than `largest` bytes.

    Raises OptionError where even the coarsest is larger.
    """
    size = 0
    for levels in LEVELS:
        header, blob = described(activations, title=title, steps=steps, levels=levels)
        text = packed(blob.content())
        size = len(text) + len(in_script(header))
        if size <= largest:
            return Payload(header, text)
    raise OptionError(
        "the page would be too large",
        expected=f"at most {largest / 1e6:.1f} MB",
        got=f"{size / 1e6:.1f} MB for {activations.batch} rows of up to {min(steps, activations.steps)} steps",
        do="show fewer steps or fewer rows",
        shell="show fewer steps: --steps N, or fewer rows: --rows N",
    )


def described(
    activations: Activations, *, title: str, steps: int = STEPS, levels: int = LEVELS[0]
) -> tuple[dict[str, Any], Blob]:
    """The header of activations, and their numbers."""
    blob = Blob()
    lengths = np.minimum(activations.lengths, -(-steps // activations.patch))
    layers = [_layer(layer, lengths, levels, blob) for layer in activations]
    header = {
        "title": title,
        "levels": levels,
        "patch": activations.patch,
        "layers": layers,
        "rows": [_row(activations, row, int(lengths[row]), blob) for row in range(activations.batch)],
        "saturation": [
            {"layer": found.layer, "gate": found.gate, "left": _short(found.left), "right": _short(found.right)}
            for found in saturation(activations)
        ],
        "halfLife": [
            {"layer": found.layer, "gate": found.gate, "steps": _short(found.steps)} for found in half_life(activations)
        ],
        "labels": list(activations.labels or ()),
        "variables": list(activations.variables or ()),
    }
    return header, blob


def _layer(layer: LayerActivations, lengths: NDArray[np.int64], levels: int, blob: Blob) -> dict[str, Any]:
    """One layer: its equations, and where the levels of each value lie, for each row (units, steps)."""
    shares, roles = set(share_gates(layer)), layer.roles
    values: list[dict[str, Any]] = []
    for name in dict.fromkeys((*layer.gates, *layer.states)):  # the new state of Elman's cell is a gate, too
        array = layer.values(name)
        bounds = _SHARE if name in shares else ValueRange.around_zero(array)
        offsets = [
            blob.add(differences(bounds.levels(array[: int(length), row].T, levels)))
            for row, length in enumerate(lengths)
        ]
        values.append(
            {
                "name": name,
                "kind": "gate" if name in shares else "state" if name in layer.states else "value",
                "role": _role(name, roles.keeps, roles.replaces, roles.writes),
                "low": bounds.low,
                "high": bounds.high,
                "offsets": offsets,
                "units": array.shape[-1],
            }
        )
    return {"name": layer.name, "equations": unicode.equations(layer.trace).splitlines(), "values": values}


def _role(name: str, keeps: Sequence[str], replaces: Sequence[str], writes: Any) -> str:
    if name in keeps:
        return "at 1 it keeps the old state"
    if name in replaces:
        return "at 1 it replaces the old state"
    return "at 1 it writes the new value in whole" if name in writes else ""


def _row(activations: Activations, row: int, length: int, blob: Blob) -> dict[str, Any]:
    """One row: the names of its steps, its numbers, and what the network expects."""
    steps = length * activations.patch
    described: dict[str, Any] = {
        "name": (activations.rows or [str(row + 1)] * activations.batch)[row],
        "steps": length,
        "all": int(activations.lengths[row]),
    }
    if activations.symbols is not None:
        described["symbols"] = list(activations.symbols[row][:steps])
    if activations.series is not None:
        series = activations.series[:steps, row]
        described["series"] = [_short(column) for column in series.reshape(len(series), -1).T]
    outputs = activations.outputs
    if outputs is not None and activations.labels:
        described |= _expected(outputs, row, length, len(activations.labels), blob)
    return described


def _expected(outputs: NDArray[Any], row: int, length: int, labels: int, blob: Blob) -> dict[str, Any]:
    """The most probable outputs of every step, or of the whole row; nothing where outputs are no scores of labels."""
    if outputs.shape[-1] != labels:
        return {}
    if outputs.ndim == 2:
        return {"classes": [round(float(p), 4) for p in _softmax(outputs[row])]}
    probabilities = _softmax(outputs[:length, row])
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


def _softmax(scores: NDArray[Any]) -> NDArray[np.float64]:
    shifted = np.exp(scores.astype(np.float64) - scores.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)


def _short(values: NDArray[Any]) -> list[float | None]:
    """Numbers with four digits, ready for JSON; None where a number is not finite."""
    return list(_rounded(values))


def _rounded(values: NDArray[Any]) -> Iterator[float | None]:
    for value in values.tolist():
        yield float(f"{value:.4g}") if np.isfinite(value) else None
