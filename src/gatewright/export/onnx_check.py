"""An exported ONNX file, run by ONNX Runtime on random numbers beside the NumPy reference."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gatewright.convert.onnx_files.tensors import session_of
from gatewright.export.difference import ALLOWED, Difference
from gatewright.export.network import read_network
from gatewright.export.random_inputs import random_inputs, random_known, random_states
from gatewright.export.sources import as_model_file
from gatewright.network import Network
from gatewright.network.narrow import narrowed
from gatewright.network.network import outcome
from gatewright.network.onnx.build import forecast_of
from gatewright.network.part import Array

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

EXTENTS = ((1, 1), (2, 3), (7, 2), (40, 5))
"""The (steps, rows) that are tried; the steps of a window are as many as it has."""


def differences(
    model: object, path: str | os.PathLike[str], *, name: str | None = None, weights: str = "float32"
) -> tuple[Difference, ...]:
    """Compare a file that `gw.export.onnx` wrote of a model with the model, for several numbers of steps and rows.

    With `weights` "int8" the model's matrices are rounded as in the file. Raises ModuleNotFoundError where onnxruntime
    is missing.
    """
    network = read_network(narrowed(as_model_file(model), weights), name)
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
        inputs = random_inputs(network, steps, batch, generator)
        inputs = inputs if network.symbols else inputs.astype(dtype)
        lengths = np.append(steps, generator.integers(0, steps + 1, batch - 1)) if "lengths" in names else None
        states = {name: array.astype(dtype) for name, array in random_states(network, names, batch, generator).items()}
        feed: dict[str, Any] = {"input": inputs.swapaxes(0, 1) if network.batch_first else inputs}
        feed |= {} if lengths is None else {"lengths": lengths}
        feed |= {"state" if "state" in names else f"state_{state}": values for state, values in states.items()}
        known = random_known(network, batch, generator, dtype)
        feed |= {} if known is None else {"known": known}
        output, *finals = map(np.asarray, session.run(None, feed))
        wanted, last = outcome(network, inputs, states, lengths, known)
        output = output.swapaxes(0, 1) if network.batch_first and wanted.ndim == 3 else output
        pairs = [(output / unit, wanted / unit), *zip(finals, last.values(), strict=False)]
        worst = max(_distance(got, want) for got, want in pairs)
        yield Difference(steps, worst, ALLOWED[dtype.name], batch)


def _distance(got: Array, want: Array) -> float:
    """The largest difference, beside the largest number; infinite where one is finite and the other is not."""
    if got.shape != want.shape:
        return float("inf")
    finite = np.isfinite(got) & np.isfinite(want)
    if not np.array_equal(np.where(finite, 0, got), np.where(finite, 0, want), equal_nan=True):
        return float("inf")
    scale = max(1.0, float(np.abs(want[finite]).max(initial=0.0)))
    return float(np.abs(got[finite] - want[finite]).max(initial=0.0)) / scale
