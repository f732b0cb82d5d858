"""`gw.export.onnx`: a model as an ONNX file."""

import json
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from gatewright.backends.formulas import unicode
from gatewright.backends.onnx.graph import Graph, Tensor
from gatewright.errors import ConversionError, GatewrightError, OptionError
from gatewright.export.network import DTYPES, read_network
from gatewright.export.random_inputs import loss_of
from gatewright.export.sources import as_model_file
from gatewright.files import write_atomically, writing
from gatewright.int8 import Loss
from gatewright.network import Network
from gatewright.network.narrow import narrowed
from gatewright.network.onnx.build import build, forecast_of
from gatewright.network.onnx.builder import GraphOptions, NetworkGraph, lowest_opset
from gatewright.trace import Trace
from gatewright.trace.text import to_text

WEIGHTS = ("float32", "int8")
SIGNATURE = "gatewright.signature"
"""The entry of a file's metadata with what inputs and outputs mean: a JSON object, as the model file has it."""


@dataclass(frozen=True, slots=True)
class OnnxFile:
    """What was written."""

    path: Path
    operator: str  # what computes the recurrent layer: "GRU", "LSTM", "RNN", "Scan", or none where no loop is left
    opset: int
    inputs: Mapping[str, str]  # by name, what each is
    outputs: Mapping[str, str]
    size: int  # in bytes
    loss: Loss | None = None  # of accuracy, by weights in eight bits


def onnx(
    model: object,
    path: str | os.PathLike[str],
    *,
    name: str | None = None,
    states: bool = False,
    lengths: bool = False,
    opset: int | None = None,
    operators: bool = True,
    dtype: str | None = None,
    weights: str = "float32",
) -> OnnxFile:
    """Write a model as an ONNX file: `input` -> `output`, of any batch and any number of steps.

    A model that forecasts is the exception: it reads a window of as many steps as it was trained with, in the units of
    the series, and so it gives its forecast.

    - `model`: the path of a model file or of a run's folder; a ModelFile; a layer of `gw.nn`; or a model of
      `gatewright.tasks.model`. A model of a recipe is exported as a whole; `name` exports one recurrent layer alone.
    - `states`: `state` -> `final_state` (levels * directions, batch, features) beside them, for chunks of a stream. A
      cell of several states has `state_h`, `state_c`, ... Without it every sequence begins at zero.
    - `lengths`: a further input (batch,): rows end there, as in `gw.nn`.
    - `opset`: the version of ONNX's operators; without, the lowest that has all that the network needs.
    - `operators`: take ONNX's GRU, LSTM or RNN where it computes the cell; else a Scan of the cell's equations.
    - `dtype`: "float32" or "float64", to which all numbers are rounded; without, those of the model. ONNX Runtime has
      its recurrent operators in float32 alone, so that float64 is a Scan.
    - `weights`: "float32", which means those of `dtype`, or "int8": the file holds matrices as whole numbers with a
      scale for each row, in a quarter of the size. Runtimes make float32 numbers of them when they load the file, and
      compute as fast as without. What the rounding costs on random inputs is measured.

    With lengths, operators are used so that OpenVINO, which ignores the lengths of one that reads in one direction,
    gives what ONNX Runtime gives: steps after the end of a row are taken away afterwards. The memory of an LSTM at the
    end of each row cannot be had so; with `states` and `lengths` an LSTM of one direction is the first of two.

    What goes in and comes out has the layer's axes, (time, batch, ...) or (batch, time, ...). Dropout and random masks
    are those of evaluation. The file is held to onnx's checker. Its metadata carries the equations and, of a recipe's
    model, `vocabulary`, `classes`, `variables` and `gatewright.signature`: JSON that says how inputs are prepared and
    outputs are read.

    Raises OptionError for what cannot be exported, ModelFileError for a file that cannot be read or written, and
    GatewrightError where the package onnx is missing.
    """
    if dtype not in (None, *DTYPES):
        raise OptionError("an ONNX file cannot have this dtype", expected=" or ".join(DTYPES), got=repr(dtype))
    if weights not in WEIGHTS:
        raise OptionError("an ONNX file cannot have these weights", expected=" or ".join(WEIGHTS), got=repr(weights))
    if weights == "int8" and dtype == "float64":
        raise OptionError(
            "weights in int8 stand for float32 numbers", got="a file in float64", do="leave one of them out"
        )
    model = as_model_file(model)
    network, target = read_network(narrowed(model, weights), name), Path(os.fspath(path))
    _refuse_parts_of_a_window(network, states=states, lengths=lengths)
    if states and not network.state_shapes():
        raise OptionError("layers of several kinds of states have no inputs for them", do="leave states out")
    number = np.dtype(dtype) if dtype else network.dtype
    options = GraphOptions(
        opset=_opset(network, opset),
        dtype=number,
        states=states,
        lengths=lengths,
        operators=operators,
        int8=weights == "int8",
    )
    content, builder = _content(network, options)
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(target, content)
    inputs, outputs = ({value.name: value.doc for value in values} for values in _ends(builder.graph))
    lost = loss_of(read_network(model, name), network, weights) if options.int8 else None
    return OnnxFile(target, builder.operator, options.opset, inputs, outputs, len(content), lost)


