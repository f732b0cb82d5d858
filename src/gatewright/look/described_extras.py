"""The extras of a page as parts of its header, with their larger tables in the blob."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.inspect.dynamics.drift import Drift
from gatewright.inspect.dynamics.watched import WatchedGradients, gradient_troubles
from gatewright.look.extras import Contributions, Extras, HeldCarry, LayerDynamics, MemoryCurve
from gatewright.look.quantised import Blob
from gatewright.look.rows import shortened

Described = dict[str, Any]
_CONTRIBUTION_LEVELS = 15  # above 0: enough for shades, and few enough to pack well
_LOWEST_POWER = -12.0  # of ten: smaller norms are nothing
_MEASUREMENTS = 40  # of a training that are shown


def described_extras(extras: Extras, lengths: Sequence[int] | NDArray[np.int64], blob: Blob) -> Described:
    """The parts of a header. `lengths` are the steps of each row that are shown."""
    return {
        "saliency": {
            str(row): described_contributions(contributions, int(lengths[row]), blob)
            for row, contributions in extras.contributions.items()
            if row < len(lengths)
        },
        "effectiveMemory": [_memory(name, curve, blob) for name, curve in extras.effective_memory.items()],
        "dynamics": [_dynamics(layer) for layer in extras.dynamics],
        "ranks": [
            {
                "layer": table.layer,
                "state": table.state,
                "units": len(table.variances),
                "ratio": float(f"{table.participation_ratio:.4g}"),
                "rank": table.rank,
            }
            for table in extras.ranks
        ],
        "dead": [{"layer": table.layer, "state": table.state, "units": table.units.tolist()} for table in extras.dead],
        "drifts": [_drift(own) for own in extras.drifts],
        "carry": None if extras.carry is None else _carry(extras.carry, lengths),
        "training": _training(extras.training, blob) if extras.training else None,
    }


def described_contributions(contributions: Contributions, length: int, blob: Blob) -> Described:
    """Contributions in levels, 0 where nothing was measured. The largest one to each output gets the highest level."""
    values = contributions.values[:length] if contributions.by_lag else contributions.values[:, :length]
    absolute = np.abs(np.nan_to_num(values.astype(np.float64)))
    largest = absolute.max(-1, keepdims=True, initial=0)
    levels = np.rint(_CONTRIBUTION_LEVELS * absolute / np.where(largest > 0, largest, 1)).astype(np.uint8)
    return {
        "lags": contributions.by_lag,
        "first": contributions.first,
        "levels": _CONTRIBUTION_LEVELS,
        "outputs": len(levels),
        "width": levels.shape[-1],
        "offset": blob.add(levels),
    }


def _memory(name: str, curve: MemoryCurve, blob: Blob) -> Described:
    described: Described = {"name": name, "norms": shortened(curve.norms), "layer": curve.layer}
    if curve.by_unit is not None:
        described["units"] = _powers(curve.by_unit.T, blob)
    return described


def _powers(norms: NDArray[Any], blob: Blob) -> Described:
    """The powers of ten of norms (rows, columns) in the levels 1 to 255; 0 for a norm of 0 and for none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        powers = np.log10(norms.astype(np.float64))
    known = np.isfinite(powers) & (powers >= _LOWEST_POWER)
    shown = powers[known]
    low, high = (float(np.floor(shown.min())), float(np.ceil(shown.max()))) if shown.size else (0.0, 0.0)
    high = max(high, low + 1)
    levels = 1 + np.rint(254 * (np.where(known, powers, low) - low) / (high - low))
    offset = blob.add(np.where(known, levels, 0).astype(np.uint8))
    return {"low": low, "high": high, "width": norms.shape[-1], "offset": offset}


def _dynamics(layer: LayerDynamics) -> Described:
    return {
        "layer": layer.layer,
        "note": layer.note,
        "read": layer.read,
        "residual": float(f"{layer.residual:.2g}"),
        "isFixed": layer.is_fixed,
        "real": shortened(layer.eigenvalues.real),
        "imaginary": shortened(layer.eigenvalues.imag),
        "exponents": shortened(layer.exponents),
        "steps": layer.steps,
    }


def _drift(own: Drift) -> Described:
    return {
        "layer": own.layer,
        "state": own.state,
        "trained": own.trained,
        "norms": shortened(own.norms),
        "outside": shortened(own.outside),
        "first": own.first,
    }


def _carry(carry: HeldCarry, lengths: Sequence[int] | NDArray[np.int64]) -> Described:
    held = carry.held
    shown = [row for row in carry.read if row < len(lengths)]
    return {
        "layer": held.layer,
        "state": held.state,
        "unit": held.unit,
        "unitScore": round(held.unit_score, 4),
        "directionScore": round(held.direction_score, 4),
        "baseline": round(held.baseline, 4),
        "read": {str(row): shortened(carry.read[row][: lengths[row]]) for row in shown},
        "carries": {str(row): carry.carries[row][: lengths[row]].tolist() for row in shown},
    }


def _training(measurements: Sequence[WatchedGradients], blob: Blob) -> Described:
    """Some of the measurements, evenly spread; the first and the last are among them.

    A run that was resumed may measure other lags and steps than before: the tables have a column for each of all.
    """
    count = min(_MEASUREMENTS, len(measurements))
    shown = [measurements[round(place)] for place in np.linspace(0, len(measurements) - 1, count)]
    lags, steps = (np.unique(np.concatenate([getattr(own, by) for own in shown])) for by in ("lags", "steps"))
    names: dict[tuple[str, str, str], None] = {}  # in the order in which they are seen first
    for own in shown:
        for layer, norms in own.layers.items():
            names |= dict.fromkeys((layer, "state", name) for name in norms.states)
            names |= dict.fromkeys((layer, "gate", name) for name in norms.gates)
    values: list[Described] = []
    for layer, kind, name in names:
        by_lag, by_step = np.full((count, len(lags)), np.nan), np.full((count, len(steps)), np.nan)
        for line, own in enumerate(shown):
            norms = own.layers.get(layer)
            table = None if norms is None else (norms.states if kind == "state" else norms.gates).get(name)
            if table is not None:
                by_lag[line, np.searchsorted(lags, own.lags)] = table.by_lag
                by_step[line, np.searchsorted(steps, own.steps)] = table.by_step
        tables = {"lags": _powers(by_lag, blob), "steps": _powers(by_step, blob)}
        values.append({"layer": layer, "kind": kind, "name": name, **tables})
    last = measurements[-1]
    return {
        "iterations": [own.iteration for own in shown],
        "lags": lags.tolist(),
        "steps": steps.tolist(),
        "last": {
            "lags": np.searchsorted(lags, last.lags).tolist(),
            "steps": np.searchsorted(steps, last.steps).tolist(),
        },
        "values": values,
        "troubles": _texts(gradient_troubles(measurements)),
    }


def _texts(values: Iterable[object]) -> list[str]:
    return [str(value) for value in values]
