"""An exported ONNX file, run by ONNX Runtime on random numbers beside the NumPy reference."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gatewright.convert.onnx_files.tensors import session_of
from gatewright.export.difference import ALLOWED, Difference
from gatewright.export.network import read_network
from gatewright.export.sources import as_model_file
from gatewright.network import Network
from gatewright.network.network import outcome
from gatewright.network.onnx.build import forecast_of
from gatewright.network.part import Array
from gatewright.network.parts import SumEmbedding

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

EXTENTS = ((1, 1), (2, 3), (7, 2), (40, 5))
"""The (steps, rows) that are tried; the steps of a window are as many as it has."""


def differences(model: object, path: str | os.PathLike[str], *, name: str | None = None) -> tuple[Difference, ...]:
    """Compare a file that `gw.export.onnx` wrote of a model with the model, for several numbers of steps and rows.

    Raises ModuleNotFoundError where onnxruntime is missing.
    """
    network = read_network(as_model_file(model), name)
    return tuple(_differences(network, session_of(Path(path))))


def _differences(network: Network, session: "InferenceSession") -> Iterator[Difference]:
    generator = np.random.default_rng(0)
    names = {entry.name for entry in session.get_inputs()}
    forecast = forecast_of(network)
    unit = forecast.deviation[:, None] if forecast else 1
    double = any("double" in entry.type for entry in session.get_outputs())
    dtype = np.dtype(np.float64 if double else np.float32)
    fixed = forecast.history if forecast else network.reads[0]
    for steps, batch in ((fixed or steps, batch) for steps, batch in EXTENTS):
        inputs = _inputs(network, steps, batch, generator)
        inputs = inputs if network.symbols else inputs.astype(dtype)
        lengths = np.append(steps, generator.integers(0, steps + 1, batch - 1)) if "lengths" in names else None
        states = {name: array.astype(dtype) for name, array in _states(network, names, batch, generator).items()}
        feed: dict[str, Any] = {"input": inputs.swapaxes(0, 1) if network.batch_first else inputs}
        feed |= {} if lengths is None else {"lengths": lengths}
        feed |= {"state" if "state" in names else f"state_{state}": values for state, values in states.items()}
        known = _known(network, batch, generator, dtype)
        feed |= {} if known is None else {"known": known}
        output, *finals = map(np.asarray, session.run(None, feed))
        wanted, last = outcome(network, inputs, states, lengths, known)
        output = output.swapaxes(0, 1) if network.batch_first and wanted.ndim == 3 else output
        pairs = [(output / unit, wanted / unit), *zip(finals, last.values(), strict=False)]
        worst = max(_distance(got, want) for got, want in pairs)
        yield Difference(steps, worst, ALLOWED[dtype.name], batch)


def _inputs(network: Network, steps: int, batch: int, generator: np.random.Generator) -> Array:
    if network.symbols:
        columns = next((len(part.columns) for part in network.parts if isinstance(part, SumEmbedding)), 0)
        return generator.integers(0, network.symbols, (steps, batch, *([columns] if columns else [])))
    numbers = generator.normal(size=(batch, steps) if network.reads_rows else (steps, batch, network.width))
    if forecast := forecast_of(network):
        numbers = forecast.mean + forecast.deviation * numbers
    return numbers.astype(network.dtype)


def _known(network: Network, batch: int, generator: np.random.Generator, dtype: np.dtype[Any]) -> Array | None:
    """What a forecast reads beside its window."""
    forecast = forecast_of(network)
    if forecast is None or not len(forecast.known_mean):
        return None
    numbers = generator.normal(size=(forecast.steps, batch, len(forecast.known_mean)))
    return (forecast.known_mean + forecast.known_deviation * numbers).astype(dtype)


def _states(network: Network, names: set[str], batch: int, generator: np.random.Generator) -> dict[str, Array]:
    """Random states of one size, above zero: a cell may divide by what it has summed up."""
    if not any(name.startswith("state") for name in names):
        return {}
    return {
        state: (0.1 + generator.random((rows, batch, size))).astype(network.dtype)
        for state, (rows, size) in network.state_shapes().items()
    }


def _distance(got: Array, want: Array) -> float:
    """The largest difference, beside the largest number; infinite where one is finite and the other is not."""
    if got.shape != want.shape:
        return float("inf")
    finite = np.isfinite(got) & np.isfinite(want)
    if not np.array_equal(np.where(finite, 0, got), np.where(finite, 0, want), equal_nan=True):
        return float("inf")
    scale = max(1.0, float(np.abs(want[finite]).max(initial=0.0)))
    return float(np.abs(got[finite] - want[finite]).max(initial=0.0)) / scale
