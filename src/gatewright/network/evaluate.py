"""A network computed by the NumPy reference: what every conversion and every exported file is held to."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gatewright.backends import numpy_ref
from gatewright.network.network import Network
from gatewright.network.part import Array, Arrays, Signal
from gatewright.network.recurrent import RecurrentPart


def run(network: Network, inputs: Array, *, dtype: Any = np.float64, lengths: Sequence[int] | None = None) -> Array:
    """Outputs of a network for inputs (time, batch, features), or (time, batch) of symbols.

    `lengths` are those of the rows where no part of the network tells which steps are padding; without them they are
    those that the network has, or all steps. A network that begins with a Reshape reads (batch, features); one that has
    dropped the time axis gives out as much.

    Raises ConversionError for a part that cannot be computed.
    """
    lengths = network.lengths if lengths is None and isinstance(network.lengths, tuple) else lengths
    return _signal(network, inputs, dtype, lengths).values


def outcome(
    network: Network,
    inputs: Array,
    states: Arrays | None = None,
    lengths: Sequence[int] | Array | None = None,
    known: Array | None = None,
) -> tuple[Array, dict[str, Array]]:
    """The output, and the final states (levels * directions, batch, features), in the network's own precision.

    `inputs` are time first, as are the results. Rows end at their lengths. `known` is what a forecast reads beside its
    window.
    """
    inputs = np.asarray(inputs)
    dtype = np.result_type(network.dtype, *([inputs.dtype] if inputs.dtype.kind == "f" else []))
    begun = network.beginning_with(states) if states else network
    signal = _signal(begun, inputs, dtype, lengths, known)
    finals = {name: np.stack([final[name] for final in signal.finals]) for name in network.state_shapes()}
    return signal.values, finals


def _signal(
    network: Network, inputs: Any, dtype: Any, lengths: Sequence[int] | Array | None, known: Array | None = None
) -> Signal:
    """What the last part gives, with the final states of every layer."""
    inputs, ends = np.asarray(inputs), None if lengths is None else np.asarray(lengths)
    signal = Signal(inputs, inputs, np.dtype(dtype), lengths=ends, row_lengths=ends, known=known)
    for part in network.parts:
        signal = part.apply(signal)
    return signal


def run_layer(
    layer: RecurrentPart,
    value: Array,
    *,
    dtype: Any = np.float64,
    lengths: Sequence[int] | None = None,
    mask: Array | None = None,
) -> list[numpy_ref.ReferenceRun]:
    """What each direction of a layer gives: outputs after every step, and the final states.

    `mask` (time, batch) is false where a step is padding, wherever that lies; `lengths` say the same of rows that are
    padded at their ends.
    """
    ends = None if lengths is None else np.asarray(lengths)
    return layer.run(Signal(value, value, np.dtype(dtype), mask, ends))