def _opset(network: Network, asked: int | None) -> int:
    """The version of the operators: as it was asked for, or the lowest that has all that the network needs."""
    lowest, newest = lowest_opset(network), _serialise().NEWEST_OPSET
    if asked is not None and not lowest <= asked <= newest:
        raise OptionError(
            "an ONNX file cannot have this opset",
            expected=f"from {lowest} to {newest}, the newest that the installed package onnx knows",
            got=repr(asked),
        )
    return lowest if asked is None else asked


def _serialise() -> Any:
    """What writes graphs with the package onnx.

    Raises GatewrightError where that is missing.
    """
    try:
        from gatewright.backends.onnx import serialise
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "gatewright":
            raise
        raise GatewrightError(
            f"an ONNX file cannot be written without the package {error.name!r}", do="pip install 'gatewright[onnx]'"
        ) from error
    return serialise


def _content(network: Network, options: GraphOptions) -> tuple[bytes, NetworkGraph]:
    """The file of a network, and what was built.

    Raises OptionError for a part that has no operators.
    """
    from gatewright import __version__

    try:
        builder = build(network, options)
    except ConversionError as error:
        raise OptionError(
            error.problem, expected=error.expected, got=error.got, do=error.do, shell=error.shell
        ) from error
    doc = "\n".join(f"{value.name}: {value.doc}" for values in _ends(builder.graph) for value in values)
    content = _serialise().serialised(builder.graph, producer_version=__version__, doc=doc, metadata=_metadata(network))
    return content, builder


def _ends(graph: Graph) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    """What goes in and what comes out."""
    return graph.main.inputs, graph.main.outputs


def _refuse_parts_of_a_window(network: Network, **asked: bool) -> None:
    option = next((option for option, wanted in asked.items() if wanted), None)
    forecast = forecast_of(network)
    if forecast and option:
        raise OptionError(
            f"a model that forecasts has no {option}: it reads a window of {forecast.history} steps at once",
            do=f"leave it out, or export the layer alone with name={network.layer_name!r}",
            shell=f"leave it out, or export the layer alone with {shlex.join(['--layer', network.layer_name])}",
        )


def _metadata(network: Network) -> Mapping[str, str]:
    """What a file says of itself: the equations as a person reads them, and as Gatewright does."""
    about = {key: value for key, value in network.about.items() if value is not None}
    if (meaning := about.pop("signature", None)) is not None:
        about[SIGNATURE] = {key: about[key] for key in ("classes", "variables") if key in about} | dict(meaning)
    plain = {
        key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for key, value in about.items()
    }
    if not network.recurrent:
        return plain
    return {**_equations(network.recurrent[0].traces[0]), **plain}


@lru_cache(maxsize=64)
def _equations(trace: Trace) -> Mapping[str, str]:
    """The equations of a cell. Many files are of the same few cells."""
    return {"cell": trace.name, "equations": unicode.equations(trace), "trace": to_text(trace)}
