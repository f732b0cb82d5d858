"""Measurements of gradients as lines of JSON, and where gradients vanish or explode in them."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.tasks.training.gradient_sweep import LayerNorms, StepNorms
from gatewright.tasks.training.run_folder import damaged
from gatewright.untrusted.json_text import parse_json
from gatewright.untrusted.kinds import misfit

VANISHED, EXPLODED = 1e-3, 1e2
"""A gradient has vanished, or exploded, where it is below or above so many times what it is at lag 0."""

_RECORD: Mapping[str, Any] = {
    "iteration": int,
    "steps": list[int],
    "lags": list[int],
    "layers": dict[str, dict[str, dict[str, dict[str, list[float | None]]]]],
}


@dataclass(frozen=True, eq=False)
class WatchedGradients:
    """One measurement: gradient norms by layer, and in it by state and gate.

    `steps` and `lags` are those that the norms are of: all of them up to 64, more widely spaced beyond.
    """

    iteration: int
    steps: NDArray[np.int64]
    lags: NDArray[np.int64]
    layers: Mapping[str, LayerNorms]

    def line(self) -> bytes:
        """The measurement as a line of JSON; a norm that is not finite is null."""
        content = {
            "iteration": self.iteration,
            "steps": self.steps.tolist(),
            "lags": self.lags.tolist(),
            "layers": {
                layer: {"states": _plain(norms.states), "gates": _plain(norms.gates)}
                for layer, norms in self.layers.items()
            },
        }
        return (json.dumps(content, allow_nan=False) + "\n").encode()


@dataclass(frozen=True)
class GradientTrouble:
    """A layer in which gradients vanish or explode on their way back through time.

    - `is_vanishing`: below 1/1000 of what they are at lag 0; else above 100 times that.
    - `lag`: how many steps before the last one that begins for `state`; from there on it stays so. Of several states
      it is the last one in which gradients vanish, or the first one in which they explode.
    - `gate`, `gate_lag`: the gate in which it begins first; None in a cell without gates, or where none is affected.
    - `first`, `last`: the first and the last iteration at which it was measured; the lags are those of the last.
    """

    layer: str
    is_vanishing: bool
    state: str
    lag: int
    gate: str | None
    gate_lag: int | None
    first: int
    last: int

    def __str__(self) -> str:
        verb, limit = ("vanish", "below 1/1000") if self.is_vanishing else ("explode", "above 100 times")
        gate = "" if self.gate is None else f"; of its gates {self.gate} is first, from lag {self.gate_lag}"
        when = f"iteration {self.first}" if self.first == self.last else f"iterations {self.first} to {self.last}"
        return (
            f"{self.layer}: gradients {verb} from lag {self.lag}, where that of state {self.state} is {limit} of "
            f"lag 0{gate} ({when})"
        )


def read_gradients(path: Path, *, before: int | None = None) -> list[WatchedGradients]:
    """The measurements in a file, up to that iteration; a last line that was cut short is left out.

    Raises DataError where another line is damaged.
    """
    if not path.exists():
        return []
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, ValueError) as error:
        raise damaged(f"{path} cannot be read", got=str(error)) from error
    measurements: list[WatchedGradients] = []
    for number, line in enumerate(lines[:-1], 1):  # what follows the last line break is empty or was cut short
        measurement = _measurement(line)
        if measurement is None:
            raise damaged(f"{path} is damaged in line {number}", expected="a measurement of gradients")
        if before is None or measurement.iteration < before:
            measurements.append(measurement)
    return measurements


def gradient_troubles(measurements: Sequence[WatchedGradients]) -> list[GradientTrouble]:
    """The layers in which gradients vanish or explode, each as the last measurement has it that shows it."""
    troubles: dict[tuple[str, bool], GradientTrouble] = {}
    for measurement in measurements:
        for layer, norms in measurement.layers.items():
            for is_vanishing in (True, False):
                key = layer, is_vanishing
                trouble = _trouble(measurement, layer, norms, is_vanishing=is_vanishing, before=troubles.get(key))
                if trouble is not None:
                    troubles[key] = trouble
    return list(troubles.values())


def _trouble(
    measurement: WatchedGradients,
    layer: str,
    norms: LayerNorms,
    *,
    is_vanishing: bool,
    before: GradientTrouble | None,
) -> GradientTrouble | None:
    lags = {
        name: lag
        for name, own in norms.states.items()
        if (lag := _begin(measurement.lags, own.by_lag, is_vanishing=is_vanishing)) is not None
    }
    # A gradient that one state still carries has not vanished: in an LSTM h loses it at once, and c keeps it.
    if not lags or (is_vanishing and len(lags) < len(norms.states)):
        return None
    state = max(lags, key=lags.__getitem__) if is_vanishing else min(lags, key=lags.__getitem__)
    begins: dict[str, int] = {}
    for name, gate in norms.gates.items():
        # Without its last lag if that is 0: a gate that scales the first state, which is zero, has no gradient there.
        count = len(gate.by_lag) - 1 if gate.by_lag[-1] == 0 else len(gate.by_lag)
        begin = _begin(measurement.lags[:count], gate.by_lag[:count], is_vanishing=is_vanishing)
        if begin is not None:
            begins[name] = begin
    gate = min(begins, key=begins.__getitem__, default=None)
    first = measurement.iteration if before is None else before.first
    gate_lag = None if gate is None else begins[gate]
    return GradientTrouble(layer, is_vanishing, state, lags[state], gate, gate_lag, first, measurement.iteration)


def _begin(lags: NDArray[np.int64], norms: NDArray[np.float64], *, is_vanishing: bool) -> int | None:
    """The first lag from which on all norms are out of bounds; a norm that is not finite has exploded."""
    if not len(norms) or not norms[0] > 0:  # nothing enters at the last step
        return None
    with np.errstate(invalid="ignore"):
        is_out = norms < VANISHED * norms[0] if is_vanishing else ~(norms <= EXPLODED * norms[0])
    inside = np.flatnonzero(~is_out)
    begin = int(inside[-1]) + 1
    return int(lags[begin]) if begin < len(lags) else None


def _plain(norms: Mapping[str, StepNorms]) -> dict[str, dict[str, list[float | None]]]:
    return {name: {"by_step": _rounded(own.by_step), "by_lag": _rounded(own.by_lag)} for name, own in norms.items()}


def _rounded(norms: NDArray[np.float64]) -> list[float | None]:
    return [float(f"{value:.6g}") if math.isfinite(value) else None for value in norms.tolist()]


def _measurement(line: str) -> WatchedGradients | None:
    """The measurement of a line; None where it is none."""
    try:
        content = parse_json(line)
    except ValueError:
        return None
    if misfit(content, _RECORD) is not None:
        return None
    steps, lags = np.asarray(content["steps"], np.int64), np.asarray(content["lags"], np.int64)
    try:
        layers = {
            layer: LayerNorms(*(_arrays(parts[kind], len(steps), len(lags)) for kind in ("states", "gates")))
            for layer, parts in content["layers"].items()
        }
    except (KeyError, ValueError):
        return None
    return WatchedGradients(content["iteration"], steps, lags, layers)


def _arrays(values: Mapping[str, Mapping[str, list[Any]]], steps: int, lags: int) -> dict[str, StepNorms]:
    """The norms by name. Raises ValueError where there is not one for each step and lag."""
    norms = {
        name: StepNorms(*(np.array(own[key], np.float64) for key in ("by_step", "by_lag")))  # null becomes NaN
        for name, own in values.items()
    }
    if any((len(own.by_step), len(own.by_lag)) != (steps, lags) for own in norms.values()):
        raise ValueError("not a norm for each step")
    return norms
