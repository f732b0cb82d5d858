"""A network as a graph of ONNX's own operators that is read again: `gatewright.network` has the rules of its parts.

Where ONNX Runtime has no operator for a layer, in float64 and for projections, a Scan of its equations is written, and
the file's metadata describes it, so that it can be read again.
"""

import json
from dataclasses import asdict
from typing import Any

import numpy as np

from gatewright import __version__
from gatewright.backends.onnx.native import OperatorNode
from gatewright.convert.onnx_files import operators
from gatewright.convert.onnx_files.scanned import SCANNED
from gatewright.convert.refusals import no_skip
from gatewright.errors import ConversionError
from gatewright.network import AddInput, Max, Mean, Network, RecurrentPart
from gatewright.network.onnx.build import build
from gatewright.network.onnx.builder import GraphOptions, LayerLoop, NetworkGraph, lowest_opset

OPSET = 17
"""The version of ONNX's operators that is written, where no part needs a later one."""


def content_of(network: Network) -> bytes:
    """The file, held to onnx's checker. Raises ModuleNotFoundError without the package onnx."""
    from gatewright.backends.onnx.serialise import serialised  # the package onnx is an extra

    _refuse_unreadable(network)
    opset, dtype = max(OPSET, lowest_opset(network)), np.result_type(np.float32, network.dtype)
    options = GraphOptions(opset=opset, dtype=dtype, lengths=network.lengths == "given", node_of=_node_of)
    builder = build(network, options)
    loops = {name: _described(loop, builder) for name, loop in builder.loops.items()}
    metadata = {SCANNED: json.dumps(loops)} if loops else {}
    return serialised(builder.graph, producer_version=__version__, doc="", metadata=metadata)


def _node_of(layer: RecurrentPart) -> OperatorNode | None:
    """The operator of a layer as ONNX's row in the table of layouts has it; None where it has none."""
    config = layer.cell_config
    return None if config.projection or config.cell_clip else operators.write(layer)


def _refuse_unreadable(network: Network) -> None:
    """Refuse what can be written, and is not read again."""
    for part in network.parts:
        if isinstance(part, AddInput):
            raise no_skip("the ONNX graphs")
        if network.lengths and isinstance(part, Mean | Max):
            raise ConversionError(f"a {part.kind} of rows of several lengths has no operator in ONNX")


def _described(loop: LayerLoop, builder: NetworkGraph) -> dict[str, Any]:
    """What the metadata say of a layer that is a Scan, as scanned.py reads it."""
    layer = loop.layer
    return {
        "input": loop.source.name,
        "results": [result.name for result in loop.results],
        "lengths": builder.lengths.name if builder.lengths else "",
        "initial": sorted({name for states in layer.initial for name in states}),
        "equations": [asdict(config) for config in layer.cell_configs],
        "backwards": layer.backwards,
        "returns": layer.returns,
    }
