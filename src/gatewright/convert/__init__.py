"""Weights between frameworks: read into one form, written out of it, and compared on the way.

    report = gw.convert.convert("model.h5", "model.pt")

A conversion computes the same function, or it is refused with the reason: every reader and writer of this package
raises ConversionError where it cannot do what it says. The name of the file is put before the error once, in `formats`.
"""

import os
import re
import shlex
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from gatewright import model_file
from gatewright.cell_config.config import CellConfig
from gatewright.convert import formats
from gatewright.convert.formats import FORMATS, format_of
from gatewright.convert.formats import read as _read
from gatewright.convert.layer_index import MOST_NAMES, shown
from gatewright.convert.layouts import LAYOUTS, Layout
from gatewright.convert.overrides import assumption_notes, declaration_notes, overrides_for
from gatewright.convert.proof import compare, in_framework, kind_of, loss_between
from gatewright.errors import ConversionError
from gatewright.int8 import Loss
from gatewright.model_file import in_folder
from gatewright.network import (
    Activation,
    AddInput,
    BatchNorm,
    Dense,
    Embedding,
    LayerNorm,
    Masking,
    Max,
    Mean,
    Network,
    OneHot,
    RecurrentPart,
    Reshape,
    Reverse,
    Scale,
    TakeStep,
    run,
    run_layer,
)
from gatewright.network.narrow import WEIGHTS, narrowed

__all__ = [
    "FORMATS",
    "LAYOUTS",
    "Activation",
    "AddInput",
    "BatchNorm",
    "CellConfig",
    "ConversionReport",
    "Dense",
    "Embedding",
    "LayerNorm",
    "Layout",
    "Masking",
    "Max",
    "Mean",
    "Network",
    "OneHot",
    "Recurrent",
    "RecurrentPart",
    "Report",
    "Reshape",
    "Reverse",
    "Scale",
    "Step",
    "TakeStep",
    "convert",
    "read",
    "run",
    "run_layer",
    "write",
]

Equations, Recurrent, Step = CellConfig, RecurrentPart, TakeStep  # the earlier names
Pathlike = str | os.PathLike[str]

DTYPES = ("float32", "float64")


@dataclass(frozen=True, slots=True)
class ConversionReport:
    """The result of a conversion."""

    layers: tuple[str, ...]  # of the source, from the bottom to the top
    source: str  # layouts
    target: str
    differences: Mapping[str, float]  # largest difference of outputs for the same random inputs, by what was run
    scale: float  # the largest output
    notes: tuple[str, ...]
    unused: Mapping[str, tuple[int, ...]]  # the shapes of the source's arrays that are no part of the network, by name
    loss: Loss | None = None  # of accuracy, by weights in fewer bits


Report = ConversionReport
"""The earlier name of ConversionReport."""


def read(path: Pathlike, layout: str | None = None, **overrides: Any) -> Network:
    """The network in a file of weights.

    `layout` is a framework of the table; without it, the one that explains the file. `overrides` say what the file does
    not: `activation="relu"`, `gate="hard_sigmoid_theano"`, `forget_bias=0.0`.

    Raises ConversionError where the file is damaged, or fits no layout, or several.
    """
    network = _read(in_folder(Path(path)), layout, overrides)
    return network.noting(*assumption_notes(network))


def write(network: Network, path: Pathlike, layout: str | None = None) -> None:
    """Write a network in the layout of a framework; without a name, in that of the path's suffix.

    Raises ConversionError, with the reason, where the framework cannot compute the same.
    """
    formats.write(network, Path(path), format_of(Path(path), layout, writing=True)[0])


