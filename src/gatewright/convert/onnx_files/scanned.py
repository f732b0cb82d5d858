"""Layers that are loops in a file, described by its metadata: those that we write."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from gatewright.cell_config.config import CellConfig
from gatewright.convert.onnx_files.tensors import ExternalFiles, array_of
from gatewright.convert.refusals import understood
from gatewright.network import RecurrentPart
from gatewright.untrusted.json_text import parse_json

Array = NDArray[Any]
SCANNED = "gatewright.layers"
"""In a file's metadata: the layers that are loops, by name."""
TRANSPOSED = ".transposed"
_PARAMETER = re.compile(r"(W|U|P|b|bh|p)\.\w+")


@dataclass(frozen=True, slots=True)
class ScannedLayer:
    """A layer that is a loop, and where in the graph it stands."""

    layer: RecurrentPart
    source: str  # the value that it reads
    results: tuple[str, ...]  # outputs of the directions
    lengths: str  # the value that they are; empty without
    nodes: frozenset[int]  # its nodes, by their places in the graph


def scanned(path: Path, model: Any) -> tuple[ScannedLayer, ...]:
    """The layers of a file that its metadata describes."""
    text = next((entry.value for entry in model.metadata_props if entry.key == SCANNED), "")
    if not text:
        return ()
    unclear = f"{path}: its metadata {SCANNED!r} do not describe layers of its graph"
    with understood(unclear, do="write the file again with gatewright convert"):
        described = cast("dict[str, Any]", parse_json(text))
        arrays = dict(_arrays(path, model.graph))
        return tuple(_scanned(model.graph, name, settings, arrays) for name, settings in described.items())


def _scanned(graph: Any, name: str, settings: Mapping[str, Any], arrays: Mapping[str, Array]) -> ScannedLayer:
    configs = [CellConfig(**item) for item in settings["equations"]]
    results = tuple(str(item) for item in settings["results"])
    prefixes = (f"{name}.", f"{name}_reverse.")[: len(results)]
    directions = tuple(dict(_parameters(prefix, arrays)) for prefix in prefixes)
    states = {state: arrays[f"{name}.initial_{state}"] for state in settings["initial"]}
    initial = tuple({state: array[place] for state, array in states.items()} for place in range(len(results)))
    layer = RecurrentPart(
        configs[0],
        directions,
        bool(settings["backwards"]),
        "last" if settings["returns"] == "last" else "sequence",
        initial=initial if states else (),
        second=configs[1] if len(configs) > 1 and configs[1] != configs[0] else None,
    )
    source = str(settings["input"])
    return ScannedLayer(layer, source, results, str(settings["lengths"]), _nodes(graph, results, source))


def _parameters(prefix: str, arrays: Mapping[str, Array]) -> Iterator[tuple[str, Array]]:
    for full, array in arrays.items():
        name = full.removeprefix(prefix)
        transposed = name.endswith(TRANSPOSED)
        name = name.removesuffix(TRANSPOSED)
        if full.startswith(prefix) and _PARAMETER.fullmatch(name):
            yield "bh.n" if name == "b.hn" else name, np.ascontiguousarray(array.T) if transposed else array


def _arrays(path: Path, graph: Any) -> Iterator[tuple[str, Array]]:
    """The arrays of a graph and of the bodies of its loops, by name."""
    beside = ExternalFiles(path)
    for tensor in graph.initializer:
        yield tensor.name, array_of(path, tensor, files=beside)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == _GRAPH:
                yield from ((tensor.name, array_of(path, tensor, files=beside)) for tensor in attribute.g.initializer)


_GRAPH = 5  # AttributeProto.GRAPH


def _nodes(graph: Any, results: Sequence[str], source: str) -> frozenset[int]:
    """The nodes between a layer's input and its outputs, by their places."""
    makers = {name: place for place, node in enumerate(graph.node) for name in node.output if name}
    left, nodes = [name for name in results if name in makers], set[int]()
    if len(left) < len(results):
        raise LookupError(f"no node gives {', '.join(sorted(set(results) - set(left)))}")
    while left:
        name = left.pop()
        place = makers.get(name)
        if name == source or place is None or place in nodes:
            continue
        nodes.add(place)
        left += [value for value in graph.node[place].input if value]
    return frozenset(nodes)
