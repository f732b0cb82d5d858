"""Any cell as a model file, and an exported file run by ONNX Runtime."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gatewright.backends import numpy_ref
from gatewright.export.network import read_network
from gatewright.lang import Cell
from gatewright.model_file import LayerRecord, ModelFile
from gatewright.network import Network
from gatewright.packing import layout_of
from gatewright.trace import Trace, trace_cell
from gatewright.trace.mask import MASK
from tests.parity.matrix import sizes_for

onnx = pytest.importorskip("onnx", reason="writing ONNX files needs the package onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="running ONNX files needs the package onnxruntime")

Arrays = dict[str, np.ndarray]


def model_of(cell: Cell | Trace, rng: np.random.Generator, dtype: str = "float32", **options: Any) -> ModelFile:
    """A layer of a cell with random numbers, small ones so that no state grows."""
    trace = cell if isinstance(cell, Trace) else trace_cell(cell)
    sizes = options.pop("sizes", None) or {"input": 3, "hidden": 5} | sizes_for(trace)
    record = LayerRecord("recurrent", trace, sizes, layout_of(trace), **options)
    tensors = {
        name: np.asarray(rng.normal(size=shape) / 2 ** len(shape), np.float32).astype(dtype)
        for name, shape in record.tensor_shapes().items()
    }
    return ModelFile(tensors, (record,), task="")


def network_of(model: ModelFile) -> Network:
    return read_network(model)


def inputs_of(network: Network, steps: int, batch: int, rng: np.random.Generator) -> np.ndarray:
    """Numbers (time, batch, features) of the order of 1."""
    return rng.normal(size=(steps, batch, network.width)).astype(network.dtype)


def states_of(network: Network, batch: int, rng: np.random.Generator) -> Arrays:
    """States to begin with; none is near 0, by which sLSTM divides."""
    return {
        name: (0.5 + rng.random((rows, batch, size))).astype(network.dtype)
        for name, (rows, size) in network.state_shapes().items()
    }


def wanted(network: Network, x: np.ndarray, states: Arrays, lengths: Any = None) -> dict[str, Any]:
    """What the float64 reference gives for one level that reads forwards."""
    (trace,), (params,) = network.recurrent[0].traces, network.recurrent[0].cell_parameters()
    inputs = {trace.inputs[0].name: x.astype(np.float64)}
    if any(leaf.name == MASK for leaf in trace.inputs):
        inputs[MASK] = np.ones(x.shape[:2])
    shapes = network.state_shapes().items()
    states = states or {name: np.zeros((rows, x.shape[1], size)) for name, (rows, size) in shapes}
    run = numpy_ref.run(
        trace,
        inputs,
        {name: one.astype(np.float64) for name, one in params.items()},
        {name: one[0].astype(np.float64) for name, one in states.items()},
        lengths=lengths,
    )
    return {"output": run.output, "finals": {name: final[None] for name, final in run.finals.items()}}


class Session:
    """An exported file in ONNX Runtime, called by the names of states."""

    def __init__(self, path: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what it refuses it raises as well
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.inputs = [one.name for one in self._session.get_inputs()]
        self.outputs = [one.name for one in self._session.get_outputs()]

    def run(
        self, x: np.ndarray, states: Mapping[str, np.ndarray] | None = None, lengths: Any = None, **further: np.ndarray
    ) -> dict[str, Any]:
        """The output, and the final states where there are any; `further` inputs by their names."""
        feed: dict[str, Any] = {"input": x, **further}
        if lengths is not None:
            feed["lengths"] = np.asarray(lengths, np.int64)
        for name, state in (states or {}).items():
            feed["state" if len(states or {}) == 1 else f"state_{name}"] = state
        output, *finals = self._session.run(None, feed)
        names = [name.removeprefix("final_state").removeprefix("_") for name in self.outputs[1:]]
        only = next(iter(states or {"": None}))
        return {"output": output, "finals": {name or only: one for name, one in zip(names, finals, strict=True)}}


def operators(path: Path) -> list[str]:
    """The operators of a file's main graph, in order."""
    return [node.op_type for node in onnx.load(path).graph.node]
