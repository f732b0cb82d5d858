"""Networks in Gatewright's own model files, as frameworks can have them: recurrent layers with their cell configs."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from gatewright import model_file
from gatewright.cell_config.config import CellConfig, of_settings
from gatewright.cell_config.recognise import config_of
from gatewright.convert import files
from gatewright.convert.apply import invert_update
from gatewright.errors import ConversionError, ModelFileError
from gatewright.model_file import LayerRecord, ModelFile
from gatewright.model_file.converted import PARTS, RECURRENT, TASK
from gatewright.network import Network, Parameters, Part, RecurrentPart, checked
from gatewright.network.recipe_parts import recipe_parts, used_tensors
from gatewright.network.steps import Last
from gatewright.network.stored import described, layer_name, layers_of, listed_parts, stacks
from gatewright.packing import layout_of, tensor_name
from gatewright.trace import structural_hash
from gatewright.trace.simplify import without_chance

_EQUATIONS = "equations"  # the choices of each layer by its name: activations may have numbers, which cannot be guessed


def read(path: Path, overrides: dict[str, Any]) -> Network:
    """The network of a model file: of a recipe's, of a converted one, or else its recurrent layers alone.

    Raises ModelFileError for a damaged file, and ConversionError for a cell that no framework has.
    """
    del overrides  # the file says all
    model = model_file.load(path)
    try:
        for name, array in model.tensors.items():
            files.check_finite(path, name, array)
        return _network(model)
    except ModelFileError as error:
        if str(path) in error.problem:
            raise
        details = {"expected": error.expected, "got": error.got, "do": error.do, "shell": error.shell}
        raise ConversionError(error.problem, **details) from error


def _network(model: ModelFile) -> Network:
    settings = model.settings
    layers = {
        layer_name(record, level): _configured(layer, record, settings.get(_EQUATIONS) if model.task == TASK else None)
        for record in model.layers
        for level, layer in enumerate(layers_of(record, model.tensors))
    }
    own = {name for record in model.layers for name in record.tensor_shapes()}
    rest = {name: array for name, array in model.tensors.items() if name not in own}
    if model.task == TASK and PARTS in settings:
        parts, names = listed_parts(model)
        pairs = zip(parts, names, strict=True)
        return Network(checked(tuple(_with_cell(part, layers.get(name)) for part, name in pairs)), "gatewright")
    alone = Network(tuple(layers.values()), "gatewright", rest)
    if (reason := _unsaid(settings)) is not None:
        return alone.noting(f"{reason}, which no layout can say: its layers were read alone")
    if "encoding" not in settings or "pooling" not in settings or len(model.layers) != 1:
        return alone
    whole = _of_recipe(model, layers, rest)
    if settings["pooling"] == "each step":
        return whole
    return whole.noting(
        f"the network gives the {settings['pooling']} of a row's steps: padding counts, unless it is masked"
    )


def _unsaid(settings: Mapping[str, Any]) -> str | None:
    """What a recipe's network has around its layers that no framework's layout has."""
    if "forecasts" in settings:
        return "the network corrects a linear forecast"
    if settings.get("patch", 1) != 1:
        return "the network reads patches of steps"
    if "ngrams" in settings or "linear" in settings:
        what = "scores of n-grams" if "ngrams" in settings else "answers of a linear model"
        return f"{what} are added to the network's"
    return None


def _of_recipe(model: ModelFile, layers: Mapping[str, RecurrentPart], rest: Mapping[str, NDArray[Any]]) -> Network:
    """A recipe's network; its last layer gives the last step where that is all that is read."""
    if model.settings["encoding"] == "embedding-sum":
        raise ConversionError(
            "the model reads several symbols a step, and no framework's file holds a sum of embeddings as a part",
            do="export the whole model as ONNX: gatewright export MODEL FILE.onnx",
        )
    try:
        parts = list(recipe_parts(model.settings, layers, rest).values())
    except LookupError as error:
        raise ConversionError(f"the model of the recipe {model.task!r} lacks {error}") from error
    for index, part in enumerate(parts):
        if isinstance(part, Last):
            parts[index - 1 : index + 1] = [replace(cast("RecurrentPart", parts[index - 1]), returns="last")]
    used = used_tensors(model.settings, rest)
    left = {name: array for name, array in rest.items() if name not in used}
    return Network(checked(tuple(parts)), "gatewright", left)


def _with_cell(part: Part, layer: RecurrentPart | None) -> Part:
    if layer is None or not isinstance(part, RecurrentPart):
        return part
    return replace(layer, returns=part.returns, padding=part.padding, merge=part.merge)


def _configured(layer: RecurrentPart, record: LayerRecord, settings: Any) -> RecurrentPart:
    """The layer with the cell config of its Trace, and parameters by kind and gate."""
    config, inverted = _chosen(record, settings) or config_of(without_chance(record.trace))
    directions: list[Parameters] = []
    for named in layer.directions:
        parameters = {"bh.n" if name == "b.hn" else name: array for name, array in named.items()}
        directions.append(invert_update(parameters, config) if inverted else parameters)
    return RecurrentPart(config, tuple(directions))


def _chosen(record: LayerRecord, settings: Any) -> tuple[CellConfig, bool] | None:
    """The choices that the file lists, where the layer's Trace is really made by them."""
    if settings is None:
        return None
    chosen = cast("dict[str, Any]", settings).get(record.name) if isinstance(settings, dict) else settings
    if chosen is None:
        return None
    config = of_settings(record.name, chosen)
    same = config.trace == record.trace or structural_hash(config.trace) == structural_hash(record.trace)
    return (config, False) if same else None


def write(network: Network, path: Path) -> None:
    """Write a model file that `gw.stream` and `gw.nn` run."""
    if any(layer.backwards for layer in network.recurrent):
        raise ConversionError(
            "a model file holds layers that read forwards, or in both directions",
            got="a layer that reads backwards",
            do="turn its input round, and convert the layer as one that reads forwards",
        )
    tensors: dict[str, NDArray[Any]] = {}
    records: list[LayerRecord] = []
    listed: list[dict[str, Any]] = []
    equations: dict[str, Any] = {}
    for entry in stacks(network.parts):
        if not isinstance(entry, list):
            settings, arrays = described(entry, f"part{len(listed)}")
            listed.append(settings)
            tensors |= arrays
            continue
        name = f"recurrent{len(records) or ''}"
        records.append(_record(name, entry, tensors))
        equations[name] = asdict(entry[0].cell_config)
        for level, layer in enumerate(entry):
            settings = {"layer": name, "level": level, "returns": layer.returns, "padding": layer.padding}
            settings |= {} if layer.merge == "concat" else {"merge": layer.merge}
            listed.append({"part": RECURRENT, **settings})
    model_file.save(path, ModelFile(tensors, tuple(records), TASK, {_EQUATIONS: equations, PARTS: listed}))


def _record(name: str, stack: list[RecurrentPart], tensors: dict[str, NDArray[Any]]) -> LayerRecord:
    """The record of layers that differ in their weights only; their tensors are added."""
    first = stack[0]
    trace = first.traces[0]
    layout = layout_of(trace)
    for level, layer in enumerate(stack):
        for backwards, values in enumerate(layer.cell_parameters()):
            for packed in layout:
                key = f"{name}.{tensor_name(packed, level, bool(backwards))}"
                tensors[key] = np.concatenate([np.atleast_1d(values[slot]) for slot in packed.slots])
    return LayerRecord(
        name=name,
        trace=trace,
        sizes=first.sizes,
        layout=layout,
        num_layers=len(stack),
        bidirectional=len(first.directions) == 2,
    )
