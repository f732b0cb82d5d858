"""ONNX files: graphs of the operators GRU, LSTM and RNN, with the simple layers around them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.convert.network import Network
from gatewright.convert.onnx_files.graph import Reader, Reading
from gatewright.convert.onnx_files.session import session_of
from gatewright.convert.onnx_files.tensors import load
from gatewright.convert.onnx_files.values import DIRECTIONS
from gatewright.convert.onnx_files.writing import Writer
from gatewright.errors import ConversionError
from gatewright.files import write_atomically

__all__ = ["read", "run", "write"]


def read(path: Path, facts: dict[str, Any]) -> Network:
    """The network that a graph is. The file says all, so that there are no facts to give.

    Raises ConversionError, which names the node, where the graph is none or holds what a network cannot.
    """
    del facts
    return reading(path).network


def reading(path: Path) -> Reading:
    """The network that a graph is, and the names and axes of what goes in and comes out.

    Raises ConversionError where it is none.
    """
    return Reader(path, load(path)).read()


def write(network: Network, path: Path) -> None:
    """Write a network as a graph for any batch and any number of steps.

    Raises ConversionError where ONNX has no operators for it.
    """
    if not network.recurrent:
        raise ConversionError("there is no recurrent layer to write")
    write_atomically(path, Writer(network).model().SerializeToString())


def run(path: Path, inputs: NDArray[Any], facts: Mapping[str, Any] | None = None) -> NDArray[Any]:
    """What ONNX Runtime computes for inputs (time, batch, features), or symbols (time, batch).

    Raises ImportError without ONNX Runtime, ConversionError where the graph wants more than one input.
    """
    del facts  # the file says all
    session, found = session_of(path), reading(path)
    if found.given or {found.time, found.batch} != {"0", "1"}:
        raise ConversionError(
            f"{path} cannot be run",
            expected="one input (time, batch, ...)",
            got=", ".join((found.source, *found.given)),
        )
    (wanted,) = session.get_inputs()
    types = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(int32)": np.int32}
    order = np.argsort([int(found.time), int(found.batch)])
    given = inputs.transpose([*order, *range(2, inputs.ndim)]).astype(types.get(wanted.type, np.int64))
    output = session.run([found.result], {found.source: given})[0]
    return _in_order(np.asarray(output), found)


def _in_order(output: NDArray[Any], found: Reading) -> NDArray[Any]:
    """The output with time before the batch before both directions."""
    wanted = [one for one in (found.time, found.batch) if one in found.axes]
    order = [found.axes.index(one) for one in (*wanted, *([DIRECTIONS] if DIRECTIONS in found.axes else []))]
    output = output.transpose([*order, output.ndim - 1])
    return output.reshape(*output.shape[: len(wanted)], -1)
