"""A network run by the NumPy reference: what an exported file is held to."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from gatewright.backends import numpy_ref
from gatewright.export.forecast import Forecast
from gatewright.export.network import Array, Arrays, Network
from gatewright.export.ngrams import Ngrams
from gatewright.trace.mask import MASK


def run(
    network: Network,
    inputs: Array,
    states: Arrays | None = None,
    lengths: Array | None = None,
    known: Array | None = None,
) -> tuple[Array, dict[str, Array]]:
    """The output, and the final states (levels * directions, batch, features).

    `inputs` are time first, as are the results. Rows end at their lengths. `known` is what a forecast reads beside its
    window.
    """
    if network.forecast:
        return _forecast(network, network.forecast, inputs, known), {}
    encoded, ends = _encoded(network, inputs), lengths
    values, lengths = _patched(network, encoded, lengths)
    shapes = network.state_shapes()
    begin = states or {k: np.zeros((n, values.shape[1], size), values.dtype) for k, (n, size) in shapes.items()}
    finals: dict[str, list[Array]] = {state.name: [] for state in network.layer.trace.states}
    for place, level in enumerate(network.levels):
        outputs: list[Array] = []
        for reverse, params in enumerate(level.directions):
            row = place * network.directions + reverse
            first = {name: whole[row] for name, whole in begin.items()}
            output, last = _direction(network, values, params, first, lengths, bool(reverse))
            outputs.append(output)
            for name, one in last.items():
                finals[name].append(one)
        values = np.concatenate(outputs, -1)
    pooled = _pooled(network, values, lengths)
    if network.head:
        pooled = pooled @ network.head["weight"].T + network.head["bias"]
    if network.linear:
        read = inputs if isinstance(network.linear, Ngrams) else encoded
        pooled = (pooled + network.linear.outputs(read, ends)) / 2
    return pooled, {name: np.stack(parts) for name, parts in finals.items()}


def _forecast(network: Network, forecast: Forecast, window: Array, known: Array | None) -> Array:
    if known is None:
        known = np.zeros((forecast.steps, window.shape[1], 0), window.dtype)
    known = (known - forecast.known_mean) / forecast.known_deviation
    effect = known @ forecast.effect
    logs = (np.log(np.maximum(window, forecast.least)) - forecast.inner_mean) / forecast.inner_deviation
    scaled = (window - forecast.mean) / forecast.deviation
    past = np.where(forecast.logarithm, logs, scaled) - effect[: forecast.history]
    level, spread = past.mean(0), np.maximum(past.std(0), forecast.least_spread)
    features = np.concatenate([past - level, [spread, level, np.ones_like(level)]])
    base = level + np.einsum("tbv,vth->hbv", features, forecast.weight)
    steps = np.concatenate([past - level, base - level]) / spread
    to_come = np.broadcast_to(forecast.to_come, (*steps.shape[:2], 1))
    outputs, _ = run(replace(network, forecast=None), np.concatenate([steps, known, to_come], -1))
    change, *learned = np.moveaxis(outputs[forecast.history :].reshape(*base.shape, -1), -1, 0)
    middle = base + forecast.share * spread * change
    learned = np.logaddexp(0, forecast.trust * np.stack(learned, -1) + forecast.at_first)
    widths = spread[..., None] * forecast.width * learned * forecast.widening
    ends = (
        np.stack([middle - widths[..., 0], middle, middle + widths[..., 1]], -1) + effect[forecast.history :, ..., None]
    )
    logarithm, deviation, mean = (
        one[:, None] for one in (forecast.logarithm, forecast.inner_deviation, forecast.inner_mean)
    )
    powers = np.exp(np.where(logarithm, ends, 0) * deviation + mean)
    measured = ends * forecast.deviation[:, None] + forecast.mean[:, None]
    return np.maximum(np.where(logarithm, powers, measured), forecast.lowest[:, None])


def _direction(
    network: Network, values: Array, params: Arrays, states: Arrays, lengths: Array | None, reverse: bool
) -> tuple[Array, Mapping[str, Array]]:
    trace = network.layer.trace
    inputs = {trace.inputs[0].name: _reversed(values, lengths) if reverse else values}
    if any(leaf.name == MASK for leaf in trace.inputs):
        inputs[MASK] = np.ones(values.shape[:2], values.dtype)
    ends: Any = None if lengths is None else lengths.tolist()
    result = numpy_ref.run(trace, inputs, params, states, lengths=ends)
    return _reversed(result.output, lengths) if reverse else result.output, result.finals


def _reversed(values: Array, lengths: Array | None) -> Array:
    if lengths is None:
        return values[::-1]
    step = np.arange(len(values))[:, None]
    source = np.where(step < lengths, lengths - 1 - step, step)
    return np.take_along_axis(values, source[..., None], 0)


def _encoded(network: Network, inputs: Array) -> Array:
    encoder = network.encoder or {}
    match network.encode:
        case "embedding":
            return encoder["weight"][inputs]
        case "embedding-sum":
            return encoder["weight"][inputs].sum(2)
        case "one-hot":
            return np.eye(network.symbols, dtype=network.dtype)[inputs]
        case "standardised":
            return (inputs - encoder["mean"]) / encoder["deviation"]
        case "values":
            return inputs


def _patched(network: Network, values: Array, lengths: Array | None) -> tuple[Array, Array | None]:
    """The steps that the layer reads, and how many of them each row has; zeros fill up a row's last patch."""
    if not network.patches:
        return values, lengths
    (steps, batch, features), size = values.shape, network.patch
    if lengths is not None:
        values = np.where((np.arange(steps)[:, None] < lengths)[..., None], values, 0)
        lengths = -(-lengths // size)
    whole = np.concatenate([values, np.zeros((-steps % size, batch, features), values.dtype)])
    parts = whole.reshape(-1, size, batch, features).swapaxes(1, 2).reshape(-1, batch, size * features)
    return parts @ network.patches["weight"].T + network.patches["bias"], lengths


def _pooled(network: Network, values: Array, lengths: Array | None) -> Array:
    """(time, batch, features) -> (batch, features) over the steps of each row; a row of no step gives zeros."""
    if network.pool == "each step":
        return values
    steps, batch, _ = values.shape
    ends = np.full(batch, steps) if lengths is None else lengths
    present = (np.arange(steps)[:, None] < ends)[..., None]
    if network.pool == "mean":
        return np.where(present, values, 0).sum(0) / np.maximum(ends, 1)[:, None].astype(values.dtype)
    if network.pool == "max":
        return np.where(ends[:, None] > 0, np.where(present, values, -np.inf).max(0, initial=-np.inf), 0)
    last = np.arange(steps)[:, None, None] == ends[:, None] - 1
    ended = np.where(last, values, 0).sum(0)
    if network.directions == 2:  # the backward one ends at the first step, which is 0 in a row of no step
        ended[:, network.emitted :] = values[:1, :, network.emitted :].sum(0)
    return ended
