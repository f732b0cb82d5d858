"""Networks in Gatewright's own model files, which carry their equations."""

from collections.abc import Iterator
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from gatewright import model_file
from gatewright.axes import HIDDEN, INPUT
from gatewright.convert.apply import invert_update, plain
from gatewright.convert.equations import Equations, of_trace
from gatewright.convert.network import Dense, Embedding, Network, OneHot, Parameters, Part, Recurrent
from gatewright.errors import ConversionError
from gatewright.model_file import LayerRecord, ModelFile
from gatewright.packing import layout_of, parts, tensor_name
from gatewright.trace import structural_hash, trace_cell
from gatewright.trace.simplify import without_chance

TASK = "converted"
_ENCODE, _OUTPUT = "encode.weight", "output"  # as the networks of recipes call them
_EQUATIONS = "equations"  # the choices of each layer by its name: activations may have numbers, which cannot be guessed


def read(path: Path, facts: dict[str, Any]) -> Network:
    """The recurrent layers of a model file; what else it holds is kept by its name.

    Raises ModelFileError for a damaged file, and ConversionError for a cell that no framework has.
    """
    del facts
    model = model_file.load(path)
    said = model.settings.get(_EQUATIONS) if model.task == TASK else None
    layers = [layer for record in model.layers for layer in _levels(record, model, said)]
    own = {name for record in model.layers for name in record.tensor_shapes()}
    rest = {name: array for name, array in model.tensors.items() if name not in own}
    if model.task != TASK:
        return Network(tuple(layers), "gatewright", rest)
    around: list[Part] = []
    if _ENCODE in rest:
        around.append(Embedding(rest[_ENCODE]))
    elif "one-hot" in model.settings:
        around.append(OneHot(int(model.settings["one-hot"])))
    after: list[Part] = []
    if f"{_OUTPUT}.weight" in rest:
        activation = str(model.settings.get("activation", "identity"))
        after.append(Dense(rest[f"{_OUTPUT}.weight"], rest.get(f"{_OUTPUT}.bias"), activation))
    return Network((*around, *layers, *after), "gatewright")


def write(network: Network, path: Path) -> None:
    """Write a model file that `gw.stream` and `gw.nn` run.

    Raises ConversionError where the parts are no embedding, recurrent layers and one dense layer.
    """
    tensors: dict[str, NDArray[Any]] = {}
    records: list[LayerRecord] = []
    settings: dict[str, Any] = {_EQUATIONS: {}}
    for same, group in groupby(network.recurrent, key=_alike):
        del same
        stack = list(group)
        records.append(_record(f"recurrent{len(records) or ''}", stack, tensors))
        settings[_EQUATIONS][records[-1].name] = asdict(stack[0].equations)
    kinds = [type(part).__name__ for part in network.parts if not isinstance(part, Recurrent)]
    for part in network.parts:
        match part:
            case Embedding():
                tensors[_ENCODE] = part.weight
            case OneHot():
                settings["one-hot"] = part.symbols
            case Dense() if kinds.count("Dense") == 1:
                tensors[f"{_OUTPUT}.weight"] = part.weight
                if part.bias is not None:
                    tensors[f"{_OUTPUT}.bias"] = part.bias
                settings["activation"] = part.activation
            case Recurrent() if not part.backwards:
                pass
            case _:
                raise ConversionError(
                    "a model file holds an embedding, recurrent layers that read forwards, and one dense layer",
                    got=", ".join(kinds) or "a layer that reads backwards",
                    do="convert the recurrent layers alone",
                )
    model_file.save(path, ModelFile(tensors, tuple(records), TASK, settings))


def _levels(record: LayerRecord, model: ModelFile, said: Any) -> Iterator[Recurrent]:
    equations, inverted = _chosen(record, said) or of_trace(without_chance(record.trace))
    prefix = f"{record.name}." if record.name else ""
    for level in range(record.num_layers):
        directions: list[Parameters] = []
        for backwards in (False, True)[: 1 + record.bidirectional]:
            found: dict[str, NDArray[Any]] = {}
            for packed in record.layout:
                array = model.tensors[prefix + tensor_name(packed, level, backwards)]
                width = array.shape[-1] if array.ndim == 2 and packed.slots[0].startswith("W.") else record.sizes[INPUT]
                for name, part in parts(packed, array, record.trace, {**record.sizes, INPUT: width}).items():
                    found[_canonical(name, found)] = part
            directions.append(invert_update(found, equations) if inverted else found)
        yield Recurrent(equations, tuple(directions))


def _chosen(record: LayerRecord, said: Any) -> tuple[Equations, bool] | None:
    """The choices that the file says, where the layer's Trace is really made by them."""
    chosen = cast("dict[str, Any]", said).get(record.name) if isinstance(said, dict) else None
    try:
        equations = Equations(**chosen) if chosen else None
        made = structural_hash(trace_cell(equations.cell())) if equations else None
    except (TypeError, ValueError, LookupError):  # a field, an activation or a cell that is none
        return None
    return (equations, False) if equations and made == structural_hash(record.trace) else None


def _canonical(name: str, found: Parameters) -> str:
    """`b.hn`, and a bias that comes a second time, are beside U."""
    if name == "b.hn":
        return "bh.n"
    return name.replace("b.", "bh.", 1) if name in found else name


def _alike(layer: Recurrent) -> tuple[Any, ...]:
    return layer.equations, layer.hidden, len(layer.directions), layer.returns


def _record(name: str, stack: list[Recurrent], tensors: dict[str, NDArray[Any]]) -> LayerRecord:
    """The record of layers that differ in their weights only; their tensors are added."""
    first = stack[0]
    trace = trace_cell(first.equations.cell())
    layout = layout_of(trace)
    for level, layer in enumerate(stack):
        for backwards, parameters in enumerate(layer.directions):
            values = plain(parameters, layer.equations)
            for packed in layout:
                key = f"{name}.{tensor_name(packed, level, bool(backwards))}"
                tensors[key] = np.concatenate([np.atleast_1d(values[slot]) for slot in packed.slots])
    projected = {"projection": first.directions[0]["P.h"].shape[0]} if first.equations.projection else {}
    return LayerRecord(
        name=name,
        trace=trace,
        sizes={INPUT: first.inputs, HIDDEN: first.hidden, **projected},
        layout=layout,
        num_layers=len(stack),
        bidirectional=len(first.directions) == 2,
    )
