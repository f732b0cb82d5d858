"""ONNX files: graphs of the operators GRU, LSTM and RNN, with the simple layers around them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.convert.onnx_files.graph import GraphNetwork, GraphReader
from gatewright.convert.onnx_files.tensors import load, session_of
from gatewright.convert.onnx_files.values import DIRECTIONS
from gatewright.convert.onnx_files.writing import content_of
from gatewright.convert.overrides import DEQUANTISE
from gatewright.errors import ConversionError
from gatewright.files import write_atomically
from gatewright.network import Network

__all__ = ["fixed_sizes", "read", "run", "write"]


def read(path: Path, overrides: dict[str, Any]) -> Network:
    """The network that a graph is. The file says all; but weights of eight bits are read as the numbers that they stand
    for only where `overrides` have "dequantise".

    Raises ConversionError, which names the node, where the graph is none or holds what a network cannot.
    """
    return reading(path, dequantise=bool(overrides.get(DEQUANTISE))).network


def reading(path: Path, *, dequantise: bool = True) -> GraphNetwork:
    """A graph as a network, with the names and axes of its inputs and outputs."""
    return GraphReader(path, load(path), dequantise=dequantise).read()


def write(network: Network, path: Path) -> None:
    """Write a network as a graph for any batch and any number of steps."""
    if not network.recurrent:
        raise ConversionError("there is no recurrent layer to write")
    write_atomically(path, content_of(network))


def fixed_sizes(path: Path) -> tuple[int | None, int | None]:
    """The steps and the rows of a batch that a graph demands; None where it takes any number."""
    graph = reading(path)
    rows = graph.network.lengths
    return graph.time.size, len(rows) if isinstance(rows, tuple) else graph.batch.size


def run(
    path: Path,
    inputs: NDArray[Any],
    overrides: Mapping[str, Any] | None = None,
    lengths: Sequence[int] | None = None,
) -> NDArray[Any]:
    """Outputs of a graph, computed by ONNX Runtime, for inputs (time, batch, features) or symbols (time, batch).

    Rows of a graph that is given lengths have all steps where none are given here. States that a graph is given are
    zero, as they are read.

    Raises ImportError without ONNX Runtime, ConversionError where it cannot run the graph, or the graph wants states of
    unknown size.
    """
    del overrides  # the file says all
    graph = reading(path)
    if graph.builder.batch_first:
        raise ConversionError("it does not run recurrent operators of layout=1, the batch first")
    if graph.builder.quantised:
        raise ConversionError("it rounds to eight bits what it multiplies the weights of eight bits with")
    session = session_of(path)
    wanted = {value.name: value for value in session.get_inputs()}
    order = np.argsort([int(graph.time.label), int(graph.batch.label)])
    steps, rows = inputs.shape[:2]
    arrays = {graph.source: inputs.transpose([*order, *range(2, inputs.ndim)])}
    if graph.builder.lengths_from:
        arrays[graph.builder.lengths_from] = np.full(rows, steps) if lengths is None else np.asarray(lengths)
    arrays |= {name: np.zeros(_state_shape(wanted[name].shape, rows)) for name in graph.states}
    feed = {name: array.astype(_TYPES[wanted[name].type]) for name, array in arrays.items()}
    output = session.run([graph.result], feed)[0]
    return _in_order(np.asarray(output), graph)


_TYPES = {
    "tensor(float16)": np.float16,
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
}


def _state_shape(declared: Sequence[int | str | None], rows: int) -> list[int]:
    """The shape of a state. Only its batch may be of unknown size."""
    if sum(not isinstance(size, int) for size in declared) > 1:
        raise ConversionError("the graph is given states whose sizes it does not say", got=str(list(declared)))
    return [size if isinstance(size, int) else rows for size in declared]


def _in_order(output: NDArray[Any], graph: GraphNetwork) -> NDArray[Any]:
    """The output with time before the batch before both directions."""
    wanted = [axis.label for axis in (graph.time, graph.batch) if axis.label in graph.axes]
    order = [graph.axes.index(axis) for axis in (*wanted, *([DIRECTIONS] if DIRECTIONS in graph.axes else []))]
    output = output.transpose([*order, output.ndim - 1])
    return output.reshape(*output.shape[: len(wanted)], -1)
