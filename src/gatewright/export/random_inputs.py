"""Random inputs of a network: exported files are compared on them, and the loss of rounded weights is measured."""

from typing import Any

import numpy as np

from gatewright.int8 import Loss
from gatewright.network import Network
from gatewright.network.network import outcome
from gatewright.network.onnx.build import forecast_of
from gatewright.network.part import Array
from gatewright.network.parts import SumEmbedding

STEPS, ROWS = 100, 4
"""Of the inputs that a loss is measured on."""


def random_inputs(network: Network, steps: int, batch: int, generator: np.random.Generator) -> Array:
    if network.symbols:
        columns = next((len(part.columns) for part in network.parts if isinstance(part, SumEmbedding)), 0)
        return generator.integers(0, network.symbols, (steps, batch, *([columns] if columns else [])))
    numbers = generator.normal(size=(batch, steps) if network.reads_rows else (steps, batch, network.width))
    if forecast := forecast_of(network):
        numbers = forecast.mean + forecast.deviation * numbers
    return numbers.astype(network.dtype)


def random_known(network: Network, batch: int, generator: np.random.Generator, dtype: np.dtype[Any]) -> Array | None:
    """What a forecast reads beside its window."""
    forecast = forecast_of(network)
    if forecast is None or not len(forecast.known_mean):
        return None
    numbers = generator.normal(size=(forecast.steps, batch, len(forecast.known_mean)))
    return (forecast.known_mean + forecast.known_deviation * numbers).astype(dtype)


def random_states(network: Network, names: set[str], batch: int, generator: np.random.Generator) -> dict[str, Array]:
    """Random states of one size, above zero: a cell may divide by what it has summed up."""
    if not any(name.startswith("state") for name in names):
        return {}
    return {
        state: (0.1 + generator.random((rows, batch, size))).astype(network.dtype)
        for state, (rows, size) in network.state_shapes().items()
    }


def loss_of(exact: Network, coarse: Network, weights: str) -> Loss:
    """How far a network with rounded weights is from the network itself, on random inputs."""
    generator, forecast = np.random.default_rng(0), forecast_of(exact)
    inputs = random_inputs(exact, forecast.history if forecast else exact.reads[0] or STEPS, ROWS, generator)
    known = random_known(exact, ROWS, generator, exact.dtype)
    want, got = (outcome(network, inputs, {}, None, known)[0] for network in (exact, coarse))
    return Loss.between(want, got, "random inputs", weights)