def convert(
    source: Pathlike,
    target: Pathlike,
    *,
    source_layout: str | None = None,
    target_layout: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    dtype: str | None = None,
    facts: Mapping[str, Any] | None = None,
    weights: str = "float32",
) -> ConversionReport:
    """Convert a file of weights, read the result again, and compare the outputs of both for random inputs.

    `source` may be the folder of a run, for the model in it. Where a framework that can run one of the files is
    installed, it is asked too, and held to our reading. With a `dtype`, "float32" or "float64", the numbers are rounded
    to that on the way. `overrides` say what the source does not, as in `read`; `facts` is their earlier name.

    With `weights` "int8" or "bfloat16", a model file of ours keeps its matrices in a quarter or half of the size, and
    the report says what the outputs lose. The source is converted exactly first; one that is a model file itself is
    refused, as `gw.export.safetensors` keeps its other contents too.

    Raises ConversionError where it cannot be done exactly. `target` is put in place when all is proved: until then, and
    whatever happens, what was there stays.
    """
    source, target = in_folder(Path(source)), Path(target)
    is_ours = weights != "float32" and target_layout is None and target.suffix == ".safetensors"
    wanted = format_of(target, "gatewright" if is_ours else target_layout, writing=True)[0]
    if dtype not in (None, *DTYPES):
        raise ConversionError(f"there is no precision {dtype!r} to convert to", expected=" or ".join(DTYPES))
    _require_kept_in(weights, wanted.name)
    overrides = _merged(overrides or {}, facts or {})
    read_network = read(source, source_layout, **overrides)
    if weights != "float32" and read_network.layout == "gatewright":
        raise ConversionError(
            f"{source} is a model file itself, whose other contents a conversion does not keep",
            do=f"call gw.export.safetensors(path, target, weights={weights!r})",
            shell=f"gatewright export {shlex.join([str(source), str(target)])} --weights {weights}",
        )
    network = read_network.of_type(dtype) if dtype else read_network
    if not target.parent.is_dir():
        raise ConversionError(f"there is no folder {target.parent}", do="make it, or give a path in another one")
    with TemporaryDirectory(dir=target.parent, prefix=".converting-") as folder:
        attempt = Path(folder) / target.name
        formats.write(network, attempt, wanted)
        declared, again = overrides_for(
            network,
            lambda tried: _read(attempt, wanted.name, tried),
            lambda reading: compare(network, reading),
            wanted.overrides,
        )
        difference, scale = compare(network, again)
        proofs = [
            in_framework(FORMATS[read_network.layout], source, read_network, overrides),
            in_framework(FORMATS[again.layout], attempt, again, declared),
        ]
        loss = _narrow(attempt, weights)
        attempt.replace(target)
    differences = {"both files, read here": difference} | {
        what: far for proof in proofs for what, far in proof.differences
    }
    unproved = (note for proof in proofs for note in proof.notes)
    to_declare = declaration_notes(declared, target.name)
    read_notes = (*_unused(source, network), *network.notes, *again.notes)
    notes = (*read_notes, *to_declare, *unproved, *_left_out(network, again))
    unused = {name: np.shape(array) for name, array in network.rest.items()}
    layers = tuple(map(_described, network.parts))
    return ConversionReport(layers, network.layout, wanted.name, differences, scale, notes, unused, loss)


def _require_kept_in(weights: str, target: str) -> None:
    if weights not in WEIGHTS:
        raise ConversionError(f"there are no weights {weights!r}", expected=", ".join(WEIGHTS))
    if weights != "float32" and target != "gatewright":
        raise ConversionError(
            f"files of {target} do not keep weights in {weights} here",
            expected="a .safetensors file of the layout gatewright",
            do="export the model for ONNX Runtime or as C: gw.export.onnx or gw.export.c99, with weights='int8'",
            shell="write ONNX or C with: gatewright export MODEL FILE.onnx --weights int8",
        )


def _narrow(attempt: Path, weights: str) -> Loss | None:
    """Write the matrices of a model file again in fewer bits, and measure what its outputs lose."""
    if weights == "float32":
        return None
    exact = _read(attempt, "gatewright", {})
    model_file.save(attempt, narrowed(model_file.load(attempt), weights))
    return loss_between(exact, _read(attempt, "gatewright", {}), weights)


def _merged(overrides: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
    """The overrides under both names of the argument."""
    differing = [name for name in overrides if name in facts and facts[name] != overrides[name]]
    if differing:
        raise ConversionError(
            f"overrides and facts give different values of {' and '.join(differing)}",
            expected="overrides alone: facts is their earlier name",
            got="; ".join(f"{name}: {overrides[name]!r} and {facts[name]!r}" for name in differing),
        )
    return {**facts, **overrides}


def _left_out(network: Network, again: Network) -> tuple[str, ...]:
    kept = {kind_of(part) for part in again.parts}
    lost = [part.kind for part in network.parts if kind_of(part) not in kept]
    ends = [side.recurrent[-1].returns == "last" for side in (network, again)]
    lost += ["that only the last output is given"] if ends == [True, False] else []
    notes = [f"the file has no place for these, and they were left out: {', '.join(lost)}"] if lost else []
    if network.lengths and not again.lengths:
        notes.append("the file has no input for the lengths of rows: give them to what runs it, or all rows are whole")
    return tuple(notes)


def _unused(source: Path, network: Network) -> tuple[str, ...]:
    count = len(network.rest)
    what = "1 array is" if count == 1 else f"{count} arrays are"
    return (f"left out of {source.name}: {what} no part of this network: {_shortened(network.rest)}",) if count else ()


def _shortened(arrays: Mapping[str, Any]) -> str:
    """Arrays by name and shape; many of them are counted by the first part of their names."""
    if len(arrays) <= MOST_NAMES:
        return shown(arrays)
    groups = Counter(re.split(r"[./]", name)[0] for name in arrays)
    alone = {re.split(r"[./]", name)[0]: name for name in arrays}
    texts = [f"{alone[group]}" if count == 1 else f"{count} of {group}" for group, count in groups.items()]
    more = f" and {len(texts) - MOST_NAMES} more" if len(texts) > MOST_NAMES else ""
    return f"{', '.join(texts[:MOST_NAMES])}{more}"


def _described(part: Any) -> str:
    if isinstance(part, RecurrentPart):
        arrows = "both directions, " if len(part.directions) == 2 else "backwards, " if part.backwards else ""
        second = f" and, backwards, {part.second}" if part.second else ""
        return f"{part.cell_config}{second}, {arrows}{part.inputs} to {part.hidden}"
    return part.kind
